package thaw_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// within puts the requester's ports into a life.
func (b *fixture) within(l *life) {
	b.Requester.Accounts, b.Requester.Catalog = accountsIn{l, b.AWS.Catalog}, catalogIn{l, b.AWS.Catalog}
	b.Plans, b.Budgets, b.Switches = plansIn{l, b.AWS.Catalog}, budgetsIn{l, b.AWS.Catalog}, switchesIn{l, b.AWS.Catalog}
	b.Vault = vaultIn{l, cold.Store{Vault: glacier.New(b.Config, testenv.VaultID, topic), Objects: s3cold.New(b.Config, testenv.ColdID, 1)}}
	b.Completions = completionsIn{l, &completions{}}
}

// overtake gives the job the retrieval of another worker that died before it saved it.
func (b *fixture) overtake(t *testing.T, job archive.Job) {
	t.Helper()
	if _, err := newVault(b.AWS, testenv.VaultID).Retrieve(t.Context(), job, archive.Standard); err != nil {
		t.Fatal(err)
	}
	b.intent(t, job)
}

// intent leaves the intent of a worker that died.
func (b *fixture) intent(t *testing.T, job archive.Job) {
	t.Helper()
	if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "gone", At: b.now}); err != nil {
		t.Fatal(err)
	}
}

