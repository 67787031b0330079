package thaw_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// oneAccount answers each read with the account, and counts the reads. From the changed-th read on
// it is changed.
type oneAccount struct {
	is      archive.Account
	reads   int
	changed int // 0 for never
	change  func(*archive.Account)
}

func (o *oneAccount) Account(context.Context, events.UserID) (archive.Account, error) {
	if o.reads++; o.reads == o.changed {
		o.change(&o.is)
	}
	return o.is, nil
}

// opens takes each plan that is opened.
type opens struct {
	onePlan
	plans []archive.Plan
}

func (o *opens) OpenPlan(_ context.Context, _ archive.Account, p archive.Plan) error {
	if o.err == nil {
		o.plans = append(o.plans, p)
	}
	return o.err
}

func TestAMessageOpensAPlanFromTheMomentOfTheUpgrade(t *testing.T) {
	changed, announced := upgraded.Add(-time.Hour), upgraded.Add(time.Hour)
	for _, c := range []struct {
		name    string
		account archive.Account
		via     events.Via
		since   time.Time
		why     archive.PlanReason
	}{
		{"a Premium user", archive.Account{Role: archive.Premium, RoleChangedAt: changed}, "", changed, archive.Announcement},
		{"a Premium user since nobody knows when", archive.Account{Role: archive.Premium}, "", announced, archive.Announcement},
		{"a Free user", archive.Account{Role: archive.Free, RoleChangedAt: changed}, events.ViaOperator, announced, archive.Operator},
		{"a Premium user, by an operator", archive.Account{Role: archive.Premium, RoleChangedAt: changed}, events.ViaOperator, changed, archive.Operator},
	} {
		p := newPlanning(t, &life{At: -1})
		p.Accounts = &oneAccount{is: c.account}
		opened := &opens{}
		p.Plans = opened
		if err := p.Plan(t.Context(), events.UserUpgraded{ID: "m", UserID: "u", UpgradedAt: announced, Via: c.via}, nil); err != nil {
			t.Fatal(err)
		}
		want := archive.Plan{ID: "message-m", UpgradedAt: c.since.UTC(), Why: c.why, State: archive.PlanOpen, OpenedAt: p.now.UTC(), Due: p.now.UTC().Add(5 * time.Minute)}
		if len(opened.plans) != 1 || opened.plans[0] != want {
			t.Errorf("%s: opened %+v, want %+v", c.name, opened.plans, want)
		}
	}
}

func TestAMessageOfAPlanThatIsOverPlansNothing(t *testing.T) {
	p := newPlanning(t, &life{At: -1})
	p.Accounts, p.Plans = &oneAccount{is: archive.Account{Role: archive.Premium}}, onePlan{err: fault.Errorf(fault.Invalid, "it is closed")}
	if err := p.Plan(t.Context(), upgrade, nil); err != nil || p.tasks() != 0 || !slices.Equal(p.ends, []thaw.Outcome{thaw.NotEntitled}) {
		t.Errorf("got %v, %d tasks, ends %v", err, p.tasks(), p.ends)
	}
}

func TestAnAccountThatCannotBeReadIsADeadLetter(t *testing.T) {
	p := newPlanning(t, &life{At: -1})
	p.Accounts = &oneAccount{is: archive.Account{ID: "u", Role: archive.Premium, Unreadable: "role has two values"}}
	if err := p.Plan(t.Context(), upgrade, nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "role has two values") || p.tasks() != 0 {
		t.Errorf("got %v and %d tasks", err, p.tasks())
	}
}

// TestAPlanIsReadAgainBeforeEachFurtherPage has three archives on pages of two. The plan changes
// after the first page.
func TestAPlanIsReadAgainBeforeEachFurtherPage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*archive.Account)
		tasks  int
	}{
		{"it stands", func(*archive.Account) {}, 3},
		{"it is gone", func(a *archive.Account) { a.Plan = nil }, 2},
		{"it is another", func(a *archive.Account) { a.Plan = &archive.Plan{ID: "q", State: archive.PlanOpen} }, 2},
		{"it is held", func(a *archive.Account) { a.Plan = &archive.Plan{ID: "p", State: archive.PlanHeld} }, 2},
	} {
		l := &life{At: -1}
		p := newPlanning(t, l)
		account := &oneAccount{is: archive.Account{ID: "u", Role: archive.Premium, Plan: &archive.Plan{ID: "p", State: archive.PlanOpen}}, changed: 2, change: c.change}
		p.Accounts = accountsIn{l, account}
		if err := p.Plan(t.Context(), upgrade, nil); err != nil || p.tasks() != c.tasks {
			t.Errorf("%s: %v, %d tasks, want %d", c.name, err, p.tasks(), c.tasks)
		}
		calls := slices.DeleteFunc(l.Calls(), func(call string) bool { return call != "Accounts.Account" && call != "Jobs.ArchivedPage" })
		want := []string{"Accounts.Account", "Jobs.ArchivedPage", "Accounts.Account"}
		if c.tasks == 3 {
			want = append(want, "Jobs.ArchivedPage")
		}
		if !slices.Equal(calls, want) {
			t.Errorf("%s: %v, want %v", c.name, calls, want)
		}
	}
}

