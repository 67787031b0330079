package thaw_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

func (w *crashFixture) planOf(t *testing.T, e events.UserUpgraded) thaw.Progress {
	t.Helper()
	note, _, err := w.operator.KV(bus.BucketPlans).Get(t.Context(), thaw.PlanPrefix(e.UserID)+events.Token(e.ID))
	if err != nil {
		t.Fatal(err)
	}
	p, err := thaw.DecodeProgress(note)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// interrupted makes a plan of 10 archives on 5 pages that fails at the third.
func interrupted(t *testing.T, w *crashFixture) (events.UserUpgraded, []events.JobID) {
	t.Helper()
	e, jobs := w.user(t, 10)
	l := &life{At: -1}
	p := w.planner(t, l, thaw.Limits{})
	pages := 0
	p.Jobs = jobsFunc(func(ctx context.Context, u events.UserID, cursor string) ([]archive.Job, string, error) {
		if pages++; pages == 3 {
			return nil, "", fault.Errorf(fault.Transient, "injected")
		}
		return w.Catalog.Paged(2).ArchivedPage(ctx, u, cursor)
	})
	if err := p.Plan(t.Context(), e, nil); err == nil {
		t.Fatal("not interrupted")
	}
	if got := w.planOf(t, e); got.Outcome != thaw.Planning || got.Planned != 4 {
		t.Fatalf("progress: %+v", got)
	}
	return e, jobs
}

type jobsFunc func(context.Context, events.UserID, string) ([]archive.Job, string, error)

func (f jobsFunc) ArchivedPage(ctx context.Context, u events.UserID, cursor string) ([]archive.Job, string, error) {
	return f(ctx, u, cursor)
}

func TestAnInterruptedPlanGoesOnWhereItWas(t *testing.T) {
	w := newCrashFixture(t)
	e, jobs := interrupted(t, w)
	// The plan stopped at a job. That job is restored meanwhile. The cursor is still valid.
	w.RemoveAttribute(lastOf(t, w, e.UserID, 4), "archive_id")
	w.ResetCounts()
	if !w.plan(t, &life{At: -1}, e, thaw.Limits{}) {
		t.Fatal("not planned")
	}
	if n := w.Counts()["dynamodb.Query"]; n != 3 && n != 4 { // DynamoDB may end with an empty page
		t.Errorf("%d pages were read, want the 3 that were left", n)
	}
	if got := w.planOf(t, e); got.Outcome != thaw.Planned || got.Planned != 10 || got.Cursor != "" {
		t.Errorf("plan: %+v", got)
	}
	for job, n := range w.tasksOf(t, jobs) {
		if n != 1 {
			t.Errorf("%d tasks of %s", n, job)
		}
	}
}

// lastOf returns the job at place n, from 1 on, of the user's archived jobs.
func lastOf(t *testing.T, w *crashFixture, user events.UserID, n int) events.JobID {
	t.Helper()
	jobs, _, err := w.Catalog.ArchivedPage(t.Context(), user, "")
	if err != nil {
		t.Fatal(err)
	}
	return jobs[n-1].ID
}

func TestProgressThatIsNotOfThisPlanOrTooOldIsNotTrusted(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *crashFixture, *events.UserUpgraded){
		"another upgrade": func(_ *testing.T, _ *crashFixture, e *events.UserUpgraded) { e.ID += "-second" },
		"another plan": func(t *testing.T, w *crashFixture, e *events.UserUpgraded) {
			for _, role := range []archive.Role{archive.Free, archive.Premium} {
				if _, err := w.Catalog.SetRole(t.Context(), e.UserID, role, w.now); err != nil {
					t.Fatal(err)
				}
			}
		},
		"a day ago":              func(_ *testing.T, w *crashFixture, _ *events.UserUpgraded) { w.now = w.now.Add(25 * time.Hour) },
		"a clock that went back": func(_ *testing.T, w *crashFixture, _ *events.UserUpgraded) { w.now = w.now.Add(-time.Hour) },
		"a cursor that is none": func(t *testing.T, w *crashFixture, e *events.UserUpgraded) {
			p := w.planOf(t, *e)
			note := fmt.Sprintf(`{"id":%q,"user":%q,"plan":%q,"outcome":"planning","cursor":"bm9uc2Vuc2U","planned":9,"updated_at":%q}`,
				p.ID, p.User, p.Plan, w.now.Format(time.RFC3339Nano))
			if err := w.operator.KV(bus.BucketPlans).Put(t.Context(), thaw.PlanPrefix(e.UserID)+events.Token(e.ID), []byte(note)); err != nil {
				t.Fatal(err)
			}
		},
		"no JSON": func(t *testing.T, w *crashFixture, e *events.UserUpgraded) {
			if err := w.operator.KV(bus.BucketPlans).Put(t.Context(), thaw.PlanPrefix(e.UserID)+events.Token(e.ID), []byte("{")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCrashFixture(t)
			e, _ := interrupted(t, w)
			change(t, w, &e)
			var out testenv.Emitted
			p := w.planner(t, &life{At: -1}, thaw.Limits{})
			p.Tasks = &out
			if err := p.Plan(t.Context(), e, nil); err != nil {
				t.Fatal(err)
			}
			if n := len(out.States()); n != 10 {
				t.Errorf("%d archives were planned, want all 10 from the start", n)
			}
			if got := w.planOf(t, e); got.Planned != 10 || got.Outcome != thaw.Planned {
				t.Errorf("plan: %+v", got)
			}
		})
	}
}

