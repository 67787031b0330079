package thaw_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// mover moves retrievals to faster tiers, beside a stand-in.
type mover struct {
	*testenv.AWS
	*thaw.Faster
	t     *testing.T
	store cold.Store
	spent archive.MicroUSD // for the first retrieval of each job
}

func newMover(t *testing.T) *mover {
	a := testenv.NewAWS(t)
	a.Account("u", archive.Premium)
	store := cold.Store{Vault: glacier.New(a.Config, testenv.VaultID, topic), Objects: s3cold.New(a.Config, testenv.ColdID, 1)}
	return &mover{AWS: a, t: t, store: store, Faster: &thaw.Faster{
		Catalog: a.Catalog, Store: store, Budgets: a.Catalog, Prices: cost.Public().In("us-east-1"), Now: a.World.Clock.Now,
	}}
}

// requested has the job's archive on its way in the tier, as thaw leaves it.
func (m *mover) requested(job archive.Job, tier archive.Tier) archive.Job {
	m.t.Helper()
	intent := archive.Intent{Token: "t-" + string(job.ID), At: m.Now()}
	if err := m.AWS.Catalog.SaveIntent(m.t.Context(), job, intent); err != nil {
		m.t.Fatal(err)
	}
	job.Intent = &intent
	r, err := m.store.Retrieve(m.t.Context(), job, tier)
	if err != nil {
		m.t.Fatal(err)
	}
	r.RequestedAt, r.Cost = m.Now(), m.Prices.Of(job.Copy.Class, tier, 1, job.ArchiveSize)
	m.spent = r.Cost
	if err := m.AWS.Catalog.SaveRetrieval(m.t.Context(), job, intent, r); err != nil {
		m.t.Fatal(err)
	}
	return m.Job(job.ID)
}

// paid is how many retrievals S3 has billed.
func (m *mover) paid() (n int) {
	for _, jobs := range m.S3.Restores() {
		n += jobs
	}
	return n
}

