package thaw_test

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

type life = testenv.Life

// These are the ports in a life. They embed nothing. So a port with a new method does not
// compile here until that method can break.
type (
	accountsIn struct {
		*life
		to thaw.Accounts
	}
	catalogIn struct {
		*life
		to thaw.Catalog
	}
	vaultIn struct {
		*life
		to thaw.Vault
	}
	completionsIn struct {
		*life
		to thaw.Completions
	}
	jobsIn struct {
		*life
		to thaw.ArchivedJobs
	}
	tasksIn struct {
		*life
		to thaw.Tasks
	}
	plansIn struct {
		*life
		to thaw.Plans
	}
	budgetsIn struct {
		*life
		to thaw.Budgets
	}
	switchesIn struct {
		*life
		to thaw.Switches
	}
	kvIn struct {
		*life
		name string
		to   kv.Store
	}
)

func (p accountsIn) Account(ctx context.Context, id events.UserID) (a archive.Account, err error) {
	err = p.Call("Accounts.Account", func() error { a, err = p.to.Account(ctx, id); return err })
	return a, err
}

func (p catalogIn) Job(ctx context.Context, id events.JobID) (j archive.Job, err error) {
	err = p.Call("Catalog.Job", func() error { j, err = p.to.Job(ctx, id); return err })
	return j, err
}

func (p catalogIn) SaveIntent(ctx context.Context, j archive.Job, i archive.Intent) error {
	return p.Call("Catalog.SaveIntent", func() error { return p.to.SaveIntent(ctx, j, i) })
}

func (p catalogIn) DropIntent(ctx context.Context, j archive.Job, i archive.Intent) error {
	return p.Call("Catalog.DropIntent", func() error { return p.to.DropIntent(ctx, j, i) })
}

func (p catalogIn) ClearLeftovers(ctx context.Context, j archive.Job) error {
	return p.Call("Catalog.ClearLeftovers", func() error { return p.to.ClearLeftovers(ctx, j) })
}

func (p catalogIn) SaveRetrieval(ctx context.Context, j archive.Job, i archive.Intent, r archive.Retrieval) error {
	return p.Call("Catalog.SaveRetrieval", func() error { return p.to.SaveRetrieval(ctx, j, i, r) })
}

func (p plansIn) OpenPlan(ctx context.Context, a archive.Account, plan archive.Plan) error {
	return p.Call("Plans.OpenPlan", func() error { return p.to.OpenPlan(ctx, a, plan) })
}

func (p plansIn) HoldPlan(ctx context.Context, u events.UserID, plan, why string, until time.Time) error {
	return p.Call("Plans.HoldPlan", func() error { return p.to.HoldPlan(ctx, u, plan, why, until) })
}

func (p plansIn) ResumePlan(ctx context.Context, u events.UserID, plan string, approved archive.MicroUSD, due time.Time) error {
	return p.Call("Plans.ResumePlan", func() error { return p.to.ResumePlan(ctx, u, plan, approved, due) })
}

func (p budgetsIn) Spent(ctx context.Context, day string, u events.UserID) (all, ofUser archive.MicroUSD, err error) {
	err = p.Call("Budgets.Spent", func() error { all, ofUser, err = p.to.Spent(ctx, day, u); return err })
	return all, ofUser, err
}

func (p budgetsIn) Spend(ctx context.Context, s archive.Spending) (refused string, err error) {
	err = p.Call("Budgets.Spend", func() error { refused, err = p.to.Spend(ctx, s); return err })
	return refused, err
}

func (p budgetsIn) Return(ctx context.Context, s archive.Spending) error {
	return p.Call("Budgets.Return", func() error { return p.to.Return(ctx, s) })
}

func (p switchesIn) Switches(ctx context.Context) (s archive.Switches, err error) {
	err = p.Call("Switches.Switches", func() error { s, err = p.to.Switches(ctx); return err })
	return s, err
}

func (p vaultIn) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (got archive.Retrieval, err error) {
	err = p.Call("Vault.Retrieve", func() error { got, err = p.to.Retrieve(ctx, job, tier); return err })
	return got, err
}

