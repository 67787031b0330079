package thaw_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// planning is a planner over a stand-in, with a clock of its own.
type planning struct {
	*testenv.AWS
	*thaw.Planner
	now   time.Time
	lines testlog.Lines
	out   testenv.Emitted
	ends  []thaw.Outcome
	store *memory
}

// newPlanning has a user with three archives of a MiB, on pages of two.
func newPlanning(t *testing.T, l *life) *planning {
	p := &planning{AWS: testenv.NewAWS(t), now: time.Now(), store: &memory{}}
	p.Planner = &thaw.Planner{
		Accounts: accountsIn{l, p.AWS.Catalog}, Plans: plansIn{l, p.AWS.Catalog}, Budgets: budgetsIn{l, p.AWS.Catalog}, Switches: switchesIn{l, p.AWS.Catalog},
		Jobs: jobsIn{l, p.AWS.Catalog.Paged(2)}, Tasks: tasksIn{l, &p.out}, KV: kvIn{l, "KV", p.store},
		Tiers: archive.DefaultTiers(), Prices: cost.Public().In("us-east-1"), AssumedSize: 1 << 30,
		Now: func() time.Time { return p.now }, Log: slog.New(slog.NewTextHandler(&p.lines, nil)),
		OnPlan: func(o thaw.Outcome) { p.ends = append(p.ends, o) },
	}
	p.Account("u", archive.Premium)
	for i := range 3 {
		job := archive.Job{ID: testJob(i), UserID: "u", SubmittedAt: p.now, Status: "COMPLETED", ArchiveID: events.ArchiveID(fmt.Sprint("archive-", i)), ArchiveSize: 1 << 20}
		if err := p.AWS.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// price is what the plan costs in the dearest tier. The price of each archive but one may be
// rounded up.
func (p *planning) price() archive.MicroUSD {
	return p.Prices.Of(archive.Vault, exp, 3, 3<<20).Plus(2)
}

func (p *planning) plan(t *testing.T) archive.Plan {
	t.Helper()
	a, err := p.AWS.Catalog.Account(t.Context(), "u")
	if err != nil || a.Plan == nil {
		t.Fatalf("%v, plan %v", err, a.Plan)
	}
	return *a.Plan
}

func (p *planning) hold(t *testing.T) {
	t.Helper()
	if err := p.AWS.Catalog.HoldPlan(t.Context(), "u", p.plan(t).ID, "a budget", p.now); err != nil {
		t.Fatal(err)
	}
}

func (p *planning) tasks() (n int) {
	for _, e := range p.out.All() {
		if _, ok := e.(events.ThawRequested); ok {
			n++
		}
	}
	return n
}

var upgrade = events.UserUpgraded{ID: "up", UserID: "u", UpgradedAt: upgraded}

// TestTheErrorOfEachCallIsTheErrorOfItsPlan breaks each call of each kind of plan. A plan that is
// acked although a call failed would leave archives behind.
func TestTheErrorOfEachCallIsTheErrorOfItsPlan(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *planning, *events.UserUpgraded)
		calls   []string // of these at least
		tasks   int
		state   archive.PlanState
		ends    thaw.Outcome
	}{
		{name: "without a limit", calls: []string{"Accounts.Account", "Switches.Switches", "KV.Get", "Jobs.ArchivedPage", "Tasks.Publish", "Tasks.Outstanding", "KV.Put"}, tasks: 3, state: archive.PlanOpen, ends: thaw.Planned},
		{name: "within a limit", calls: []string{"Budgets.Spent"}, tasks: 3, state: archive.PlanOpen, ends: thaw.Planned, prepare: func(_ *testing.T, p *planning, _ *events.UserUpgraded) {
			p.Limits.Day = p.price()
		}},
		{name: "over a limit", calls: []string{"Budgets.Spent", "Plans.HoldPlan"}, state: archive.PlanHeld, ends: thaw.Held, prepare: func(_ *testing.T, p *planning, _ *events.UserUpgraded) {
			p.Limits.Day = p.price() - 1
		}},
		{name: "over a limit, and approved", calls: []string{"Plans.ResumePlan"}, tasks: 3, state: archive.PlanOpen, ends: thaw.Planned, prepare: func(t *testing.T, p *planning, e *events.UserUpgraded) {
			p.Limits.Day = 1
			p.hold(t)
			e.ApprovedMicroUSD = int64(p.price())
		}},
		{name: "over a limit, and less is approved", calls: []string{"Plans.HoldPlan"}, state: archive.PlanHeld, ends: thaw.Held, prepare: func(_ *testing.T, p *planning, e *events.UserUpgraded) {
			p.Limits.Day = 1
			e.ApprovedMicroUSD = int64(p.price()) - 1
		}},
		{name: "held, and the limit is gone", calls: []string{"Plans.ResumePlan"}, tasks: 3, state: archive.PlanOpen, ends: thaw.Planned, prepare: func(t *testing.T, p *planning, _ *events.UserUpgraded) {
			p.hold(t)
		}},
		{name: "held, and another day has room", calls: []string{"Budgets.Spent", "Plans.ResumePlan"}, tasks: 3, state: archive.PlanOpen, ends: thaw.Planned, prepare: func(t *testing.T, p *planning, _ *events.UserUpgraded) {
			p.Limits.User = p.price()
			p.hold(t)
		}},
		{name: "over a limit, and nothing is left", calls: []string{"Jobs.ArchivedPage"}, state: archive.PlanOpen, ends: thaw.NothingArchived, prepare: func(_ *testing.T, p *planning, _ *events.UserUpgraded) {
			p.Limits.Day = 1
			for i := range 3 {
				p.RemoveAttribute(testJob(i), "archive_id")
			}
		}},
		{name: "the message opens the plan", calls: []string{"Plans.OpenPlan"}, tasks: 3, state: archive.PlanOpen, ends: thaw.Planned, prepare: func(t *testing.T, p *planning, e *events.UserUpgraded) {
			if _, err := p.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, p.now); err != nil {
				t.Fatal(err)
			}
			e.Via, e.UpgradedAt = events.ViaOperator, p.now.Add(time.Second)
		}},
	} {
		run := func(t *testing.T, l *life) (*planning, error) {
			p := newPlanning(t, l)
			e := upgrade
			if c.prepare != nil {
				c.prepare(t, p, &e)
			}
			return p, p.Plan(t.Context(), e, nil)
		}
		t.Run(c.name, func(t *testing.T) {
			l := &life{At: -1}
			p, err := run(t, l)
			if err != nil {
				t.Fatal(err)
			}
			if plan := p.plan(t); p.tasks() != c.tasks || plan.State != c.state || !slices.Equal(p.ends, []thaw.Outcome{c.ends}) {
				t.Errorf("%d tasks, the plan is %s, and ends with %v; want %d, %s, %s", p.tasks(), plan.State, p.ends, c.tasks, c.state, c.ends)
			}
			calls := l.Calls()
			for _, want := range c.calls {
				if !slices.Contains(calls, want) {
					t.Errorf("%s was not called: %v", want, calls)
				}
			}
			for i, call := range calls {
				p, err := run(t, &life{At: i, How: testenv.ErrorBefore})
				if strings.HasPrefix(call, "KV.") { // an interrupted plan begins anew
					if err != nil || len(p.lines.With("the plan's progress")) != 1 {
						t.Errorf("without call %d, %s: %v; the log says %s", i+1, call, err, p.lines.String())
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), call+": injected") || len(p.ends) != 0 {
					t.Errorf("call %d, %s, fails, and the plan ends with %v and %v", i+1, call, err, p.ends)
				}
			}
		})
	}
}