func TestAnOrderForAFasterTierPaysOnceAndSaysWhatItDid(t *testing.T) {
	const (
		exp, std, bulk = archive.Expedited, archive.Standard, archive.Bulk
	)
	restore := func(f localaws.Fault) func(*mover, archive.Job) {
		f.Service, f.Operation, f.Times = "s3", "RestoreObject", 1
		return func(m *mover, _ archive.Job) {
			if err := m.Faults.Add(f); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name     string
		class    archive.Class
		from, to archive.Tier // from empty: not requested
		before   func(*mover, archive.Job)
		want     thaw.Move
		kind     fault.Kind   // of the error
		billed   archive.Tier // the order adds the price in this tier to the bill; empty for nothing
		tier     archive.Tier // in the catalog afterwards
		paid     int          // retrievals that S3 billed in all
		again    thaw.Move    // the same order once more; empty for none
		paidThen int
	}{
		{name: "GLACIER from Standard", class: archive.Glacier, from: std, to: exp, want: thaw.Moved, billed: exp, tier: exp, paid: 2, again: thaw.AsFast, paidThen: 2},
		{name: "GLACIER from Bulk", class: archive.Glacier, from: bulk, to: std, want: thaw.Moved, billed: std, tier: std, paid: 2, again: thaw.AsFast, paidThen: 2},
		{name: "DEEP_ARCHIVE from Bulk", class: archive.DeepArchive, from: bulk, to: std, want: thaw.Moved, billed: std, tier: std, paid: 2, again: thaw.AsFast, paidThen: 2},
		{name: "DEEP_ARCHIVE has no Expedited", class: archive.DeepArchive, from: std, to: exp, want: thaw.Fixed, tier: std, paid: 1},
		{name: "GLACIER_IR needs nothing", class: archive.Instant, from: std, to: exp, want: thaw.Fixed, tier: std},
		{name: "a vault moves nothing", class: archive.Vault, from: std, to: exp, want: thaw.Fixed, tier: std},
		{name: "not requested", class: archive.Glacier, to: exp, want: thaw.NotRequested},
		{name: "already Expedited", class: archive.Glacier, from: exp, to: exp, want: thaw.AsFast, tier: exp, paid: 1},
		{name: "faster than the order", class: archive.Glacier, from: exp, to: std, want: thaw.AsFast, tier: exp, paid: 1},
		{name: "the copy is there", class: archive.Glacier, from: std, to: exp, want: thaw.CopyThere, tier: std, paid: 1,
			before: func(m *mover, _ archive.Job) { m.World.Clock.Advance(6 * time.Hour) }},
		{name: "the copy failed", class: archive.Glacier, from: std, to: exp, kind: fault.NotFound, tier: std, paid: 1,
			before: func(m *mover, _ archive.Job) { m.S3.FailNextRestores(1); m.World.Clock.Advance(6 * time.Hour) }},
		{name: "somebody made it faster by hand", class: archive.Glacier, from: std, to: exp, want: thaw.AsFast, tier: std, paid: 2,
			before: func(m *mover, job archive.Job) {
				if _, err := m.store.Faster(m.t.Context(), job, exp); err != nil {
					m.t.Fatal(err)
				}
			}},
		{name: "no Expedited capacity", class: archive.Glacier, from: std, to: exp, kind: fault.Capacity, tier: std, paid: 1,
			before: func(m *mover, _ archive.Job) { m.S3.SetExpeditedRefusal(1) }},
		{name: "not allowed", class: archive.Glacier, from: std, to: exp, kind: fault.Denied, tier: std, paid: 1,
			before: restore(localaws.Fault{Code: "AccessDenied", Status: 403}), again: thaw.Moved, paidThen: 2},
		{name: "S3 fails before it takes the order", class: archive.Glacier, from: std, to: exp, kind: fault.Transient, billed: exp, tier: exp, paid: 1,
			before: restore(localaws.Fault{Code: "InternalError", Status: 500}), again: thaw.AsFast, paidThen: 2},
		{name: "S3 takes the order and its answer is lost", class: archive.Glacier, from: std, to: exp, kind: fault.Transient, billed: exp, tier: exp, paid: 2,
			before: restore(localaws.Fault{Code: "InternalError", Status: 500, After: true}), again: thaw.AsFast, paidThen: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMover(t)
			var job archive.Job
			if c.class == archive.Vault {
				job = m.Archive("u", "j1", []byte("result"))
			} else {
				job = m.ArchiveIn(c.class, "u", "j1", []byte("result"))
			}
			if c.from != "" {
				job = m.requested(job, c.from)
			}
			if c.before != nil {
				c.before(m, job)
			}
			move, cost, err := m.Move(t.Context(), job, c.to)
			if move != c.want || (err == nil) != (c.want != "") || err != nil && fault.KindOf(err) != c.kind {
				t.Errorf("got %q and %v of kind %s, want %q and kind %s", move, err, fault.KindOf(err), c.want, c.kind)
			}
			var added archive.MicroUSD
			if c.billed != "" {
				added = m.Prices.Of(c.class, c.billed, 1, job.ArchiveSize)
			}
			check := func(when string) {
				now := m.Job("j1")
				if now.Tier != c.tier || now.Billed != m.spent.Plus(added) || now.RetrievalID != job.RetrievalID {
					t.Errorf("%s: tier %q, billed %s, retrieval %q; want %q, %s and %q", when, now.Tier, now.Billed, now.RetrievalID, c.tier, m.spent.Plus(added), job.RetrievalID)
				}
				if now.Billed == m.spent && !now.RetrievalRequestedAt.Equal(job.RetrievalRequestedAt) {
					t.Errorf("%s: requested at %s, want %s", when, now.RetrievalRequestedAt, job.RetrievalRequestedAt)
				}
				if all, _, err := m.AWS.Catalog.Spent(t.Context(), m.Now().UTC().Format(time.DateOnly), "u"); err != nil || all != added {
					t.Errorf("%s: %s is entered into the budgets, %v; want %s", when, all, err, added)
				}
			}
			if cost != added {
				t.Errorf("it says that it cost %s, want %s", cost, added)
			}
			check("then")
			if n := m.paid(); n != c.paid {
				t.Errorf("S3 billed %d retrievals, want %d", n, c.paid)
			}
			if c.again == "" {
				return
			}
			move, cost, err = m.Move(t.Context(), m.Job("j1"), c.to)
			if move != c.again || err != nil {
				t.Errorf("once more: got %q, %v; want %q", move, err, c.again)
			}
			if added, c.tier = added.Plus(cost), c.to; c.again != thaw.Moved && cost != 0 {
				t.Errorf("once more: it cost %s", cost)
			}
			check("once more")
			if n := m.paid(); n != c.paidThen {
				t.Errorf("once more: S3 billed %d retrievals, want %d", n, c.paidThen)
			}
		})
	}
}

