package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
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