func TestAPlanThatChangedMeanwhileComesAgain(t *testing.T) {
	conflict := fault.New(fault.Conflict, errors.New("another plan"))
	for name, prepare := range map[string]func(*testing.T, *planning, *events.UserUpgraded){
		"when it is held":    func(_ *testing.T, p *planning, _ *events.UserUpgraded) { p.Limits.Day = 1 },
		"when it is resumed": func(t *testing.T, p *planning, _ *events.UserUpgraded) { p.hold(t) },
		"when it is opened": func(t *testing.T, p *planning, e *events.UserUpgraded) {
			if _, err := p.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, p.now); err != nil {
				t.Fatal(err)
			}
			e.Via, e.UpgradedAt = events.ViaOperator, p.now.Add(time.Second)
		},
	} {
		p, e := newPlanning(t, &life{At: -1}), upgrade
		prepare(t, p, &e)
		p.Plans = onePlan{err: conflict}
		if err := p.Plan(t.Context(), e, nil); !fault.Is(err, fault.Wait) || !errors.Is(err, conflict) || p.tasks() != 0 || len(p.ends) != 0 {
			t.Errorf("%s: got %v, %d tasks, ends %v; want a wait", name, err, p.tasks(), p.ends)
		}
	}
}

// onePlan answers each change of a plan with an error.
type onePlan struct{ err error }

func (p onePlan) OpenPlan(context.Context, archive.Account, archive.Plan) error { return p.err }
func (p onePlan) HoldPlan(context.Context, events.UserID, string, string, time.Time) error {
	return p.err
}
func (p onePlan) ResumePlan(context.Context, events.UserID, string, archive.MicroUSD, time.Time) error {
	return p.err
}

func TestAPlanIsChangedOnlyIfItHasTo(t *testing.T) {
	p := newPlanning(t, &life{At: -1})
	p.Plans = onePlan{err: errors.New("nobody calls this")}
	for _, limits := range []thaw.Limits{{}, {Day: archive.Dollar}} {
		p.Limits = limits
		if err := p.Plan(t.Context(), upgrade, nil); err != nil {
			t.Errorf("with limits %+v: %v", limits, err)
		}
	}
	// An approved amount is written, although the plan is open.
	e := upgrade
	e.ApprovedMicroUSD = 7
	if err := p.Plan(t.Context(), e, nil); err == nil {
		t.Error("an approved amount is not written")
	}
}

