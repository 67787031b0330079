package events

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestADeadLetterOfAReplayAddsUpWhatWasBefore(t *testing.T) {
	first := DeadLetter{ID: "7-a", Stream: "THAW", Consumer: "c", Reason: "no", Kind: "unknown", Attempts: 20, FirstAt: at, LastAt: at.Add(time.Hour)}
	value, err := EncodeDeaths(append(first.ReplayOf, first.Death(3)))
	if err != nil {
		t.Fatal(err)
	}
	second := DeadLetter{ID: "9-b", Stream: "THAW", Consumer: "c", Reason: "no", Kind: "unknown", Attempts: 5, FirstAt: at.Add(2 * time.Hour),
		Header: map[string][]string{HeaderID: {"x"}, HeaderReplayOf: {value}}}.Again()
	if second.Attempts != 25 || !second.FirstAt.Equal(at) || len(second.ReplayOf) != 1 || second.ReplayOf[0].Seq != 3 || second.ReplayOf[0].ID != "dead:THAW:c:7-a" {
		t.Errorf("got %+v", second)
	}
	if want := map[string][]string{HeaderID: {"x"}}; !reflect.DeepEqual(second.Header, want) {
		t.Errorf("header: got %v, want %v", second.Header, want)
	}
	value, err = EncodeDeaths(append(second.ReplayOf, second.Death(8)))
	if err != nil {
		t.Fatal(err)
	}
	third := DeadLetter{Attempts: 1, FirstAt: at.Add(3 * time.Hour), Header: map[string][]string{HeaderReplayOf: {value}}}.Again()
	if third.Attempts != 26 || !third.FirstAt.Equal(at) || len(third.ReplayOf) != 2 {
		t.Errorf("got %+v", third)
	}
}

func TestDeathsAreOneShortLine(t *testing.T) {
	var deaths []Death
	for i := range 50 {
		deaths = append(deaths, Death{Seq: uint64(i), ID: "dead:THAW:c:7-a", At: at, Reason: fmt.Sprintf("line %d\n", i) + strings.Repeat("ü", 1400)})
	}
	value, err := EncodeDeaths(deaths)
	if err != nil {
		t.Fatal(err)
	}
	if len(value) > 12000 || strings.ContainsAny(value, "\r\n") {
		t.Errorf("%d bytes: %q", len(value), value)
	}
	back := Deaths(map[string][]string{HeaderReplayOf: {value}})
	if len(back) != maxDeaths || back[0].Seq != 42 || back[7].Seq != 49 || !strings.HasSuffix(back[7].Reason, "ü…") {
		t.Errorf("got %+v", back)
	}
}

func TestAHeaderThatSaysNothingReadableOfReplaysLeavesTheLetterAlone(t *testing.T) {
	for _, h := range []map[string][]string{nil, {HeaderReplayOf: {}}, {HeaderReplayOf: {"12"}}, {HeaderReplayOf: {"[", "]"}}, {HeaderReplayOf: {"[]"}}} {
		e := DeadLetter{Attempts: 3, FirstAt: at, Header: h}
		if got := e.Again(); !reflect.DeepEqual(got, e) {
			t.Errorf("%v: got %+v, want %+v", h, got, e)
		}
	}
}

func FuzzDeaths(f *testing.F) {
	f.Add(`[{"seq":3,"id":"x","at":"2026-11-23T10:20:30Z","attempts":1,"first_at":"2026-11-23T10:20:30Z","reason":"r"}]`)
	f.Fuzz(func(t *testing.T, value string) {
		deaths := Deaths(map[string][]string{HeaderReplayOf: {value}})
		again, err := EncodeDeaths(deaths)
		if err != nil {
			return // a year beyond 9999
		}
		if got := Deaths(map[string][]string{HeaderReplayOf: {again}}); len(got) != len(deaths) {
			t.Errorf("got %d deaths, want %d", len(got), len(deaths))
		}
	})
}

func TestAReplayIsTheMessageUnderAnIDOfItsOwnThatIsLinkedToTheLetter(t *testing.T) {
	letter := examples()["dead_letter_again"].(DeadLetter)
	letter.Header = map[string][]string{
		HeaderMsgID: {"old"}, HeaderID: {"x"}, HeaderType: {"thaw.requested"}, HeaderAttempts: {"{}"}, "Nats-Batch-Id": {"b"}, "Mine": {"1", "2"},
	}
	m, err := letter.Replay(12)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "thaw.requested.u.j" || string(m.Data) != `{"v":1}` {
		t.Errorf("got %s to %s", m.Data, m.Subject)
	}
	deaths := Deaths(m.Header)
	if len(deaths) != 2 || deaths[0].Seq != 3 || deaths[1].Seq != 12 || deaths[1].ID != letter.MessageID() {
		t.Errorf("got the deaths %+v", deaths)
	}
	delete(m.Header, HeaderReplayOf)
	want := map[string][]string{HeaderMsgID: {"replay:dead:THAW:thaw-request:9-abd"}, HeaderID: {"x"}, HeaderType: {"thaw.requested"}, "Mine": {"1", "2"}}
	if !reflect.DeepEqual(m.Header, want) {
		t.Errorf("got the header %v, want %v", m.Header, want)
	}
	if len(letter.ReplayOf) != 1 || len(letter.Header[HeaderAttempts]) != 1 {
		t.Errorf("the letter changed: %+v", letter)
	}
	for _, subject := range []string{"", "thaw.requested.*", "thaw.requested", "thaw.requested.j\r\nPUB x"} {
		letter.SourceSubject = subject
		if m, err := letter.Replay(12); err == nil {
			t.Errorf("%q: got %+v", subject, m)
		}
	}
}
