package summary_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAJobIsGivenUpOnlyByALetterAboutWhatTheCatalogHasNow(t *testing.T) {
	letterOf := func(e events.Event, cause string) events.DeadLetter {
		m, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		return events.DeadLetter{SourceSubject: e.Subject(), Payload: m.Data, Cause: cause}
	}
	job := archive.Job{ID: "j", UserID: "u", ArchiveID: "a"}
	requested := job
	requested.RetrievalID = "r"
	intent := job
	intent.Intent = &archive.Intent{Token: "t"}
	spent := job
	spent.History.Failed = map[archive.Failure]int{archive.GlacierFailed: archive.MaxPerFailure}
	allowed := spent
	allowed.History.Allowed = 1
	unreadable := job
	unreadable.Unreadable = []string{"x"}
	back := archive.Job{ID: "j", UserID: "u"}
	astray := archive.Job{ID: "j", UserID: "u", RetrievalID: "r"} // somebody removed archive_id
	free, premium := archive.Account{ID: "u", Role: archive.Free}, archive.Account{ID: "u", Role: archive.Premium, Plan: &archive.Plan{ID: "p"}}
	restore := func(r events.RetrievalID) events.DeadLetter {
		return letterOf(events.RetrievalCompleted{ID: "n", JobID: "j", ArchiveID: "a", RetrievalID: r, Status: events.RetrievalSucceeded}, "key occupied")
	}
	thaw := func(a events.ArchiveID, cause string) events.DeadLetter {
		return letterOf(events.ThawRequested{ID: "m", JobID: "j", UserID: "u", ArchiveID: a}, cause)
	}
	plan := func(id string) events.DeadLetter {
		return letterOf(events.UserUpgraded{ID: "m", UserID: "u", Plan: id, UpgradedAt: time.Unix(1, 0)}, "unreadable account in the catalog")
	}
	junk := events.DeadLetter{SourceSubject: events.RetrievalCompleted{JobID: "j"}.Subject(), Payload: []byte("junk")}
	for name, c := range map[string]struct {
		job    archive.Job
		owner  archive.Account
		letter events.DeadLetter
		want   bool
	}{
		"nothing":                            {requested, premium, events.DeadLetter{}, false},
		"its retrieval":                      {requested, premium, restore("r"), true},
		"its retrieval, for a Free user":     {requested, free, restore("r"), true},
		"an earlier retrieval":               {requested, premium, restore("older"), false},
		"a message that cannot be read":      {requested, premium, junk, true},
		"its task, after it was requested":   {requested, premium, thaw("a", "archive cannot be retrieved"), false},
		"its task":                           {job, premium, thaw("a", "archive cannot be retrieved"), true},
		"its task, with an intent":           {intent, premium, thaw("a", "archive cannot be retrieved"), true},
		"an earlier archive":                 {job, premium, thaw("older", "archive cannot be retrieved"), false},
		"its task, for a Free user":          {job, free, thaw("a", "archive cannot be retrieved"), false},
		"tries used up":                      {spent, premium, thaw("a", "retrieval failed"), true},
		"tries used up, and the letter lost": {spent, premium, events.DeadLetter{}, true},
		"tries used up, for a Free user":     {spent, free, events.DeadLetter{}, false},
		"another try allowed":                {allowed, premium, thaw("a", "retrieval failed"), false},
		"its plan":                           {job, premium, plan("p"), true},
		"a plan without a name":              {job, premium, plan(""), true},
		"an earlier plan":                    {job, premium, plan("older"), false},
		"its plan, after it was requested":   {requested, premium, plan("p"), false},
		"a value that cannot be understood":  {unreadable, premium, events.DeadLetter{}, true},
		"astray":                             {astray, premium, restore("r"), true},
		"astray, and nobody has said so":     {astray, premium, events.DeadLetter{}, false},
		"back":                               {back, premium, restore("r"), false},
	} {
		letters := func(e events.Event) (events.DeadLetter, bool, error) {
			return c.letter, e.Subject() == c.letter.SourceSubject, nil
		}
		if _, got, err := summary.GivenUp(c.job, c.owner, letters); err != nil || got != c.want {
			t.Errorf("%s: given up %v, %v; want %v", name, got, err, c.want)
		}
	}
	away := func(events.Event) (events.DeadLetter, bool, error) {
		return events.DeadLetter{}, false, errors.New("away")
	}
	for _, j := range []archive.Job{job, requested} {
		if _, _, err := summary.GivenUp(j, premium, away); err == nil {
			t.Error("no error while the letters are away")
		}
	}
}