func (p vaultIn) Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	return func(yield func(archive.Retrieval, error) bool) {
		if err := p.Call("Vault.Retrievals", func() error { return nil }); err != nil {
			yield(archive.Retrieval{}, err)
			return
		}
		p.to.Retrievals(ctx, jobs, turn)(yield)
	}
}

func (p vaultIn) Describe(ctx context.Context, job archive.Job) (r archive.Retrieval, err error) {
	err = p.Call("Vault.Describe", func() error { r, err = p.to.Describe(ctx, job); return err })
	return r, err
}

func (p completionsIn) Publish(ctx context.Context, e events.Event) error {
	return p.Call("Completions.Publish", func() error { return p.to.Publish(ctx, e) })
}

func (p jobsIn) ArchivedPage(ctx context.Context, u events.UserID, cursor string) (jobs []archive.Job, next string, err error) {
	err = p.Call("Jobs.ArchivedPage", func() error { jobs, next, err = p.to.ArchivedPage(ctx, u, cursor); return err })
	return jobs, next, err
}

func (p tasksIn) Outstanding(ctx context.Context, u events.UserID, most int) (n int, err error) {
	err = p.Call("Tasks.Outstanding", func() error { n, err = p.to.Outstanding(ctx, u, most); return err })
	return n, err
}

func (p tasksIn) Publish(ctx context.Context, es []events.Event) error {
	return p.Call("Tasks.Publish", func() error { return p.to.Publish(ctx, es) })
}

func (p kvIn) Get(ctx context.Context, key string) (value []byte, rev uint64, err error) {
	err = p.Call(p.name+".Get", func() error { value, rev, err = p.to.Get(ctx, key); return err })
	return value, rev, err
}

func (p kvIn) Put(ctx context.Context, key string, value []byte) error {
	return p.Call(p.name+".Put", func() error { return p.to.Put(ctx, key, value) })
}

func (p kvIn) Swap(ctx context.Context, key string, value []byte, rev uint64) error {
	return p.Call(p.name+".Swap", func() error { return p.to.Swap(ctx, key, value, rev) })
}

// TestEveryPortCanBreak fails if a service has a port that no crash test breaks.
func TestEveryPortCanBreak(t *testing.T) {
	wrapped := []reflect.Type{
		reflect.TypeFor[accountsIn](), reflect.TypeFor[catalogIn](), reflect.TypeFor[vaultIn](),
		reflect.TypeFor[jobsIn](), reflect.TypeFor[tasksIn](), reflect.TypeFor[kvIn](),
		reflect.TypeFor[completionsIn](), reflect.TypeFor[plansIn](), reflect.TypeFor[budgetsIn](), reflect.TypeFor[switchesIn](),
	}
	for _, service := range []reflect.Type{reflect.TypeFor[thaw.Requester](), reflect.TypeFor[thaw.Planner](), reflect.TypeFor[thaw.Pace]()} {
		for i := range service.NumField() {
			f := service.Field(i)
			if f.IsExported() && f.Type.Kind() == reflect.Interface &&
				!slices.ContainsFunc(wrapped, func(w reflect.Type) bool { return w.Implements(f.Type) }) {
				t.Errorf("%s.%s is a port that no crash test breaks", service, f.Name)
			}
		}
	}
}

// mustBreak fails if a method of the service's ports was never broken. never has the methods
// that the service does not call.
func mustBreak(t *testing.T, broken map[string]int, service any, never ...string) {
	t.Helper()
	v := reflect.TypeOf(service)
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.IsExported() || f.Type.Kind() != reflect.Interface {
			continue
		}
		for m := range f.Type.NumMethod() {
			name := f.Name + "." + f.Type.Method(m).Name
			if (broken[name] == 0) != slices.Contains(never, name) {
				t.Errorf("%s was broken %d times, and %v are never called", name, broken[name], never)
			}
		}
	}
}