func TestALimitOfAPlanWithoutATableOfWhatWasSpentIsAMistakeOfTheSetUp(t *testing.T) {
	p := newPlanning(t, &life{At: -1})
	p.Budgets, p.Limits.Day = nil, archive.Dollar
	if err := p.Plan(t.Context(), upgrade, nil); !fault.Is(err, fault.Denied) || p.tasks() != 0 {
		t.Errorf("got %v and %d tasks, want it denied", err, p.tasks())
	}
}

// fixedTasks says how many tasks the user has in the stream.
type fixedTasks struct {
	*testenv.Emitted
	n int
}

func (f fixedTasks) Outstanding(context.Context, events.UserID, int) (int, error) { return f.n, nil }

// TestAPlanWaitsTheLongerTheSlowerItsTasksAreDone looks at a plan with a window of ten tasks.
func TestAPlanWaitsTheLongerTheSlowerItsTasksAreDone(t *testing.T) {
	for _, c := range []struct {
		name        string
		outstanding int
		// last is how far the plan was at the last look, after seconds ago.
		last *thaw.Progress
		ago  time.Duration
		wait time.Duration // 0: the plan goes on
		rate float64
	}{
		{name: "half of the window is free", outstanding: 5},
		{name: "one too many", outstanding: 6, wait: 250 * time.Millisecond},
		{name: "nothing was done since the last look", outstanding: 10, last: &thaw.Progress{Planned: 12, Done: 2}, ago: 2 * time.Second, wait: 30 * time.Second},
		{name: "more is to do than at the last look", outstanding: 10, last: &thaw.Progress{Planned: 12, Done: 3}, ago: 2 * time.Second, wait: 30 * time.Second, rate: -0.5},
		{name: "four a second", outstanding: 9, last: &thaw.Progress{Planned: 12, Done: 1}, ago: 500 * time.Millisecond, wait: time.Second, rate: 4},
		{name: "very fast", outstanding: 6, last: &thaw.Progress{Planned: 200, Done: 94}, ago: time.Second, wait: 250 * time.Millisecond, rate: 100},
		{name: "slowly", outstanding: 10, last: &thaw.Progress{Planned: 12, Done: 1}, ago: time.Second, wait: 2 * time.Second, rate: 1},
		{name: "at the same moment", outstanding: 10, last: &thaw.Progress{Planned: 12, Done: 1}, wait: 250 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlanning(t, &life{At: -1})
			p.Window, p.Tasks = 10, fixedTasks{Emitted: &p.out, n: c.outstanding}
			if c.last != nil {
				was := *c.last
				was.ID, was.User, was.Plan, was.Outcome, was.BegunAt = upgrade.ID, upgrade.UserID, p.plan(t).ID, thaw.Planning, p.now
				was.LookedAt, was.UpdatedAt = p.now.Add(-c.ago), p.now.Add(-c.ago)
				p.save(t, was)
			}
			err := p.Plan(t.Context(), upgrade, nil)
			if c.wait == 0 {
				if err != nil || p.tasks() != 3 {
					t.Errorf("got %v and %d tasks, want 3", err, p.tasks())
				}
				return
			}
			if !fault.Is(err, fault.Wait) || fault.DelayOf(err) != c.wait || p.tasks() != 0 {
				t.Errorf("got %v after %s, and %d tasks; want a wait of %s", err, fault.DelayOf(err), p.tasks(), c.wait)
			}
			if now := p.progress(t); now.Rate != c.rate || now.Outstanding != c.outstanding || !now.LookedAt.Equal(p.now) || now.Outcome != thaw.Planning {
				t.Errorf("progress: %+v, want %v tasks a second", now, c.rate)
			}
		})
	}
}

func TestAFullStreamMakesAPlanWaitAtItsCursor(t *testing.T) {
	p := newPlanning(t, &life{At: -1})
	full := fault.New(fault.Throttled, errors.New("no room"))
	p.Tasks = noRoom{&p.out, full}
	if err := p.Plan(t.Context(), upgrade, nil); !fault.Is(err, fault.Wait) || fault.DelayOf(err) != 15*time.Second || !errors.Is(err, full) {
		t.Errorf("got %v after %s, want a wait of 15 s", err, fault.DelayOf(err))
	}
}

// noRoom answers each publication with an error.
type noRoom struct {
	*testenv.Emitted
	err error
}

func (p noRoom) Publish(context.Context, []events.Event) error { return p.err }

// save stores progress, and progress reads it.
func (p *planning) save(t *testing.T, was thaw.Progress) {
	t.Helper()
	data, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.Put(t.Context(), "", data); err != nil {
		t.Fatal(err)
	}
}

func (p *planning) progress(t *testing.T) thaw.Progress {
	t.Helper()
	now, err := thaw.DecodeProgress(p.store.value)
	if err != nil {
		t.Fatal(err)
	}
	return now
}
