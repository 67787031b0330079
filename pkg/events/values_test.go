package events

import (
	"errors"
	"strings"
	"testing"
)

func TestEncodeRefusesAValueThatItDoesNotKnow(t *testing.T) {
	for says, e := range map[string]Event{
		`via is "fax"`:           UserUpgraded{ID: "m", UserID: "u", UpgradedAt: at, Via: "fax"},
		`state is "thawed"`:      StatusChanged{JobID: "j", UserID: "u", State: "thawed", At: at},
		`state is ""`:            StatusChanged{JobID: "j", UserID: "u", At: at},
		`tier is "standard"`:     StatusChanged{JobID: "j", UserID: "u", State: StateRequested, Tier: "standard", At: at},
		`tier is "Fast"`:         RetrievalCompleted{ID: "n", JobID: "j", ArchiveID: "a", RetrievalID: "r", Status: RetrievalSucceeded, Tier: "Fast"},
		`status is "SUCCEEDED"`:  RetrievalCompleted{ID: "n", JobID: "j", ArchiveID: "a", RetrievalID: "r", Status: "SUCCEEDED"},
		`status is ""`:           RetrievalCompleted{ID: "n", JobID: "j", ArchiveID: "a", RetrievalID: "r"},
		`act is "look"`:          OperatorActed{ID: "a", Act: "look", By: "o", At: at},
		`outcome is "half"`:      OperatorActed{ID: "a", Act: ActPause, By: "o", At: at, Outcome: "half"},
		`kind is "bad"`:          DeadLetter{ID: "l", Stream: StreamThaw, Consumer: "c", Kind: "bad", LastAt: at},
		`kind is "", want one o`: DeadLetter{ID: "l", Stream: StreamThaw, Consumer: "c", LastAt: at},
	} {
		if m, err := Encode(e); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: got %s, %v; want an error that says %q", e, m.Data, err, says)
		}
	}
}

func TestEveryKnownValueCanBeWrittenAndRead(t *testing.T) {
	var all []Event
	for _, s := range states {
		all = append(all, StatusChanged{JobID: "j", UserID: "u", State: s, At: at})
	}
	for _, tier := range append([]Tier{""}, tiers...) {
		all = append(all, StatusChanged{JobID: "j", UserID: "u", State: StateRequested, Tier: tier, At: at})
	}
	for _, s := range retrievalStatuses {
		all = append(all, RetrievalCompleted{ID: "n", JobID: "j", ArchiveID: "a", RetrievalID: "r", Status: s, CompletedAt: at})
	}
	for _, v := range append([]Via{""}, vias...) {
		all = append(all, UserUpgraded{ID: "m", UserID: "u", UpgradedAt: at, Via: v})
	}
	for _, k := range deadKinds {
		all = append(all, DeadLetter{ID: "l", Stream: StreamThaw, Consumer: "c", Kind: k, FirstAt: at, LastAt: at})
	}
	for _, a := range acts {
		all = append(all, OperatorActed{ID: "a", Act: a, By: "o", At: at})
	}
	for _, o := range outcomes {
		all = append(all, OperatorActed{ID: "a", Act: ActPause, By: "o", At: at, Outcome: o})
	}
	for _, e := range all {
		m, err := Encode(e)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := DecodeMessage(m.Header, m.Data); err != nil {
			t.Errorf("%s: %v", m.Data, err)
		}
	}
}

// A newer release may have more states, tiers, ways and kinds. A status is Glacier's, and
// there are no others.
func TestAnOlderReaderTakesWhatANewerWriterAdded(t *testing.T) {
	replace := strings.NewReplacer(`"requested"`, `"resting"`, `"Standard"`, `"Leisurely"`, `"sns"`, `"carrier-pigeon"`, `"invalid"`, `"cursed"`, `"Expedited"`, `"Rocket"`, `"approve"`, `"bless"`)
	changed := 0
	for name, e := range examples() {
		m, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		newer := replace.Replace(string(m.Data))
		back, err := DecodeMessage(m.Header, []byte(newer))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if newer == string(m.Data) {
			continue
		}
		changed++
		if _, err := Encode(back); err == nil {
			t.Errorf("%s: %s is written by a release that does not know it", name, newer)
		}
	}
	if changed < 5 {
		t.Errorf("%d examples have such a value, want 5 or more", changed)
	}
	const completed = `{"v":1,"type":"restore.completed","data":{"id":"n","job_id":"j","archive_id":"a","retrieval_id":"r","status":"Postponed","size":0,"completed_at":"2026-11-23T10:20:30Z"}}`
	if e, err := Decode[RetrievalCompleted]([]byte(completed)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "status") {
		t.Errorf("got %+v, %v", e, err)
	}
}