func TestOneRetrievalPerArchiveWhateverBreaks(t *testing.T) {
	w := newCrashFixture(t)
	broken := map[string]int{}
	cases := 0
	for _, situation := range []struct {
		name string
		set  func(*testing.T, events.JobID)
		// again says whether the redelivery is broken in every way too.
		again  bool
		budget thaw.Limits
		class  archive.Class
	}{
		{"capacity", func(*testing.T, events.JobID) {}, true, thaw.Limits{}, archive.Vault},
		{"GLACIER", func(*testing.T, events.JobID) {}, true, thaw.Limits{}, archive.Glacier},
		{"GLACIER, no expedited capacity", func(*testing.T, events.JobID) { w.S3.SetExpeditedCapacity(0, time.Minute) }, false, thaw.Limits{}, archive.Glacier},
		{"GLACIER, throttled once", func(t *testing.T, _ events.JobID) { w.throttleOnce(t) }, false, thaw.Limits{}, archive.Glacier},
		{"DEEP_ARCHIVE, an old intent", func(t *testing.T, id events.JobID) { w.leaveIntent(t, id, time.Hour) }, false, thaw.Limits{}, archive.DeepArchive},
		{"GLACIER_IR", func(*testing.T, events.JobID) {}, false, thaw.Limits{}, archive.Instant},
		{"no expedited capacity", func(*testing.T, events.JobID) { w.Glacier.SetExpeditedCapacity(0, time.Minute) }, false, thaw.Limits{}, archive.Vault},
		{"throttled once", func(t *testing.T, _ events.JobID) { w.throttleOnce(t) }, false, thaw.Limits{}, archive.Vault},
		{"a young intent", func(t *testing.T, id events.JobID) { w.leaveIntent(t, id, 0) }, false, thaw.Limits{}, archive.Vault},
		{"an old intent", func(t *testing.T, id events.JobID) { w.leaveIntent(t, id, time.Hour) }, false, thaw.Limits{}, archive.Vault},
		{"another program brought it back", func(t *testing.T, id events.JobID) {
			w.leaveIntent(t, id, 0)
			w.BroughtBack(id, []byte("by another"))
		}, false, thaw.Limits{}, archive.Vault},
		{"a budget, and no expedited capacity", func(*testing.T, events.JobID) { w.Glacier.SetExpeditedCapacity(0, time.Minute) }, false, thaw.Limits{Day: 100 * archive.Dollar}, archive.Vault},
		{"a budget, and a catalog without sizes", func(_ *testing.T, id events.JobID) {
			w.SetAttribute(id, "archive_size", &types.AttributeValueMemberNULL{Value: true})
		}, false, thaw.Limits{Day: 100 * archive.Dollar}, archive.Vault},
		{"a budget that is used up", func(t *testing.T, _ events.JobID) { w.freshPlan(t, "u") }, false, thaw.Limits{User: 1}, archive.Vault},
	} {
		t.Run(situation.name, func(t *testing.T) {
			// one runs a task to its end. The first delivery breaks at the call number
			// at1, the second at the call number at2. one returns the calls that broke.
			one := func(at1 int, how1 testenv.Breakage, at2 int, how2 testenv.Breakage) (string, string) {
				cases++
				if cases%40 == 0 {
					w.renewAWS(t)
				}
				w.class = situation.class
				job := w.archive(t)
				w.Glacier.SetExpeditedCapacity(-1, 0)
				w.S3.SetExpeditedCapacity(-1, 0)
				situation.set(t, job.ID)
				first, second := &life{At: at1, How: how1}, &life{At: at2, How: how2}
				w.budget = situation.budget
				w.deliver(t, first, job)
				w.deliver(t, second, job)
				if situation.budget.User == 1 {
					if n := w.Glacier.Retrievals()[string(job.ArchiveID)]; n != 0 {
						t.Errorf("%d retrievals, and the budget is used up", n)
					}
					w.deliver(t, &life{At: -1}, job)
					w.approve(t, events.UserUpgraded{UserID: "u"}, 100*archive.Dollar)
					w.now = w.now.Add(2 * time.Second) // the cached account is too old then
				}
				for n := 0; !w.deliver(t, &life{At: -1}, job); n++ {
					if n == 20 {
						t.Fatal("not done after 20 deliveries")
					}
				}
				if !w.deliver(t, &life{At: -1}, job) { // a redelivery of a finished task
					t.Error("a redelivery of a finished task was not acked")
				}
				name := fmt.Sprintf("first %s %s, then %s %s", how1, first.Broke(), how2, second.Broke())
				if now := w.Job(job.ID); !now.Back() {
					w.done = append(w.done, doneCase{name, job.ID})
				} else if now.Intent != nil || !now.Due.IsZero() {
					t.Errorf("%s: left: intent %v, due %s", name, now.Intent, now.Due)
				}
				broken[first.Broke()]++
				broken[second.Broke()]++
				return first.Broke(), second.Broke()
			}
			for at := 0; ; at++ {
				came := ""
				for _, how := range testenv.Breakages {
					came, _ = one(at, how, -1, 0)
					if came == "" {
						break
					}
					// A death before a call leaves the same state as a death after the previous
					// call.
					for again := 0; situation.again && (how == testenv.DieAfter || how == testenv.ErrorAfter); again++ {
						came2 := ""
						for _, how2 := range []testenv.Breakage{testenv.DieAfter, testenv.ErrorAfter} {
							if _, came2 = one(at, how, again, how2); came2 == "" {
								break
							}
						}
						if came2 == "" {
							break
						}
					}
				}
				if came == "" {
					break // the first delivery has fewer calls
				}
			}
			w.checkAll(t)
		})
	}
	mustBreak(t, broken, thaw.Requester{}, "Plans.OpenPlan", "Plans.ResumePlan", "Budgets.Spent")
	mustBreak(t, broken, thaw.Pace{}, "KV.Put")
	t.Logf("%d cases; broken: %v", cases, broken)
	if cases < 300 {
		t.Errorf("only %d cases", cases)
	}
}