func TestAMovedRetrievalIsThereSooner(t *testing.T) {
	m := newMover(t)
	job := m.requested(m.ArchiveIn(archive.Glacier, "u", "j1", []byte("result")), archive.Standard)
	if _, _, err := m.Move(t.Context(), job, archive.Expedited); err != nil {
		t.Fatal(err)
	}
	m.World.Clock.Advance(5 * time.Minute)
	if r, err := m.store.Describe(t.Context(), m.Job("j1")); err != nil || r.Status != archive.Succeeded {
		t.Errorf("five minutes later: %+v, %v", r, err)
	}
}

// TestAnOrderForAFasterTierLeavesAnotherRetrievalAlone has a job that changed after it was read.
func TestAnOrderForAFasterTierLeavesAnotherRetrievalAlone(t *testing.T) {
	m := newMover(t)
	job := m.requested(m.ArchiveIn(archive.Glacier, "u", "j1", []byte("result")), archive.Standard)
	if err := m.AWS.Catalog.ClearRetrieval(t.Context(), job, archive.GlacierFailed, m.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Move(t.Context(), job, archive.Expedited); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	all, _, err := m.AWS.Catalog.Spent(t.Context(), m.Now().UTC().Format(time.DateOnly), "u")
	if n := m.paid(); n != 1 || all != 0 || err != nil {
		t.Errorf("S3 billed %d retrievals, and %s is entered into the budgets, %v; want 1 and nothing", n, all, err)
	}
}

// TestAnOrderForAFasterTierEndsWithTheErrorOfTheCallThatFailed breaks each call. The
// bill is never too low.
func TestAnOrderForAFasterTierEndsWithTheErrorOfTheCallThatFailed(t *testing.T) {
	injected := func(kind fault.Kind) error { return fault.New(kind, errors.New("injected")) }
	lost := errors.New("lost")
	for _, c := range []struct {
		name   string
		ports  fasterPorts
		tier   archive.Tier // in the catalog before
		to     archive.Tier // Expedited if empty
		want   thaw.Move
		says   []string
		billed bool
	}{
		{name: "the budgets", ports: fasterPorts{spend: lost}, says: []string{"lost"}},
		{name: "the catalog", ports: fasterPorts{save: lost}, says: []string{"lost"}},
		{name: "the catalog, and then the budgets", ports: fasterPorts{save: lost, back: errors.New("gone")}, says: []string{"lost", "gone"}},
		{name: "the store refuses the archive", ports: fasterPorts{store: injected(fault.Invalid)}, says: []string{"injected"}},
		{name: "the store throttles", ports: fasterPorts{store: injected(fault.Throttled)}, says: []string{"injected"}},
		{name: "the store throttles, and the catalog fails", ports: fasterPorts{store: injected(fault.Throttled), undo: lost, back: errors.New("gone")}, says: []string{"injected", "lost", "gone"}, billed: true},
		{name: "the store throttles, and the file is back", ports: fasterPorts{store: injected(fault.Throttled), undo: injected(fault.Conflict)}, says: []string{"injected"}, billed: true},
		{name: "nobody knows", ports: fasterPorts{store: injected(fault.Transient)}, says: []string{"nobody knows", "injected"}, billed: true},
		{name: "an order that was written before", tier: archive.Expedited, ports: fasterPorts{store: injected(fault.Transient)}, want: thaw.AsFast, says: []string{"injected"}},
		{name: "an order that was carried out before", tier: archive.Expedited, ports: fasterPorts{store: injected(fault.Conflict)}, want: thaw.AsFast},
		{name: "an order that was written before, and nothing is on its way", tier: archive.Expedited, ports: fasterPorts{store: injected(fault.NotFound)}, want: thaw.AsFast},
		{name: "an order of a slower tier", tier: archive.Expedited, to: archive.Standard, ports: fasterPorts{store: injected(fault.Transient)}, want: thaw.AsFast},
		{name: "an order that the store takes now", tier: archive.Expedited, want: thaw.AsFast},
	} {
		ports := c.ports
		f := &thaw.Faster{Catalog: &ports, Store: &ports, Budgets: &ports, Prices: cost.Public().In("us-east-1"), Now: time.Now}
		job := archive.Job{ID: "j1", UserID: "u", ArchiveID: "a", RetrievalID: "r", Tier: archive.Standard, ArchiveSize: 1 << 30, Copy: archive.Copy{Bucket: "b", Key: "k", Class: archive.Glacier}}
		if c.tier != "" {
			job.Tier = c.tier
		}
		move, price, err := f.Move(t.Context(), job, cmp.Or(c.to, archive.Expedited))
		if (price > 0) != c.billed && !fault.Is(err, fault.Throttled) {
			t.Errorf("%s: it says that it cost %s", c.name, price)
		}
		if move != c.want || (err == nil) != (len(c.says) == 0) || (ports.bill > 0) != c.billed {
			t.Errorf("%s: got %q, %v, and %s is billed; want %q", c.name, move, err, ports.bill, c.want)
		}
		for _, says := range c.says {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: got %v, want it to say %q", c.name, err, says)
			}
		}
	}
}