func TestAPlanNeedsNoStore(t *testing.T) {
	w := newCrashFixture(t)
	e, _ := w.user(t, 3)
	for name, store := range map[string]kv.Store{"none": nil, "lost": lost{}} {
		var out testenv.Emitted
		p := w.planner(t, &life{At: -1}, thaw.Limits{})
		p.KV, p.Tasks = store, &out
		if err := p.Plan(t.Context(), e, nil); err != nil || len(out.States()) != 3 {
			t.Errorf("%s: %v, %d planned", name, err, len(out.States()))
		}
	}
}

// TestAPlanSlowsDownWhileTheStreamIsFull has a stream that is too small for the plan. The
// planner fills the stream, and a worker makes room.
func TestAPlanSlowsDownWhileTheStreamIsFull(t *testing.T) {
	w := newCrashFixture(t)
	e, jobs := w.user(t, 60)
	st, err := w.operator.JS.Stream(t.Context(), events.StreamThaw)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = 8 << 10
	if _, err := w.operator.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	full := 0
	all := map[events.JobID]int{}
	for {
		p := w.planner(t, &life{At: -1}, thaw.Limits{})
		p.Jobs = w.Catalog.Paged(10)
		err := p.Plan(t.Context(), e, nil)
		for job, n := range w.tasksOf(t, jobs) { // the workers are done with them
			all[job] += n
		}
		if err == nil {
			break
		}
		if full++; !fault.Is(err, fault.Wait) || fault.DelayOf(err) <= 0 || full > 30 {
			t.Fatalf("got %v of kind %s after %s, want a wait", err, fault.KindOf(err), fault.DelayOf(err))
		}
	}
	if full == 0 || len(all) != 60 {
		t.Errorf("full %d times, %d of 60 archives have a task", full, len(all))
	}
	for job, n := range all {
		// A page may be stored in part, before the stream is full. Then its tasks come again,
		// with the same ids.
		if n > 2 {
			t.Errorf("%d tasks of %s", n, job)
		}
	}
}

