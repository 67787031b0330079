package config

import (
	"slices"
	"strings"
	"testing"
)

// all are the variables that all parts together need.
func all(more ...string) []string {
	return append([]string{
		"GAS_PREMIUM_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:premium", "GAS_RESTORE_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:restore",
		"GAS_PREMIUM_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/123456789012/premium",
		"GAS_RESTORE_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/123456789012/restore",
		"GAS_OIDC_CLIENT_ID=gas", "GAS_OIDC_CLIENT_SECRET=x",
	}, more...)
}

func TestEmptyIsAValueForEachVariableThatSaysWhatItMeans(t *testing.T) {
	meaning := 0
	for _, s := range Settings() {
		// A deployment without a vault has a bucket.
		c, err := load(all("GAS_ARCHIVE_BUCKET=gas-cold", s.Name+"="), Bridge, Thaw, Restore, Web)
		switch {
		case s.Empty != "":
			meaning++
			if got := c.Value(s.Name); err != nil || got != "" {
				t.Errorf("%s= is %q, %v; want nothing, which is %s", s.Name, got, err, s.Empty)
			}
		case s.Default != "" && !s.Secret:
			want, _ := load(all("GAS_ARCHIVE_BUCKET=gas-cold"), Bridge, Thaw, Restore, Web)
			if got := c.Value(s.Name); err != nil || got != want.Value(s.Name) {
				t.Errorf("%s= is %q, %v; want the default", s.Name, got, err)
			}
		}
	}
	if meaning == 0 {
		t.Error("no variable says what it means to be empty")
	}
}

func TestAVariableIsNamedOnceAndNotAfterAFieldOfTheCode(t *testing.T) {
	// Each setting, set to what is nothing of its kind.
	for _, s := range Settings() {
		_, err := load(all(s.Name+"=\x01"), Bridge, Thaw, Restore, Web)
		for _, f := range Faults(err) {
			if f.Variable != s.Name {
				t.Errorf("%s is wrong, and the fault is %q", s.Name, f)
			}
		}
		if n := len(Faults(err)); n > 1 {
			t.Errorf("%s is wrong once, and is named %d times: %v", s.Name, n, err)
		}
	}
	for _, name := range []string{"GAS_THAW_SLOTS", "GAS_THAW_RATE", "GAS_STOP_GRACE", "GAS_LOG_LEVEL"} {
		_, err := load(all(name+"=much"), Bridge, Thaw, Restore, Web)
		if f := Faults(err); len(f) != 1 || f[0].Variable != name {
			t.Errorf("%s=much: got %v, want it named once", name, err)
		}
	}
}

func TestWhatCannotWorkTogetherIsAFaultOfOneVariable(t *testing.T) {
	for name, more := range map[string]string{
		"GAS_ACCOUNT_TABLE":     "GAS_ACCOUNT_TABLE=gas-annotations",
		"GAS_PLAN_TABLE":        "GAS_PLAN_TABLE=gas-accounts",
		"GAS_RESTORE_TOPIC_ARN": "GAS_RESTORE_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:premium",
		"GAS_RESTORE_QUEUE_URL": "GAS_RESTORE_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/123456789012/premium",
		"GAS_WEB_BASE_URL":      "GAS_WEB_BASE_URL=http://gas.example.org",
		"GAS_OIDC_ISSUER":       "GAS_OIDC_ISSUER=http://idp.example.org",
		"GAS_WEB_RATE":          "GAS_WEB_RATE=NaN",
		"GAS_WEB_LISTEN":        "GAS_WEB_LISTEN=127.0.0.1:99999",
	} {
		_, err := load(all(more), Bridge, Thaw, Restore, Web)
		if f := Faults(err); len(f) != 1 || f[0].Variable != name {
			t.Errorf("%s: got %v, want %s named", more, err, name)
		}
	}
	if _, err := load(all("GAS_WEB_BASE_URL=https://gas.example.org/site"), Web); err == nil {
		t.Error("a site below a path is accepted, and does not start")
	}
}

func TestAMisspeltVariableIsNamedWithTheNearestOne(t *testing.T) {
	got := Unknown([]string{
		"GAS_THAW_SLOT=1", "GAS_WEBHOOK_LISTN=", "GAS_PREMIUM_TOPIC=arn", "PATH=/bin", "AWS_REGION=x", "gas_vault=x",
		"GAS_VAULT=gas-archive", "GAS_NATS_CLUSTER_LISTEN=x",
	})
	var lines []string
	for _, f := range got {
		lines = append(lines, f.Error())
	}
	want := []string{
		"GAS_PREMIUM_TOPIC: no such setting; is GAS_PREMIUM_TOPIC_ARN meant?",
		"GAS_THAW_SLOT: no such setting; is GAS_THAW_SLOTS meant?",
		"GAS_WEBHOOK_LISTN: no such setting; is GAS_WEBHOOK_LISTEN meant?",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestEachSettingSaysWhatItIsAndWhoReadsIt(t *testing.T) {
	parts := []Service{Bridge, Thaw, Restore, Web, Operator}
	for _, s := range Settings() {
		if s.Name == "" || s.Help == "" {
			t.Errorf("%+v has no name or no help", s)
		}
		for _, n := range s.For {
			if !slices.Contains(parts, n) {
				t.Errorf("%s is read by %q, which is no part", s.Name, n)
			}
		}
	}
	for name, want := range map[string]Service{"GAS_THAW_SLOTS": Thaw, "GAS_WEBHOOK_LISTEN": Bridge, "GAS_WEB_LISTEN": Web, "GAS_RESTORE_SLOTS": Restore} {
		for _, part := range []Service{Bridge, Thaw, Restore, Web} {
			has := slices.ContainsFunc(Of(part), func(s Setting) bool { return s.Name == name })
			if has != (part == want) {
				t.Errorf("%s among the settings of %s: %v", name, part, has)
			}
		}
	}
}

func TestTheDistanceOfTwoWordsIsTheFewestChanges(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"flaw", "lawn", 2}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