// fasterPorts answers with these errors, and keeps what is on the bill.
type fasterPorts struct {
	thaw.Budgets
	spend, back, save, undo, store error
	bill                           archive.MicroUSD
}

func (p *fasterPorts) Spend(context.Context, archive.Spending) (string, error) { return "", p.spend }
func (p *fasterPorts) Return(context.Context, archive.Spending) error          { return p.back }

func (p *fasterPorts) SaveFaster(_ context.Context, _ archive.Job, _ archive.Tier, _ time.Time, cost archive.MicroUSD) error {
	if p.save == nil {
		p.bill += cost
	}
	return p.save
}

func (p *fasterPorts) TakeBackFaster(_ context.Context, _ archive.Job, _ archive.Tier, cost archive.MicroUSD) error {
	if p.undo == nil {
		p.bill -= cost
	}
	return p.undo
}

func (p *fasterPorts) Faster(context.Context, archive.Job, archive.Tier) (archive.Retrieval, error) {
	return archive.Retrieval{}, p.store
}

func TestAPreviewOfAMoveNamesThePriceOfAMoveAlone(t *testing.T) {
	f := &thaw.Faster{Prices: cost.Public().In("us-east-1"), AssumedSize: 5 << 30}
	for _, c := range []struct {
		name      string
		class     archive.Class
		from      archive.Tier
		size      int64
		retrieval events.RetrievalID
		want      thaw.Move
		bytes     int64 // the size in the price; -1 for no price
	}{
		{"it is not requested", archive.Glacier, "", 1 << 30, "", thaw.NotRequested, -1},
		{"it moves", archive.Glacier, archive.Standard, 1 << 30, "r", thaw.Moved, 1 << 30},
		{"zero bytes move", archive.Glacier, archive.Standard, 0, "r", thaw.Moved, 0},
		{"nobody knows its size", archive.Glacier, archive.Standard, -1, "r", thaw.Moved, 5 << 30},
		{"it is as fast", archive.Glacier, archive.Expedited, 1 << 30, "r", thaw.AsFast, -1},
		{"a vault moves nothing", archive.Vault, archive.Standard, 1 << 30, "r", thaw.Fixed, -1},
	} {
		job := archive.Job{RetrievalID: c.retrieval, Tier: c.from, ArchiveSize: c.size, Copy: archive.Copy{Class: c.class}}
		move, price := f.Preview(job, archive.Expedited)
		var want archive.MicroUSD
		if c.bytes >= 0 {
			want = f.Prices.Of(c.class, archive.Expedited, 1, c.bytes)
		}
		if move != c.want || price != want {
			t.Errorf("%s: got %q for %s, want %q for %s", c.name, move, price, c.want, want)
		}
	}
}
