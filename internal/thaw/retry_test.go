package thaw_test

import (
	"fmt"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
)

const (
	exp  = archive.Expedited
	std  = archive.Standard
	bulk = archive.Bulk
)

// TestEachErrorOfGlacierInEachTierHasItsRow tries every documented error code of InitiateJob,
// in each tier, over the wire.
func TestEachErrorOfGlacierInEachTierHasItsRow(t *testing.T) {
	type row struct {
		code   string
		status int
		order  archive.Tiers // the first is refused
		// tier is the tier in which Glacier takes the request; empty for none. Then kind is the
		// kind of the error that the bus gets.
		tier   archive.Tier
		kind   fault.Kind
		intent bool // the intent is left, so the next delivery reads the list
		rest   bool // Expedited is left alone
		slow   bool // the calls are further apart
	}
	rows := []row{
		{code: "InsufficientCapacityException", status: 503, order: archive.Tiers{exp, std}, tier: std, rest: true},
		{code: "InsufficientCapacityException", status: 503, order: archive.Tiers{exp, bulk, std}, tier: bulk, rest: true},
		{code: "InsufficientCapacityException", status: 503, order: archive.Tiers{exp}, kind: fault.Capacity, rest: true},
		{code: "InsufficientCapacityException", status: 503, order: archive.Tiers{std, bulk}, tier: bulk},
		{code: "InsufficientCapacityException", status: 503, order: archive.Tiers{bulk}, kind: fault.Capacity},
		{code: "PolicyEnforcedException", status: 400, order: archive.Tiers{exp, std}, kind: fault.Policy},
		{code: "PolicyEnforcedException", status: 400, order: archive.Tiers{exp, std, bulk}, tier: bulk},
		{code: "PolicyEnforcedException", status: 400, order: archive.Tiers{std}, kind: fault.Policy},
		{code: "PolicyEnforcedException", status: 400, order: archive.Tiers{std, bulk}, tier: bulk},
		{code: "PolicyEnforcedException", status: 400, order: archive.Tiers{bulk, std}, kind: fault.Policy},
	}
	for _, tier := range []archive.Tier{exp, std, bulk} {
		order := archive.Tiers{tier}
		for _, next := range []archive.Tier{exp, std, bulk} { // the worker must not try these
			if next != tier {
				order = append(order, next)
			}
		}
		rows = append(rows,
			row{code: "ThrottlingException", status: 400, order: order, kind: fault.Throttled, slow: true},
			row{code: "LimitExceededException", status: 400, order: order, kind: fault.Throttled, slow: true},
			row{code: "ResourceNotFoundException", status: 404, order: order, kind: fault.Invalid},
			row{code: "AccessDeniedException", status: 403, order: order, kind: fault.Denied},
			row{code: "ExpiredTokenException", status: 403, order: order, kind: fault.Denied},
			row{code: "InvalidParameterValueException", status: 400, order: order, kind: fault.Denied},
			row{code: "MissingParameterValueException", status: 400, order: order, kind: fault.Denied},
			row{code: "RequestTimeoutException", status: 408, order: order, kind: fault.Transient, intent: true},
			row{code: "ServiceUnavailableException", status: 500, order: order, kind: fault.Transient, intent: true},
			row{code: "NeverHeardOfException", status: 503, order: order, kind: fault.Transient, intent: true},
		)
	}
	for _, c := range rows {
		t.Run(fmt.Sprint(c.code, " ", c.order), func(t *testing.T) {
			b := newFixture(t)
			b.Tiers, b.Pace = c.order, &thaw.Pace{Now: b.Now}
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", []byte("result"))
			if err := b.Faults.Add(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Times: 1, Code: c.code, Status: c.status}); err != nil {
				t.Fatal(err)
			}
			b.ResetCounts()
			var out testenv.Emitted
			err := b.Request(t.Context(), b.task(job), out.Emit)
			now := b.Job("j1")
			if c.tier != "" {
				if err != nil || now.Tier != c.tier || len(b.retrievals(t)) != 1 {
					t.Errorf("got %v and %s, want %s", err, now.Tier, c.tier)
				}
			} else if err == nil || fault.KindOf(err) != c.kind || len(b.retrievals(t)) != 0 {
				t.Errorf("got %v of kind %s, want kind %s and no retrieval", err, fault.KindOf(err), c.kind)
			}
			calls := int64(1)
			if c.tier != "" {
				calls = 2
			}
			if got := b.Counts()["glacier.InitiateJob"]; got != calls {
				t.Errorf("InitiateJob was called %d times, want %d", got, calls)
			}
			if (now.Intent != nil) != c.intent {
				t.Errorf("intent left: %v, want %v", now.Intent != nil, c.intent)
			}
			if got := b.Pace.Resting(exp) > 0; got != c.rest {
				t.Errorf("Expedited is left alone: %v, want %v", got, c.rest)
			}
			if got := b.Pace.Shared().Gap() > 0; got != c.slow {
				t.Errorf("calls are further apart: %v, want %v", got, c.slow)
			}
		})
	}
}

