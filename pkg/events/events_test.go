package events

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 11, 23, 10, 20, 30, 0, time.UTC)

func examples() map[string]Event {
	by := at.Add(5 * time.Minute)
	return map[string]Event{
		"premium_upgraded":     UserUpgraded{ID: "6f1d9f0e-8a1c-4b7e-9a55-0c3f5f2f8a11", UserID: "user <1>", UpgradedAt: at, Via: ViaSNS},
		"thaw_requested":       ThawRequested{ID: "up-1", JobID: "job.1", UserID: "u1", ArchiveID: "arch-1", UpgradedAt: at},
		"thaw_requested_first": ThawRequested{ID: "first-1", JobID: "job.1", UserID: "u1", ArchiveID: "arch-1", Plan: "p", UpgradedAt: at, First: true},
		"restore_completed_first": RetrievalCompleted{
			ID: "found-ret-1", JobID: "job.1", ArchiveID: "arch-1", RetrievalID: "ret-1", Status: "InProgress", Tier: "Standard", First: true,
		},
		"restore_completed": RetrievalCompleted{
			ID: "ret-1", Notification: "n-1", Foreign: true, JobID: "job.1", ArchiveID: "arch-1", RetrievalID: "ret-1", Status: "Succeeded", Tier: "Expedited",
			Size: 1048577, TreeHash: strings.Repeat("ab", 32), CompletedAt: at,
		},
		"restore_completed_object": RetrievalCompleted{
			ID: "ev-1", Notification: "n-1", Foreign: true, JobID: "job.1", Object: &ObjectRef{Bucket: "gas-archive", Key: "cold/job.1/a b.vcf", Version: "v1"},
			Status: "Succeeded", Size: 1048577, CompletedAt: at, ExpiresAt: at.Add(24 * time.Hour),
		},
		"status_changed": StatusChanged{
			JobID: "job.1", UserID: "u1", State: "requested", At: at, Tier: "Standard", Class: "DEEP_ARCHIVE", Fallback: true, ReadyBy: &by, Step: "ret-1",
		},
		"operator_acted": OperatorActed{
			ID: "act-1", Act: ActApprove, At: at, By: "root (sudo of operator)", On: "ops-1", As: "operator", Why: "ticket 7", Command: "gas thaw u1 --approve", UserID: "u1",
		},
		"operator_acted_and_failed": OperatorActed{
			ID: "act-2", Act: ActReplay, At: at, By: "operator", Command: "gas dead replay 3", Outcome: ActFailed, Did: "2 letters were replayed, 1 was left",
			Error: "publish thaw.requested.u.j: timeout", EndedAt: at.Add(time.Second),
		},
		"dead_letter": DeadLetter{
			ID: "7-abc", Stream: "THAW", Consumer: "thaw-request", SourceSubject: "thaw.requested.u.j", Header: map[string][]string{"Gas-Id": {"x"}},
			Payload: []byte(`{"v":1}`), Reason: "unknown job \"j\"", Kind: "invalid", Cause: "unknown job", Attempts: 1, FirstAt: at, LastAt: at,
		},
		"dead_letter_of_a_queue": DeadLetter{
			ID: "m-1", Stream: SourceSQS, Consumer: "gas_premium", Payload: []byte("rubbish"), Reason: "not JSON", Kind: "invalid", Attempts: 1, FirstAt: at, LastAt: at,
		},
		"dead_letter_again": DeadLetter{
			ID: "9-abd", Stream: "THAW", Consumer: "thaw-request", SourceSubject: "thaw.requested.u.j", Header: map[string][]string{"Gas-Id": {"x"}},
			Payload: []byte(`{"v":1}`), Reason: "unknown job \"j\"", Kind: "invalid", Attempts: 2, FirstAt: at, LastAt: at.Add(time.Hour),
			ReplayOf: []Death{{Seq: 3, ID: "dead:THAW:thaw-request:7-abc", At: at, Attempts: 1, FirstAt: at, Reason: "unknown job \"j\""}},
		},
	}
}