func TestAPlanHasEveryTaskOnceWhateverBreaks(t *testing.T) {
	w := newCrashFixture(t)
	broken := map[string]int{}
	cases := 0
	for _, situation := range []struct {
		name   string
		budget thaw.Limits
		held   bool
	}{
		{"no budget", thaw.Limits{}, false},
		{"within budget", thaw.Limits{User: archive.Dollar}, false},
		{"over budget, then approved", thaw.Limits{User: 1}, true},
	} {
		t.Run(situation.name, func(t *testing.T) {
			const archives = 3 // on two pages
			for at := 0; ; at++ {
				came := ""
				for _, how := range testenv.Breakages {
					cases++
					e, jobs := w.user(t, archives)
					first := &life{At: at, How: how}
					w.plan(t, first, e, situation.budget)
					for n := 0; !w.plan(t, &life{At: -1}, e, situation.budget); n++ {
						if n == 20 {
							t.Fatal("not done after 20 deliveries")
						}
					}
					if situation.held {
						if n := len(w.tasksOf(t, jobs)); n != 0 {
							t.Fatalf("%d tasks of a plan that is held", n)
						}
						e.ID, e.Via, e.ApprovedMicroUSD = e.ID+"-approved", "operator", int64(archive.Dollar)
						broke := &life{At: at, How: how}
						w.plan(t, broke, e, situation.budget)
						broken[broke.Broke()]++
						for n := 0; !w.plan(t, &life{At: -1}, e, situation.budget); n++ {
							if n == 20 {
								t.Fatal("not done after 20 deliveries")
							}
						}
						if first.Broke() == "" {
							came = broke.Broke()
						}
					}
					broken[first.Broke()]++
					name := fmt.Sprintf("%s %s", how, first.Broke())
					tasks := w.tasksOf(t, jobs)
					for _, job := range jobs {
						if tasks[job] != 1 {
							t.Errorf("%s: %d tasks of job %s, want 1: %v", name, tasks[job], job, tasks)
						}
					}
					if held := w.isHeld(t, e.UserID); held {
						t.Errorf("%s: still held", name)
					}
					if first.Broke() != "" {
						came = first.Broke()
					}
				}
				if came == "" {
					break
				}
			}
		})
	}
	mustBreak(t, broken, thaw.Planner{}, "KV.Swap", "Budgets.Spend", "Budgets.Return", "Plans.OpenPlan")
	t.Logf("%d cases; broken: %v", cases, broken)
	if cases < 100 {
		t.Errorf("only %d cases", cases)
	}
}
