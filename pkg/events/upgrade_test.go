package events

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAnUpgradeMessageLooksAsTheGoldenFileSays(t *testing.T) {
	var all strings.Builder
	for _, m := range []UpgradeMessage{
		{UserID: "moss"},
		{UserID: "user <1> & ünal", UpgradedAt: at.In(time.FixedZone("", 3600))},
		{UserID: "moss", PlanID: "upgrade-1", UpgradedAt: at.Add(500 * time.Millisecond)},
	} {
		s, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(s + "\n")
	}
	file := filepath.Join("testdata", "upgrade_message.golden.jsonl")
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("got\n%swant\n%s", all.String(), want)
	}
}

func TestAnUpgradeMessageThatCannotBeIsRefusedWithTheFieldsName(t *testing.T) {
	for says, m := range map[string]UpgradeMessage{
		"user_id is empty":               {},
		"user_id has 513 bytes":          {UserID: UserID(strings.Repeat("x", MaxIDLength+1))},
		"plan_id has 513 bytes":          {UserID: "u", PlanID: strings.Repeat("x", MaxIDLength+1)},
		`user_id is "\xff"`:              {UserID: "\xff"},
		"upgraded_at is in the year":     {UserID: "u", UpgradedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"upgraded_at is in the year -1,": {UserID: "u", UpgradedAt: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if s, err := m.Encode(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: got %s, %v; want an error that says %q", m, s, err, says)
		}
	}
}

func TestAnUpgradeMessageIsReadAsItWasMeant(t *testing.T) {
	for in, want := range map[string]UpgradeMessage{
		`{"user_id":"u"}`:                                                          {UserID: "u"},
		" \r\n\t" + `{ "user_id" : "u" } `:                                         {UserID: "u"},
		`{"user_id":"u","plan_id":null,"upgraded_at":null}`:                        {UserID: "u"},
		`{"user_id":"u","User_ID":7,"UPGRADED_AT":"yesterday","Plan_Id":"","a":1}`: {UserID: "u"},
		`{"user_id":"u","upgraded_at":"2026-11-23T11:20:30+01:00"}`:                {UserID: "u", UpgradedAt: at},
		`{"user_id":"u","plan_id":"p","upgraded_at":"2026-11-23T10:20:30Z"}`:       {UserID: "u", PlanID: "p", UpgradedAt: at},
	} {
		if got, err := ParseUpgradeMessage(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestAnUpgradeMessageIsReadStrictly(t *testing.T) {
	for in, says := range map[string]string{
		"":                 "message is empty",
		"rubbish":          "message is not a JSON object",
		"[]":               "message is not a JSON object",
		`{"user_id":"u"`:   "message is not one JSON object",
		`{"user_id":"u"}x`: "message is not one JSON object",
		`{}`:               "user_id is missing",
		`{"user_id":null}`: "user_id is missing",
		`{"User_id":"u"}`:  "user_id is missing",
		`{"uſer_id":"u"}`:  "user_id is missing",
		`{"user_id":""}`:   "user_id is empty",
		`{"user_id":7}`:    "user_id is a JSON number, want a string",
		`{"user_id":"` + strings.Repeat("x", MaxIDLength+1) + `"}`:  "user_id has 513 bytes",
		`{"user_id":"u","plan_id":""}`:                              "plan_id is empty",
		`{"user_id":"u","plan_id":{}}`:                              "plan_id is a JSON object, want a string",
		`{"user_id":"u","upgraded_at":"yesterday"}`:                 `upgraded_at is "yesterday", want RFC 3339`,
		`{"user_id":"u","upgraded_at":7}`:                           "upgraded_at is a JSON number",
		`{"user_id":"u","upgraded_at":"0000-01-01T00:00:00+01:00"}`: "upgraded_at is in the year -1",
		strings.Repeat(" ", MaxUpgradeMessage) + `{"user_id":"u"}`:  "bytes, more than",
	} {
		got, err := ParseUpgradeMessage(in)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.100s: got %+v, %v; want an error that says %q", in, got, err, says)
		}
		if errors.Is(err, ErrNoUser) != (says == "user_id is missing") {
			t.Errorf("%.100s: %v is ErrNoUser: %v", in, err, errors.Is(err, ErrNoUser))
		}
	}
}

func TestAnUpgradeIsNeverYoungerThanItsMessage(t *testing.T) {
	for _, c := range []struct{ says, sent, want time.Time }{
		{time.Time{}, at, at},
		{at.Add(-time.Hour), at, at.Add(-time.Hour)},
		{at.Add(time.Hour), at, at},
	} {
		got := UpgradeMessage{UserID: "u", PlanID: "p", UpgradedAt: c.says}.Event("m", c.sent, ViaSNS)
		want := UserUpgraded{ID: "m", UserID: "u", UpgradedAt: c.want, Via: ViaSNS, Plan: "p"}
		if got != want {
			t.Errorf("says %s, sent %s: got %+v, want %+v", c.says, c.sent, got, want)
		}
	}
}

func FuzzAnUpgradeMessageThatIsReadCanBeWrittenAndIsTheSame(f *testing.F) {
	for _, s := range []string{
		`{"user_id":"u"}`, `{"user_id":"ü","plan_id":"p","upgraded_at":"2026-11-23T10:20:30.123456789+01:00"}`, `{"user_id":"u","upgraded_at":null}`,
		`{"user_id":"u","upgraded_at":"9999-12-31T23:59:59-23:59"}`, `{"user_id":"\ud800"}`, `{"USER_ID":"u"}`, `[]`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseUpgradeMessage(s)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("%q was read as %+v and cannot be written: %v", s, m, err)
		}
		if back, err := ParseUpgradeMessage(again); err != nil || !back.UpgradedAt.Equal(m.UpgradedAt) || back.UserID != m.UserID || back.PlanID != m.PlanID {
			t.Fatalf("%q was read as %+v, written as %s and read as %+v, %v", s, m, again, back, err)
		}
		if _, err := Encode(m.Event("m", at, ViaSNS)); err != nil {
			t.Fatalf("%+v makes no event: %v", m, err)
		}
	})
}