func TestEventsLookOnTheWireAsTheGoldenFilesSay(t *testing.T) {
	for name, e := range examples() {
		t.Run(name, func(t *testing.T) {
			m, err := Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := json.MarshalIndent(struct {
				Subject string
				Header  map[string][]string
				Data    json.RawMessage
			}{m.Subject, m.Header, m.Data}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".golden.json")
			if *update {
				os.MkdirAll("testdata", 0o755)
				if err := os.WriteFile(file, append(shown, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(shown) + "\n"; got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	for name, e := range examples() {
		m, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var back Event
		switch e.(type) {
		case UserUpgraded:
			back, err = Decode[UserUpgraded](m.Data)
		case ThawRequested:
			back, err = Decode[ThawRequested](m.Data)
		case RetrievalCompleted:
			back, err = Decode[RetrievalCompleted](m.Data)
		case StatusChanged:
			back, err = Decode[StatusChanged](m.Data)
		case DeadLetter:
			back, err = Decode[DeadLetter](m.Data)
		case OperatorActed:
			back, err = Decode[OperatorActed](m.Data)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := Encode(back)
		if err != nil || string(again.Data) != string(m.Data) {
			t.Errorf("%s: got %s (%v), want %s", name, again.Data, err, m.Data)
		}
	}
}

func TestDecodeRefusesWithAReasonThatNamesTheField(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       error
		says       string
	}{
		{"a newer version", `{"v":3,"type":"premium.upgraded","data":{}}`, ErrNewerVersion, "v is 3"},
		{"no version", `{"type":"premium.upgraded","data":{}}`, ErrMalformed, "v is 0"},
		{"another type", `{"v":1,"type":"thaw.requested","data":{}}`, ErrMalformed, `type is "thaw.requested"`},
		{"no data", `{"v":1,"type":"premium.upgraded"}`, ErrMalformed, "data is missing"},
		{"not JSON", `premium!`, ErrMalformed, "invalid character"},
		{"two values", `{"v":1}{"v":1}`, ErrMalformed, "after top-level value"},
		{"no user", `{"v":1,"type":"premium.upgraded","data":{"id":"a","at":"2026-11-23T10:20:30Z"}}`, ErrMalformed, "user_id is empty"},
		{"a long user", `{"v":1,"type":"premium.upgraded","data":{"id":"a","user_id":"` + strings.Repeat("x", 513) + `","at":"2026-11-23T10:20:30Z"}}`, ErrMalformed, "user_id has 513 bytes"},
		{"a number for a user", `{"v":1,"type":"premium.upgraded","data":{"user_id":7}}`, ErrMalformed, "user_id"},
		{"too large", strings.Repeat(" ", MaxSize+1), ErrMalformed, "bytes, more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode[UserUpgraded]([]byte(c.data))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

func TestDecodeIgnoresFieldsThatItDoesNotKnow(t *testing.T) {
	e, err := Decode[UserUpgraded]([]byte(`{"v":1,"type":"premium.upgraded","trace":"x","data":{"id":"a","user_id":"u","at":"2026-11-23T10:20:30Z","plan":"gold"}}`))
	if err != nil || e.UserID != "u" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestAPayloadComesBackAsItWasWhateverItsBytes(t *testing.T) {
	for _, payload := range []string{"", "{\"user_id\": \"é<\"}", "\xff\x00 not UTF-8"} {
		e := examples()["dead_letter"].(DeadLetter)
		e.Payload = Payload(payload)
		m, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode[DeadLetter](m.Data)
		if err != nil || string(back.Payload) != payload {
			t.Errorf("got %q, %v; want %q", back.Payload, err, payload)
		}
	}
}

func TestADeadLettersSubjectNamesWhoseItIs(t *testing.T) {
	for source, want := range map[string]string{
		"thaw.requested.job=2E1":    "dead.THAW.c.job=2E1",
		"thaw.requested.u.j":        "dead.THAW.c.u.j",
		"":                          "dead.THAW.c",
		"mine.x":                    "dead.THAW.c",
		"thaw.requested.*":          "dead.THAW.c",
		"thaw.requested.>":          "dead.THAW.c",
		"thaw.requested.a b":        "dead.THAW.c",
		"thaw.requested.":           "dead.THAW.c",
		"thaw.requested.j..k":       "dead.THAW.c",
		"thaw.requested.j\r\nPUB x": "dead.THAW.c",
	} {
		if got := (DeadLetter{Stream: "THAW", Consumer: "c", SourceSubject: source}).Subject(); got != want {
			t.Errorf("%q: got %q, want %q", source, got, want)
		}
	}
}

func TestEncodeRefusesAnEventWithoutItsIDs(t *testing.T) {
	if _, err := Encode(ThawRequested{ID: "x", UserID: "u", ArchiveID: "a", UpgradedAt: at}); err == nil || !strings.Contains(err.Error(), "job_id is empty") {
		t.Errorf("got %v", err)
	}
}

func FuzzATokenIsReversibleAndHasNothingThatNATSGivesAMeaning(f *testing.F) {
	for _, s := range []string{"a", "user.1", "*", ">", "a b", "=", "=2E", "$SYS", "é", "\x00", "..", "A-Z_09"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		token := Token(id)
		if id == "" {
			if token != "" {
				t.Fatalf("Token of nothing is %q", token)
			}
			return
		}
		if token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00$") {
			t.Fatalf("Token(%q) = %q", id, token)
		}
		back, err := ParseToken(token)
		if err != nil || back != id {
			t.Fatalf("ParseToken(%q) = %q, %v; want %q", token, back, err, id)
		}
	})
}

func FuzzATokenThatParsesIsTheOnlyOneOfItsID(f *testing.F) {
	for _, s := range []string{"a", "=2E", "=2e", "=41", "=", "=2", "a=20b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := ParseToken(token)
		if err == nil && Token(id) != token {
			t.Fatalf("ParseToken(%q) = %q, with the token %q", token, id, Token(id))
		}
	})
}

func FuzzDecodeNeverPanicsAndWhatItTakesCanBeEncoded(f *testing.F) {
	for _, e := range examples() {
		if m, err := Encode(e); err == nil {
			f.Add(m.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode[RetrievalCompleted](data)
		if err != nil {
			return
		}
		if _, err := Encode(e); err != nil {
			t.Fatalf("decoded %+v cannot be encoded: %v", e, err)
		}
	})
}
