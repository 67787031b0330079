package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestASecretIsNeverPrinted(t *testing.T) {
	const word = "hunter2"
	c := Config{WebPassword: NewSecret(word), OIDCSecret: NewSecret(word)}
	s := NewSecret(word)
	logged := func(h func(*bytes.Buffer) slog.Handler) string {
		var b bytes.Buffer
		slog.New(h(&b)).Info("x", "secret", s, "config", c, "pointer", &s, "list", []Secret{s})
		return b.String()
	}
	asJSON := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for how, got := range map[string]string{
		//lint:ignore S1025 that fmt does not print it is what is tested
		"%v": fmt.Sprintf("%v", s), "%s": fmt.Sprintf("%s", s), "%q": fmt.Sprintf("%q", s), "%+v": fmt.Sprintf("%+v", s), "%#v": fmt.Sprintf("%#v", s),
		"%v of a struct": fmt.Sprintf("%v", c), "%+v of a struct": fmt.Sprintf("%+v", c), "%#v of a struct": fmt.Sprintf("%#v", c),
		"%+v of a pointer": fmt.Sprintf("%+v", &c), "Print": fmt.Sprint(s), "a map": fmt.Sprint(map[Secret]Secret{s: s}),
		"json": asJSON(s), "json of a struct": asJSON(c),
		"slog text": logged(func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) }),
		"slog json": logged(func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) }),
	} {
		if strings.Contains(got, word) {
			t.Errorf("%s shows it: %s", how, got)
		}
		if !strings.Contains(got, "[secret]") {
			t.Errorf("%s does not show that there is one: %s", how, got)
		}
	}
	if got := s.Reveal(); got != word {
		t.Errorf("Reveal: got %q, want %q", got, word)
	}
	if got := fmt.Sprint(Secret{}); got != "" {
		t.Errorf("none is shown as %q, want nothing", got)
	}
}

// required are the variables without a default, by part.
var required = map[Service][]string{
	Bridge: {
		"GAS_PREMIUM_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:premium", "GAS_RESTORE_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:restore",
		"GAS_PREMIUM_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/123456789012/premium",
		"GAS_RESTORE_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/123456789012/restore",
	},
	Thaw:    {"GAS_RESTORE_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:restore"},
	Restore: nil,
	Web: {
		"GAS_PREMIUM_TOPIC_ARN=arn:aws:sns:us-east-1:123456789012:premium", "GAS_OIDC_CLIENT_ID=gas", "GAS_OIDC_CLIENT_SECRET=x",
	},
}

func TestDefaultsAreValidOnceTheRequiredVariablesAreSet(t *testing.T) {
	var all []string
	for part, vars := range required {
		all = append(all, vars...)
		if _, err := load(vars, part); err != nil {
			t.Errorf("%s: %v", part, err)
		}
		for i, v := range vars {
			name, _, _ := strings.Cut(v, "=")
			rest := append(append([]string(nil), vars[:i]...), vars[i+1:]...)
			if _, err := load(rest, part); err == nil || !strings.Contains(err.Error(), name+": is not set") {
				t.Errorf("%s without %s: got %v, want an error that names it", part, name, err)
			}
		}
	}
	if _, err := load(all, Bridge, Thaw, Restore, Web); err != nil {
		t.Errorf("all parts: %v", err)
	}
	if _, err := load(nil); err != nil {
		t.Errorf("no part: %v", err)
	}
	if _, err := load([]string{"GAS_NATS_URL=tls://a.example:4222, tls://b.example:4222"}); err != nil {
		t.Errorf("two servers: %v", err)
	}
}

func TestEveryFaultIsNamedAndAllAtOnce(t *testing.T) {
	faults := []string{
		"GAS_NATS_URL=nats://a:4222,http://x", "GAS_NATS_REPLICAS=2", "GAS_HEALTH_LISTEN=nowhere", "GAS_LOG_FORMAT=xml", "GAS_STOP_GRACE=-1s",
		"GAS_JOB_TABLE=a b", "GAS_ACCOUNT_TABLE=a/b", "GAS_PLAN_TABLE=a,b", "GAS_VAULT=a:b",
		"GAS_PREMIUM_TOPIC_ARN=premium", "GAS_RESTORE_TOPIC_ARN=arn:aws:sqs:us-east-1:123456789012:restore",
		"GAS_PREMIUM_QUEUE_URL=queue", "GAS_RESTORE_QUEUE_URL=ftp://x/y", "GAS_WEBHOOK_LISTEN=8081", "GAS_SNS_CERT_ENDPOINT=x",
		"GAS_TIERS=Fast", "GAS_THAW_SLOTS=0", "GAS_RESTORE_SLOTS=1001", "GAS_SWEEP_EVERY=1ms", "GAS_SWEEP_SLACK=48h", "GAS_SWEEP_CALLS=1", "GAS_RESTORE_PART_SIZE=8388609",
		"GAS_WEB_LISTEN=x", "GAS_WEB_BASE_URL=/x", "GAS_OIDC_ISSUER=globus", "GAS_OIDC_FORMER_ISSUERS=https://a.example,globus", "GAS_WEB_RATE=0", "GAS_WEB_PROXIES=nowhere", "GAS_PREMIUM_PRICE=" + strings.Repeat("9", 101),
	}
	_, err := load(faults, Bridge, Thaw, Restore, Web)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, f := range append(faults, "GAS_OIDC_CLIENT_ID", "GAS_OIDC_CLIENT_SECRET") {
		name, _, _ := strings.Cut(f, "=")
		if n := strings.Count(err.Error(), name+":"); n != 1 {
			t.Errorf("%s is named %d times, want once, in:\n%v", name, n, err)
		}
	}
	for _, f := range faults { // and each is a fault alone
		vars := []string{f}
		for _, part := range required {
			vars = append(part, vars...)
		}
		if _, err := load(vars, Bridge, Thaw, Restore, Web); err == nil || len(strings.Split(err.Error(), "\n")) != 1 {
			t.Errorf("%s alone: got %v, want one fault", f, err)
		}
	}
}

func TestWhatCannotBeReadIsAFaultBesideTheOthers(t *testing.T) {
	_, err := load([]string{"GAS_THAW_SLOTS=many", "GAS_STOP_GRACE=long", "GAS_LOG_FORMAT=xml"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"GAS_THAW_SLOTS: ", "GAS_STOP_GRACE: ", "GAS_LOG_FORMAT: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in:\n%v", want, err)
		}
	}
}

func TestAPartIsNotBotheredWithTheSettingsOfAnother(t *testing.T) {
	if _, err := load([]string{"GAS_WEB_LISTEN=x", "GAS_THAW_SLOTS=0", "GAS_PREMIUM_QUEUE_URL=x"}, Restore); err != nil {
		t.Error(err)
	}
}