// TestTheErrorOfEachCallIsTheErrorOfItsTask breaks each call of each kind of task, and wants the
// task to end with that error. An error that is lost would be a task that is acked and not done.
func TestTheErrorOfEachCallIsTheErrorOfItsTask(t *testing.T) {
	// Without these, the task can be done: the budgets keep the amount, the next worker waits for
	// the intent, and the assumed size counts.
	spared := []string{"Catalog.DropIntent", "Budgets.Return", "Vault.Describe"}
	for _, c := range []struct {
		name  string
		class archive.Class
		// prepare changes the world before the task comes, or the task.
		prepare func(*testing.T, *fixture, archive.Job, *events.ThawRequested)
		// again is true if the worker saw the task a minute ago, when the intent was young.
		again bool
		calls []string // of these at least
	}{
		{name: "an archive is requested", calls: []string{"Catalog.Job", "Switches.Switches", "Accounts.Account", "Budgets.Spend", "Catalog.SaveIntent", "Vault.Retrieve", "Catalog.SaveRetrieval", "emit"}},
		{name: "an archive of unknown size", calls: []string{"Vault.Describe", "Budgets.Return"}, prepare: func(t *testing.T, b *fixture, _ archive.Job, _ *events.ThawRequested) {
			b.SetAttribute("j1", "archive_size", &types.AttributeValueMemberNULL{Value: true})
		}},
		{name: "a budget is used up", calls: []string{"Budgets.Spend", "Plans.HoldPlan"}, prepare: func(_ *testing.T, b *fixture, _ archive.Job, _ *events.ThawRequested) {
			b.Limits.Day = 1
		}},
		{name: "a retrieval is adopted", again: true, calls: []string{"Vault.Retrievals", "Catalog.SaveRetrieval", "emit"}, prepare: func(t *testing.T, b *fixture, job archive.Job, _ *events.ThawRequested) {
			b.overtake(t, job)
		}},
		{name: "an intent without a retrieval", again: true, calls: []string{"Vault.Retrievals", "Accounts.Account", "Catalog.SaveIntent", "Vault.Retrieve", "emit"}, prepare: func(t *testing.T, b *fixture, job archive.Job, _ *events.ThawRequested) {
			b.intent(t, job)
		}},
		{name: "an intent of a user who is Free now", again: true, calls: []string{"Vault.Retrievals", "Accounts.Account", "Catalog.DropIntent"}, prepare: func(t *testing.T, b *fixture, job archive.Job, _ *events.ThawRequested) {
			b.intent(t, job)
			if _, err := b.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, b.now); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "the file that the user wants first", calls: []string{"Accounts.Account", "emit", "Completions.Publish"}, prepare: func(t *testing.T, b *fixture, _ archive.Job, e *events.ThawRequested) {
			b.choose(t, "j1")
			e.First = true
		}},
		{name: "the file that the user wants first by now is on its way", calls: []string{"Accounts.Account", "Completions.Publish"}, prepare: func(t *testing.T, b *fixture, _ archive.Job, e *events.ThawRequested) {
			var out testenv.Emitted
			b.deliver(t, *e, &out) // and the account is known for a second
			b.choose(t, "j1")
			e.First = true
		}},
		{name: "it is on its way", calls: []string{"Catalog.Job", "emit"}, prepare: func(t *testing.T, b *fixture, job archive.Job, e *events.ThawRequested) {
			var out testenv.Emitted
			b.deliver(t, *e, &out)
		}},
		{name: "the file is back", calls: []string{"Catalog.Job", "emit"}, prepare: func(t *testing.T, b *fixture, _ archive.Job, e *events.ThawRequested) {
			var out testenv.Emitted
			b.deliver(t, *e, &out)
			if err := b.AWS.Catalog.ClearArchive(t.Context(), b.Job("j1")); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "another program brought the file back", calls: []string{"Catalog.ClearLeftovers", "emit"}, prepare: func(t *testing.T, b *fixture, job archive.Job, _ *events.ThawRequested) {
			b.intent(t, job)
			b.BroughtBack("j1", []byte("result"))
		}},
		{name: "a copy that can be read at once", class: archive.Instant, calls: []string{"Vault.Retrieve", "Completions.Publish"}},
		{name: "a copy in S3, and its retrieval is adopted", class: archive.Glacier, again: true, calls: []string{"Vault.Describe", "Catalog.SaveRetrieval", "emit"}, prepare: func(t *testing.T, b *fixture, job archive.Job, _ *events.ThawRequested) {
			if _, err := s3cold.New(b.Config, testenv.ColdID, 1).Retrieve(t.Context(), job, archive.Standard); err != nil {
				t.Fatal(err)
			}
			b.intent(t, job)
		}},
		{name: "a task is dropped while it waits for its turn", calls: []string{"Switches.Switches"}, prepare: func(t *testing.T, b *fixture, _ archive.Job, _ *events.ThawRequested) {
			b.Requester.Pace = b.whileItWaits(func() {
				if _, err := b.AWS.Catalog.SetRole(context.Background(), "u", archive.Free, b.now); err != nil {
					t.Error(err)
				}
			})
		}},
	} {
		// run delivers the task once. It returns the calls.
		run := func(t *testing.T, l *life) ([]string, error) {
			b := newFixture(t)
			b.Log = quiet
			b.Limits = thaw.Limits{Day: archive.Dollar}
			b.Account("u", archive.Premium)
			var job archive.Job
			if c.class != "" {
				job = b.ArchiveIn(c.class, "u", "j1", []byte("result"))
			} else {
				job = b.Archive("u", "j1", []byte("result"))
			}
			e := b.task(job)
			if c.prepare != nil {
				c.prepare(t, b, job, &e)
			}
			if c.again {
				b.within(&life{At: -1})
				var out testenv.Emitted
				if err := b.Request(t.Context(), e, out.Emit); !fault.Is(err, fault.Wait) {
					t.Fatalf("the first sight of the intent: %v", err)
				}
				b.now = b.now.Add(time.Minute)
			}
			b.within(l)
			err := b.Request(t.Context(), e, func(context.Context, events.Event) error { return l.Call("emit", func() error { return nil }) })
			return l.Calls(), err
		}
		t.Run(c.name, func(t *testing.T) {
			calls, err := run(t, &life{At: -1})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.calls {
				if !slices.Contains(calls, want) {
					t.Errorf("%s was not called: %v", want, calls)
				}
			}
			for i, call := range calls {
				_, err := run(t, &life{At: i, How: testenv.ErrorBefore})
				if slices.Contains(spared, call) && !(call == "Vault.Describe" && c.class != "") {
					if err != nil {
						t.Errorf("without %s: %v", call, err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), call+": injected") {
					t.Errorf("call %d, %s, fails, and the task ends with %v", i+1, call, err)
				}
			}
		})
	}
}

// whileItWaits returns a pace that calls do when a task waits for its turn.
func (b *fixture) whileItWaits(do func()) *thaw.Pace {
	done := false
	return &thaw.Pace{Now: func() time.Time {
		if !done {
			done = true
			b.now = b.now.Add(time.Second)
			do()
		}
		return b.now
	}}
}
