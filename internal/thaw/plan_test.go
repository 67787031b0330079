package thaw_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

func newPlanner(t *testing.T, a *testenv.AWS, out thaw.Tasks) *thaw.Planner {
	return &thaw.Planner{
		Accounts: a.Catalog, Plans: a.Catalog, Jobs: a.Catalog, Tasks: out, Tiers: archive.DefaultTiers(),
		Prices: cost.Public().In("us-east-1"), AssumedSize: 1 << 30, Now: time.Now, Log: testenv.Log(t),
	}
}

func TestAPlanHasOneTaskPerArchivedJobAndTheSameIDsEachTime(t *testing.T) {
	a := testenv.NewAWS(t)
	a.Account("u", archive.Premium)
	a.Account("other", archive.Premium)
	a.Archive("other", "x", []byte("x"))
	want := map[string]bool{}
	for i := range 25 {
		id := events.JobID(fmt.Sprintf("j%02d", i))
		job := a.Archive("u", id, []byte{byte(i)})
		if i == 7 { // on its way already
			intent := archive.Intent{Token: "t", At: time.Now()}
			if err := a.Catalog.SaveIntent(t.Context(), job, intent); err != nil {
				t.Fatal(err)
			}
			if err := a.Catalog.SaveRetrieval(t.Context(), job, intent, archive.Retrieval{ID: "r", Tier: archive.Bulk, RequestedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want["thaw:up-1:"+string(id)] = true
	}
	for run := range 2 {
		var out testenv.Emitted
		if err := newPlanner(t, a, &out).Plan(t.Context(), events.UserUpgraded{ID: "up-1", UserID: "u", UpgradedAt: upgraded}, nil); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, e := range out.All() {
			if _, ok := e.(events.ThawRequested); ok {
				got[e.MessageID()] = true
			}
		}
		if len(got) != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("run %d: got %d tasks %v, want %d", run, len(got), got, len(want))
		}
		if n := len(out.States()); n != len(want) {
			t.Errorf("run %d: %d status changes, want %d", run, n, len(want))
		}
	}
}

func TestAPlanForAnUnknownUserIsRefused(t *testing.T) {
	a := testenv.NewAWS(t)
	var out testenv.Emitted
	err := newPlanner(t, a, &out).Plan(t.Context(), events.UserUpgraded{ID: "up", UserID: "nobody", UpgradedAt: upgraded}, nil)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `unknown user "nobody"`) {
		t.Errorf("got %v", err)
	}
}

func TestAnUpgradeThatWasUndoneSincePlansNothing(t *testing.T) {
	a := testenv.NewAWS(t)
	a.Account("u", archive.Premium)
	a.Archive("u", "j", []byte("x"))
	if _, err := a.Catalog.SetRole(t.Context(), "u", archive.Free, upgraded.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	var out testenv.Emitted
	if err := newPlanner(t, a, &out).Plan(t.Context(), events.UserUpgraded{ID: "up", UserID: "u", UpgradedAt: upgraded}, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(out.All()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestPlanningCostsWhatIsArchivedAndNotWhatWasEverComputed(t *testing.T) {
	calls := map[int]int64{}
	for _, others := range []int{0, 300} {
		a := testenv.NewAWS(t)
		a.Account("u", archive.Premium)
		for i := range 3 {
			a.Archive("u", events.JobID(fmt.Sprint("a", i)), []byte("x"))
		}
		for i := range others {
			if err := a.Catalog.AddJob(t.Context(), archive.Job{ID: events.JobID(fmt.Sprint("o", i)), UserID: "u", SubmittedAt: time.Now(), Status: "COMPLETED"}); err != nil {
				t.Fatal(err)
			}
		}
		a.ResetCounts()
		var out testenv.Emitted
		if err := newPlanner(t, a, &out).Plan(t.Context(), events.UserUpgraded{ID: "up", UserID: "u", UpgradedAt: upgraded}, nil); err != nil {
			t.Fatal(err)
		}
		calls[others] = a.Counts()["dynamodb.Query"]
	}
	if calls[0] != calls[300] {
		t.Errorf("queries by number of jobs that are not archived: %v", calls)
	}
}
