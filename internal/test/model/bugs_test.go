package model

import (
	"os"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// bug is a mistake in the protocol, and the invariant that it breaks.
type bug struct {
	what      string
	invariant uint8
	budget    Budget
	plant     func(*Protocol)
}

// without takes a part out of a write's condition.
func without(write, part string) func(*Protocol) {
	return func(p *Protocol) {
		p.Writes = Writes()
		for i, w := range p.Writes {
			if w.Name != write {
				continue
			}
			if p.Writes[i].Condition = strings.Replace(w.Condition, part, "", 1); p.Writes[i].Condition == w.Condition {
				panic(write + " has no " + part)
			}
		}
	}
}

// leaving has the sweep do nothing about a finding.
func leaving(f reconcile.Finding) func(*Protocol) {
	return func(p *Protocol) {
		p.Act = func(g reconcile.Finding) reconcile.Action {
			if g == f {
				return reconcile.Leave
			}
			return reconcile.Act(g)
		}
	}
}

var bugs = []bug{
	{"it is asked who is entitled before what is paid for is adopted", 3, Budget{Changes: 3, Crashes: 1}, func(p *Protocol) {
		p.Decide = func(q gate.Question) gate.Answer {
			if q.Job.RetrievalID == "" && q.Job.ArchiveID != "" {
				return gate.Entitled(q)
			}
			return gate.Decide(q)
		}
	}},
	{"nobody asks whether a plan stands", 14, Budget{Changes: 2}, func(p *Protocol) {
		p.Entitled = func(q gate.Question) gate.Answer { q.Job.Ordered = true; return gate.Entitled(q) }
	}},
	{"an intent that stood still is not looked up", 3, Budget{Changes: 1, Crashes: 1}, func(p *Protocol) { p.LooksFirst = false }},
	{"an intent is written over another's", 3, Budget{Changes: 1}, without(saveIntent, "attribute_not_exists(retrieval_intent)")},
	{"an intent is written although a retrieval is on its way", 3, Budget{Changes: 1}, without(saveIntent, "attribute_not_exists(retrieval_request_id)")},
	{"an intent is taken over that is not the one that was looked up", 3, Budget{Changes: 1, Crashes: 1, Doubles: 1}, without(takeIntent, "retrieval_intent.#t = :old")},
	{"an error of Glacier is taken for a refusal", 3, Budget{Changes: 1, Crashes: 1}, func(p *Protocol) {
		p.Retry = func(k fault.Kind, tier archive.Tier) thaw.Retry {
			if k == fault.Transient {
				k = fault.Throttled
			}
			return thaw.RetryOf(k, tier)
		}
	}},
	{"a try is given back under which Glacier was asked", 15, Budget{Changes: 1, Crashes: 1, Failures: 1}, func(p *Protocol) { p.CountsUsed = false }},
	{"a retrieval that came to nothing is saved again, over another's intent", 3, Budget{Changes: 1, Crashes: 1, Failures: 1}, func(p *Protocol) { p.LooksAgain = false }},
	{"tries are forgotten when a retrieval came to nothing", 15, Budget{Changes: 1, Failures: 1}, func(p *Protocol) { p.KeepsTries = false }},
	{"tries are not bounded by the gate", 15, Budget{Changes: 1, Failures: 4}, func(p *Protocol) {
		p.Entitled = func(q gate.Question) gate.Answer { q.Job.History = archive.History{}; return gate.Entitled(q) }
	}},
	{"a retrieval that came to nothing is asked for again without the gate", 14, Budget{Changes: 1, Failures: 1}, func(p *Protocol) { p.AsksGate = false }},
	{"the catalog is cleared by a notice of another retrieval", 20, Budget{Changes: 1, Failures: 1, Doubles: 1}, without(clearFailed, "retrieval_request_id = :retrieval")},
	{"the archive is deleted before the object is proven", 6, Budget{Changes: 1}, func(p *Protocol) { p.ProvesFirst = false }},
	{"restored is not told by who finds it done", untold, Budget{Changes: 1, Crashes: 1}, func(p *Protocol) { p.TellsDone = false }},
	{"a message of a plan that was cancelled opens one", 14, Budget{Changes: 3}, func(p *Protocol) {
		p.Opens = func(a archive.Account, e events.UserUpgraded) archive.Entitlement {
			e.Plan = ""
			return a.Opens(e)
		}
	}},
	{"a message that is older than the downgrade opens a plan", 14, Budget{Changes: 2, Messages: 1}, func(p *Protocol) {
		p.Opens = func(a archive.Account, e events.UserUpgraded) archive.Entitlement {
			if got := a.Opens(e); got != archive.Nothing || e.Plan != "" {
				return got
			}
			return archive.Open
		}
	}},
	{"a plan that is over is opened again by its message", 14, Budget{Messages: 1, Doubles: 1}, func(p *Protocol) { p.ChecksWhetherOver = false }},
	{"a plan is opened on an account on which another was meanwhile", 14, Budget{Messages: 1, Doubles: 1}, without(openPlan(false, false), "attribute_not_exists(plans_opened)")},
	{"a plan is opened on an account that changed meanwhile", 14, Budget{Messages: 1, Changes: 2}, without(openPlan(true, false), "#r = :role AND role_changed_at = :changed")},
	{"a new plan is closed by who looked at the one before", 20, Budget{Changes: 3}, without(closePlan, "plan_id = :plan")},
	{"a request that was interrupted is left alone", stuck, Budget{Changes: 1, Crashes: 1, Losses: 1}, leaving(reconcile.Interrupted)},
	{"a notice that was lost is not made up for", stuck, Budget{Changes: 1, Losses: 1}, leaving(reconcile.Unheard)},
	{"a retrieval that Glacier forgot is waited for", stuck, Budget{Changes: 1, Losses: 1, Expiries: 1}, leaving(reconcile.Forgotten)},
	{"a task that was lost is not made up for", stuck, Budget{Changes: 1, Losses: 1}, leaving(reconcile.Unplanned)},
}

// TestPlantedBugsAreFound: a model that finds nothing proves nothing.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, bug := range bugs {
		p := Real()
		bug.plant(&p)
		b := Bounds{Requesters: 2, Restorers: 1, Planners: 1, Budget: bug.budget}
		if bug.invariant == 20 {
			b.Requesters, b.Restorers = 1, 2
		}
		if bug.budget.Messages > 0 {
			b.Requesters, b.Planners = 1, 2
		}
		r := New(p, b).Explore(1_000_000)
		if r.Violation == nil {
			t.Errorf("%s: not found in %s", bug.what, r)
			continue
		}
		t.Logf("%s: invariant %d after %d steps, %d states", bug.what, r.Violation.Invariant, r.Violation.Steps(), r.States)
		if r.Violation.Invariant != bug.invariant {
			t.Errorf("%s: got %v, want invariant %d", bug.what, r.Violation, bug.invariant)
		}
		if testing.Verbose() {
			t.Log(r.Violation)
		}
		if os.Getenv("GAS_MODEL") != "large" {
			continue
		}
		// What the bug is found in is right without it.
		if r := New(Real(), b).Explore(1_000_000); r.Violation != nil || !r.Whole {
			t.Errorf("%s: without it: %s %v", bug.what, r, r.Violation)
		}
	}
}
