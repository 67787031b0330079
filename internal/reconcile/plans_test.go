package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/pkg/events"
)

// watched is a catalog that records its calls. It can be slow.
type watched struct {
	reconcile.Catalog
	slow time.Duration // the time for a page of a user's archives

	mu       sync.Mutex // guards what follows
	accounts int        // the calls of AccountsOf
	looked   []events.UserID
}

func (c *watched) AccountsOf(ctx context.Context, users []events.UserID) (map[events.UserID]archive.Account, error) {
	c.mu.Lock()
	c.accounts++
	c.mu.Unlock()
	return c.Catalog.AccountsOf(ctx, users)
}

func (c *watched) ArchivedPage(ctx context.Context, user events.UserID, cursor string) ([]archive.Job, string, error) {
	c.mu.Lock()
	c.looked = append(c.looked, user)
	c.mu.Unlock()
	time.Sleep(c.slow)
	return c.Catalog.ArchivedPage(ctx, user, cursor)
}

func TestAHundredPlansAreReadWithACall(t *testing.T) {
	inFixture(t, func(t *testing.T, w *fixture) {
		for i := range 250 {
			w.Account(events.UserID(fmt.Sprint("u", i)), archive.Premium)
		}
		c := &watched{Catalog: w.Catalog}
		w.sweeper.Catalog = c
		if r := w.swept(); r.Plans != 250 || c.accounts != 3 || r.Calls != 3 {
			t.Errorf("%d plans were checked, and %d of %d calls read their accounts; want 250 plans, and 3 of 3 calls", r.Plans, c.accounts, r.Calls)
		}
	})
}

func TestASweepEndsWhateverItHasToLookAtAndTheNextOneGoesOnWithTheRest(t *testing.T) {
	inFixture(t, func(t *testing.T, w *fixture) {
		for i := range 500 {
			w.Account(events.UserID(fmt.Sprintf("u%03d", i)), archive.Premium)
			w.advance(time.Second)
		}
		c := &watched{Catalog: w.Catalog, slow: 5 * time.Second}
		w.sweeper.Catalog = c
		began := w.now()
		w.swept()
		if took := w.now().Sub(began); took > 4*time.Minute {
			t.Errorf("a sweep took %s, want 4m at the most", took)
		}
		first := len(c.looked)
		if first == 0 || first == 500 {
			t.Fatalf("the first sweep checked %d of 500 plans, want some, but not all", first)
		}
		slices.Sort(c.looked)
		if last := events.UserID(fmt.Sprintf("u%03d", first-1)); c.looked[first-1] != last {
			t.Errorf("the last of the %d checked plans is %s, want %s: the plans that are due first come first", first, c.looked[first-1], last)
		}
		w.swept()
		slices.Sort(c.looked)
		if twice := len(c.looked) - len(slices.Compact(c.looked)); twice != 0 {
			t.Errorf("%d plans were checked twice while others waited", twice)
		}
	})
}

func TestAPlanOfWhichAllIsOnItsWayIsLookedAtLessOften(t *testing.T) {
	inFixture(t, func(t *testing.T, w *fixture) {
		w.requested(w.archived("calm", "j1"), archive.Standard)
		w.requested(w.archived("both", "j2"), archive.Standard)
		w.archived("both", "j3")
		began := w.now()
		w.advance(time.Second)
		w.swept()
		for user, want := range map[events.UserID]time.Duration{"calm": 15 * time.Minute, "both": 5 * time.Minute} {
			a, err := w.Catalog.Account(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			if due := a.Plan.Due.Sub(began).Round(time.Minute); due != want {
				t.Errorf("the plan of %s is due again after %s, want %s", user, due, want)
			}
		}
	})
}

// status publishes a status of the job, with the rights of the sweep.
func (w *fixture) status(job archive.Job, state events.State) {
	w.t.Helper()
	e := events.StatusChanged{JobID: job.ID, UserID: job.UserID, State: state, At: w.now(), Step: "late"}
	if err := (streams{w.sweep}).Publish(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

// last returns the state that was told last of each job.
func (w *fixture) last(user events.UserID) map[events.JobID]events.State {
	w.t.Helper()
	last := map[events.JobID]events.State{}
	for e, err := range w.operator.LatestStatuses(w.t.Context(), user) {
		if err != nil {
			w.t.Fatal(err)
		}
		last[e.JobID] = e.State
	}
	return last
}

// TestAPlanIsClosedWhenTheLastStatusOfEachFileIsTrue has statuses that come after "restored".
func TestAPlanIsClosedWhenTheLastStatusOfEachFileIsTrue(t *testing.T) {
	inFixture(t, func(t *testing.T, w *fixture) {
		const files = 230 // more than a call reads
		for i := range files {
			w.archived("u", id("job-%03d", i))
		}
		w.start()
		w.advance(time.Hour)
		w.rounds()
		w.check()
		states := []events.State{archive.Planned, archive.Requested, archive.Ready, archive.Copying, archive.Verifying, archive.Failed, archive.Restored}
		for i := range files {
			w.status(w.Job(id("job-%03d", i)), states[i%len(states)])
		}
		told := 0
		for range 6 {
			w.advance(5 * time.Minute)
			told += w.swept().Done[reconcile.Tell]
		}
		late := files - files/len(states)
		if a, err := w.Catalog.Account(t.Context(), "u"); err != nil || a.Plan != nil || told != late {
			t.Errorf("%d files were told to be back, want %d, and the account has the plan %+v; %v", told, late, a.Plan, err)
		}
		for job, state := range w.last("u") {
			if state != archive.Restored {
				t.Errorf("the last status of %s is %q, want restored", job, state)
			}
		}
	})
}

// silent cannot read the statuses.
type silent struct{ streams }

func (silent) LatestStatuses(context.Context, events.UserID) iter.Seq2[events.StatusChanged, error] {
	return func(yield func(events.StatusChanged, error) bool) {
		yield(events.StatusChanged{}, fault.New(fault.Transient, errors.New("no answer")))
	}
}

func TestAPlanIsClosedInAnHourThoughTheStatusesCannotBeRead(t *testing.T) {
	inFixture(t, func(t *testing.T, w *fixture) {
		w.Account("u", archive.Premium)
		w.sweeper.Streams = silent{streams{w.sweep}}
		closed, began := time.Duration(0), w.now()
		failed := 0
		for closed == 0 && w.now().Sub(began) < 3*time.Hour {
			r, err := w.sweeper.Sweep(t.Context())
			if err != nil {
				failed++
			}
			if r.Closed > 0 {
				closed = w.now().Sub(began)
			}
			w.advance(5 * time.Minute)
		}
		if closed < time.Hour || closed > 90*time.Minute || failed < 5 {
			t.Errorf("the plan was closed after %s, and %d sweeps reported the error; want an hour, and most sweeps", closed, failed)
		}
	})
}