func TestEveryKindOfErrorHasADecisionAndItsReason(t *testing.T) {
	for kind := fault.Unknown; kind <= fault.Corrupt; kind++ {
		for _, tier := range []archive.Tier{exp, std, bulk} {
			r := thaw.RetryOf(kind, tier)
			if r.Kind != kind || r.Why == "" {
				t.Errorf("%s in %s: %+v", kind, tier, r)
			}
			// Glacier may have taken the request. A second request would pay twice. A dead letter
			// would lose the retrieval.
			if unclear := kind == fault.Transient || kind == fault.Unknown; unclear && r.Action != thaw.LookUp {
				t.Errorf("%s in %s: %s, though it is not known whether it was taken", kind, tier, r.Action)
			}
			if r.Rest && tier != exp {
				t.Errorf("%s in %s rests Expedited", kind, tier)
			}
		}
	}
	seen := map[string]bool{}
	for _, r := range thaw.RetryTable() {
		key := fmt.Sprint(r.Kind, r.Tier)
		if seen[key] {
			t.Errorf("two rows for %s in %q", r.Kind, r.Tier)
		}
		seen[key] = true
		if got := thaw.RetryOf(r.Kind, r.Tier); r.Tier != "" && got.Why != r.Why {
			t.Errorf("the row %q is never reached", r.Why)
		}
	}
}

func TestWhileExpeditedRestsTheNextTierIsAskedForAtOnce(t *testing.T) {
	b := newFixture(t)
	b.Pace = &thaw.Pace{Now: b.Now}
	b.Account("u", archive.Premium)
	b.Glacier.SetExpeditedCapacity(0, 0)
	for i, want := range []int64{2, 1, 1} { // Expedited and Standard, then Standard alone
		job := b.Archive("u", testJob(i), []byte("result"))
		b.ResetCounts()
		var out testenv.Emitted
		if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
			t.Fatal(err)
		}
		if got := b.Counts()["glacier.InitiateJob"]; got != want || b.Job(job.ID).Tier != std {
			t.Errorf("archive %d: %d calls and %s, want %d and Standard", i, got, b.Job(job.ID).Tier, want)
		}
	}
	b.Tiers = archive.Tiers{exp}
	job := b.Archive("u", "alone", []byte("result"))
	b.ResetCounts()
	var out testenv.Emitted
	err := b.Request(t.Context(), b.task(job), out.Emit)
	if !fault.Is(err, fault.Capacity) || fault.DelayOf(err) <= 0 || b.Counts()["glacier.InitiateJob"] != 0 || b.Job("alone").Intent != nil {
		t.Errorf("Expedited alone: got %v after %s, %v", err, fault.DelayOf(err), b.Counts())
	}
}

func TestAVaultThatIsNotThereMakesNoDeadLetters(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	b.Vault = newVault(b.AWS, "no-such-vault")
	var out testenv.Emitted
	if err := b.Request(t.Context(), b.task(job), out.Emit); !fault.Is(err, fault.Denied) {
		t.Errorf("got %v of kind %s, want denied: an operator must fix it", err, fault.KindOf(err))
	}
}