func TestAUserInEachSituationGetsWhatIsRightAndIsToldWhich(t *testing.T) {
	thawing := func(t *testing.T, w *crashFixture, id events.JobID) {
		job, intent := w.Job(id), archive.Intent{Token: "t", At: w.now}
		if err := errors.Join(w.Catalog.SaveIntent(t.Context(), job, intent),
			w.Catalog.SaveRetrieval(t.Context(), job, intent, archive.Retrieval{ID: events.RetrievalID("r-" + id), Tier: std, RequestedAt: w.now})); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		set     func(*testing.T, *crashFixture, *events.UserUpgraded, []events.JobID)
		outcome thaw.Outcome
		says    string
		tasks   int
		kind    fault.Kind
	}{
		{"upgraded", nil, thaw.Planned, "archives to request: 4", 4, 0},
		{"already thawing", func(t *testing.T, w *crashFixture, _ *events.UserUpgraded, jobs []events.JobID) {
			for _, id := range jobs {
				thawing(t, w, id)
			}
		}, thaw.Thawing, "every archive is on its way already: 4", 0, 0},
		{"half thawed", func(t *testing.T, w *crashFixture, _ *events.UserUpgraded, jobs []events.JobID) {
			thawing(t, w, jobs[0])
			thawing(t, w, jobs[1])
			w.RemoveAttribute(jobs[2], "archive_id") // restored
		}, thaw.HalfThawed, "archives to request: 1; on their way already: 2", 1, 0},
		{"fully restored", func(t *testing.T, w *crashFixture, _ *events.UserUpgraded, jobs []events.JobID) {
			for _, id := range jobs {
				w.RemoveAttribute(id, "archive_id")
			}
		}, thaw.NothingArchived, "the user has nothing in the vault", 0, 0},
		{"unknown", func(_ *testing.T, _ *crashFixture, e *events.UserUpgraded, _ []events.JobID) { e.UserID = "nobody" }, "", `unknown user "nobody"`, 0, fault.Invalid},
		{"downgraded meanwhile", func(t *testing.T, w *crashFixture, e *events.UserUpgraded, _ []events.JobID) {
			if _, err := w.Catalog.SetRole(t.Context(), e.UserID, archive.Free, e.UpgradedAt.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}, thaw.NotEntitled, "the user has no plan", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newCrashFixture(t)
			e, jobs := w.user(t, 4)
			if c.set != nil {
				c.set(t, w, &e, jobs)
			}
			p := w.planner(t, &life{At: -1}, thaw.Limits{})
			var told []thaw.Outcome
			p.OnPlan = func(o thaw.Outcome) { told = append(told, o) }
			err := p.Plan(t.Context(), e, nil)
			if c.kind != 0 {
				if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := w.planOf(t, e); got.Outcome != c.outcome || !strings.Contains(got.Reason, c.says) || len(told) != 1 || told[0] != c.outcome {
				t.Errorf("got %q, %q, told %v; want %q, %q", got.Outcome, got.Reason, told, c.outcome, c.says)
			}
			if n := len(w.tasksOf(t, jobs)); n != c.tasks {
				t.Errorf("%d tasks, want %d", n, c.tasks)
			}
		})
	}
}

func TestAPlanThatIsOverBudgetIsHeldBeforeAnythingIsAskedFor(t *testing.T) {
	const each = archive.MicroUSD(10_001) // for six bytes in Expedited, rounded up
	w := newCrashFixture(t)
	// A day has just begun. Each plan takes a minute, so all plans are in one day. The plans
	// of two days would have the budgets of two days.
	w.now = w.now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	try := func(t *testing.T, e events.UserUpgraded, b thaw.Limits) bool {
		t.Helper()
		if !w.plan(t, &life{At: -1}, e, b) {
			t.Fatal("not acked")
		}
		return w.isHeld(t, e.UserID)
	}
	spend := func(t *testing.T, user events.UserID, amount archive.MicroUSD) {
		t.Helper()
		if why, err := w.Catalog.Spend(t.Context(), archive.Spending{Amount: amount, Day: w.now.UTC().Format(time.DateOnly), User: user}); why != "" || err != nil {
			t.Fatal(why, err)
		}
	}
	t.Run("a user's", func(t *testing.T) {
		first, _ := w.user(t, 1)
		for range 3 {
			if try(t, first, thaw.Limits{User: each}) {
				t.Error("held at its budget: a plan that comes again spends nothing")
			}
		}
		spend(t, first.UserID, 1)
		if !try(t, first, thaw.Limits{User: each}) {
			t.Error("not held beside what was spent")
		}
		w.now = w.now.Add(24 * time.Hour)
		if try(t, first, thaw.Limits{User: each}) {
			t.Error("held on the next day")
		}
	})
	t.Run("the day's", func(t *testing.T) {
		w.now = w.now.Add(48 * time.Hour)
		first, _ := w.user(t, 1)
		second, _ := w.user(t, 1)
		if spend(t, first.UserID, each); try(t, second, thaw.Limits{Day: 2 * each}) {
			t.Error("held at the day's budget")
		}
		if spend(t, first.UserID, 1); !try(t, second, thaw.Limits{Day: 2 * each}) {
			t.Error("not held beside what another user spent")
		}
	})
	t.Run("an approval", func(t *testing.T) {
		w.now = w.now.Add(48 * time.Hour)
		e, jobs := w.user(t, 2)
		if !try(t, e, thaw.Limits{User: 1}) {
			t.Fatal("not held")
		}
		w.purge(t)
		if !try(t, w.approve(t, e, 2*each-2), thaw.Limits{User: 1}) {
			t.Error("a plan that costs more than was approved went through")
		}
		if try(t, w.approve(t, e, 2*each), thaw.Limits{User: 1}) {
			t.Error("held though it is approved")
		}
		if n := len(w.tasksOf(t, jobs)); n != 2 {
			t.Errorf("%d tasks, want 2", n)
		}
	})
}

// TestBudgetsHoldToTheCent lets workers request more than the budgets allow, all at once.
func TestBudgetsHoldToTheCent(t *testing.T) {
	const each = archive.MicroUSD(10_001)
	for _, c := range []struct {
		name     string
		budget   thaw.Limits
		approved archive.MicroUSD
		want     int // retrievals of 12 archives of 3 users
	}{
		{"none", thaw.Limits{}, 0, 12},
		{"the day's", thaw.Limits{Day: 5*each + each/2}, 0, 5},
		{"a user's", thaw.Limits{User: 3 * each}, 0, 9},
		{"both", thaw.Limits{User: 3 * each, Day: 7 * each}, 0, 7},
		{"less than one costs", thaw.Limits{User: each - 1}, 0, 0},
		{"an approval", thaw.Limits{Day: 1}, 2 * each, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newCrashFixture(t)
			w.budget = c.budget
			r := w.requester(t, &life{At: -1})
			r.Pace = nil
			var work sync.WaitGroup
			for u := range 3 {
				user := events.UserID(fmt.Sprint("user-", u))
				w.Account(user, archive.Premium)
				if c.approved > 0 {
					if err := w.Catalog.ResumePlan(t.Context(), user, testenv.PlanOf(user), c.approved, w.now); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 4 {
					job := w.Archive(user, events.JobID(fmt.Sprintf("job-%d-%d", u, i)), []byte("result"))
					e := events.ThawRequested{ID: "up", JobID: job.ID, UserID: user, ArchiveID: job.ArchiveID}
					work.Go(func() {
						var out testenv.Emitted
						if err := r.Request(context.Background(), e, out.Emit); err != nil {
							t.Error(err)
						}
					})
				}
			}
			work.Wait()
			if n := len(w.Glacier.Retrievals()); n != c.want {
				t.Errorf("%d retrievals, want %d", n, c.want)
			}
			if !c.budget.Limited() {
				return
			}
			if all, _, err := w.Catalog.Spent(t.Context(), w.now.UTC().Format(time.DateOnly), "user-0"); err != nil || all != archive.MicroUSD(c.want)*each {
				t.Errorf("%s is entered for the day, want %s; %v", all, archive.MicroUSD(c.want)*each, err)
			}
		})
	}
}