// asked notes up to how many tasks of a user are counted.
type asked struct {
	fixedTasks
	limits []int
}

func (a *asked) Outstanding(_ context.Context, _ events.UserID, limit int) (int, error) {
	a.limits = append(a.limits, limit)
	return 0, nil
}

func TestAUserHasTwoThousandTasksInTheStreamUnlessTheWindowIsSet(t *testing.T) {
	for window, want := range map[int]int{-1: 2000, 0: 2000, 1: 1, 7: 7} {
		p := newPlanning(t, &life{At: -1})
		tasks := &asked{fixedTasks: fixedTasks{Emitted: &p.out}}
		p.Window, p.Tasks = window, tasks
		if err := p.Plan(t.Context(), upgrade, nil); err != nil || !slices.Equal(tasks.limits, []int{want, want}) {
			t.Errorf("a window of %d: %v, counted up to %v, want %d for each page", window, err, tasks.limits, want)
		}
	}
}

func TestAPlanGoesOnOnlyFromItsOwnProgressOfADay(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*thaw.Progress)
		age    time.Duration
		goesOn bool
	}{
		{"its own", nil, time.Minute, true},
		{"of this moment", nil, 0, true},
		{"from a clock that is ahead", nil, -1, false},
		{"nearly a day old", nil, 24*time.Hour - 1, true},
		{"a day old", nil, 24 * time.Hour, false},
		{"of another message", func(p *thaw.Progress) { p.ID = "another" }, 0, false},
		{"of another user", func(p *thaw.Progress) { p.User = "another" }, 0, false},
		{"of another plan", func(p *thaw.Progress) { p.Plan = "another" }, 0, false},
		{"that ended", func(p *thaw.Progress) { p.Outcome = thaw.Planned }, 0, false},
	} {
		p := newPlanning(t, &life{At: -1})
		was := thaw.Progress{ID: upgrade.ID, User: upgrade.UserID, Plan: p.plan(t).ID, Outcome: thaw.Planning, Planned: 7, UpdatedAt: p.now.Add(-c.age)}
		if c.change != nil {
			c.change(&was)
		}
		p.save(t, was)
		if err := p.Plan(t.Context(), upgrade, nil); err != nil {
			t.Fatal(err)
		}
		if goesOn := p.progress(t).Planned == 7+3; goesOn != c.goesOn {
			t.Errorf("progress %s: %+v, want the plan to go on: %t", c.name, p.progress(t), c.goesOn)
		}
	}
}

func TestAPreviewSaysWhetherThePlanWouldBeHeld(t *testing.T) {
	lost := errors.New("no answer")
	for _, c := range []struct {
		name   string
		change func(*planning)
		held   bool
		err    bool
	}{
		{name: "without a limit", change: func(p *planning) { p.Budgets = nil }},
		{name: "within the limit", change: func(p *planning) { p.Limits.Day = p.price() }},
		{name: "over the limit", change: func(p *planning) { p.Limits.Day = 1 }, held: true},
		{name: "the archives cannot be read", err: true, change: func(p *planning) {
			p.Jobs = jobsFunc(func(context.Context, events.UserID, string) ([]archive.Job, string, error) { return nil, "", lost })
		}},
		{name: "the budgets cannot be read", err: true, change: func(p *planning) {
			p.Limits.Day, p.Budgets = archive.Dollar, budgetsIn{&life{At: 0, How: testenv.ErrorBefore}, p.AWS.Catalog}
		}},
	} {
		p := newPlanning(t, &life{At: -1})
		c.change(p)
		got, err := p.Preview(t.Context(), "u")
		if (err != nil) != c.err || (got.OverBudget != "") != c.held || !c.err && (got.Archives != 3 || got.AtMost == 0) {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
}

func TestWhatIsOnItsWayIsNotEstimated(t *testing.T) {
	jobs := jobsFunc(func(context.Context, events.UserID, string) ([]archive.Job, string, error) {
		return []archive.Job{{ID: "a", ArchiveID: "a", ArchiveSize: 5}, {ID: "b", ArchiveID: "b", ArchiveSize: 7, RetrievalID: "r"}}, "", nil
	})
	if e, thawing, err := thaw.Count(t.Context(), jobs, "u", 1); err != nil || thawing != 1 || e.Archives != 1 || e.Bytes != 5 {
		t.Errorf("got %+v and %d on their way, %v; want the one of 5 bytes, and 1", e, thawing, err)
	}
}
