package thaw_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// deniedVault answers requests with an error, if it is set.
type deniedVault struct {
	thaw.Vault
	err   error
	calls int
}

func (v *deniedVault) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	v.calls++
	if v.err != nil {
		return archive.Retrieval{}, v.err
	}
	return v.Vault.Retrieve(ctx, job, tier)
}

func TestAPlanIsHeldIfAWSDeniesEveryRetrievalForAWhile(t *testing.T) {
	denied := fault.New(fault.Denied, errors.New("NoLongerSupportedException: no vaults for this account"))
	for _, c := range []struct {
		name string
		// meanwhile happens ten minutes after the first request was denied.
		meanwhile func(*testing.T, *fixture, *deniedVault)
		lasts     time.Duration
		err       error
		ordered   bool
		mixed     bool
		held      bool
	}{
		{name: "for a quarter of an hour", lasts: 15 * time.Minute, err: denied, held: true},
		{name: "for less", lasts: 15*time.Minute - time.Second, err: denied},
		{name: "but takes another worker's request", lasts: time.Hour, err: denied,
			meanwhile: func(t *testing.T, b *fixture, _ *deniedVault) { b.Pace.Took(t.Context(), archive.Standard) }},
		{name: "with an order of an operator, which has no plan", lasts: time.Hour, err: denied, ordered: true},
		{name: "in one of two kinds of storage", lasts: time.Hour, err: denied, mixed: true},
		{name: "but then it only throttles", lasts: time.Hour, err: fault.New(fault.Throttled, errors.New("slower"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			b.Account("u", archive.Premium)
			var tasks []events.ThawRequested
			for i := range 3 {
				job := b.Archive("u", testJob(i), []byte("result"))
				tasks = append(tasks, b.task(job))
				if c.ordered {
					if err := b.AWS.Catalog.Order(t.Context(), job, 1, b.now); err != nil {
						t.Fatal(err)
					}
				}
			}
			vault := &deniedVault{Vault: b.Vault, err: denied}
			b.Mixed = c.mixed
			b.Vault, b.Pace = vault, &thaw.Pace{Now: func() time.Time { return b.now }}
			var out testenv.Emitted
			if err := b.Request(t.Context(), tasks[0], out.Emit); !fault.Is(err, fault.Denied) {
				t.Fatalf("the first: got %v, want it denied", err)
			}
			b.now = b.now.Add(10 * time.Minute)
			if c.meanwhile != nil {
				c.meanwhile(t, b, vault)
			}
			b.now = b.now.Add(c.lasts - 10*time.Minute)
			vault.err = c.err
			err := b.Request(t.Context(), tasks[1], out.Emit)
			account, aerr := b.AWS.Catalog.Account(t.Context(), "u")
			if aerr != nil {
				t.Fatal(aerr)
			}
			if !c.held {
				if err == nil || account.Plan.State != archive.PlanOpen {
					t.Errorf("got %v and a plan that is %s, want an error and an open plan", err, account.Plan.State)
				}
				return
			}
			if err != nil || account.Plan.State != archive.PlanHeld || !strings.Contains(account.Plan.HeldBy, "NoLongerSupportedException") {
				t.Errorf("got %v and a plan that is %s: %q", err, account.Plan.State, account.Plan.HeldBy)
			}
			if got, want := account.Plan.Due.Sub(b.now).Round(time.Second), time.Hour; got != want {
				t.Errorf("the plan is tried again after %s, want %s", got, want)
			}
			calls := vault.calls
			if err := b.Request(t.Context(), tasks[2], out.Emit); err != nil || vault.calls != calls {
				t.Errorf("a task of the held plan: %v, with %d requests", err, vault.calls-calls)
			}
			for i := range tasks {
				if job, err := b.AWS.Catalog.Job(t.Context(), testJob(i)); err != nil || job.Intent != nil || job.History.Tries != 0 {
					t.Errorf("job %d: %v, intent %v, %d tries: nothing was requested", i, err, job.Intent, job.History.Tries)
				}
			}
		})
	}
}

func TestAllWorkersKnowSinceWhenAWSDeniesEverything(t *testing.T) {
	now := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	shared := &memory{}
	pace := func() *thaw.Pace { return &thaw.Pace{KV: shared, Now: func() time.Time { return now }} }
	a, b := pace(), pace()
	for i, c := range []struct {
		does func(*thaw.Pace) time.Duration
		by   *thaw.Pace
		want time.Duration
	}{
		{by: a, want: 0},
		{by: b, want: time.Minute},
		{by: a, want: 2 * time.Minute},
		{by: b, does: func(p *thaw.Pace) time.Duration { p.Took(t.Context(), archive.Standard); return 0 }},
		{by: a, want: 0},
		{by: b, want: time.Minute},
	} {
		if c.does == nil {
			c.does = func(p *thaw.Pace) time.Duration { return p.Denied(t.Context()) }
		}
		if got := c.does(c.by); got != c.want {
			t.Errorf("step %d: denied for %s, want %s", i, got, c.want)
		}
		now = now.Add(time.Minute)
	}
}
