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

// without removes a part of a write's condition.
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

// leaving makes the sweep do nothing about a finding.
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
	{"the worker asks who is entitled before it adopts a paid retrieval", 3, Budget{Changes: 3, Crashes: 1}, func(p *Protocol) {
		p.Decide = func(q gate.Question) gate.Answer {
			if q.Job.RetrievalID == "" && q.Job.ArchiveID != "" {
				return gate.Entitled(q)
			}
			return gate.Decide(q)
		}
	}},
	{"nobody asks whether a plan is open", 14, Budget{Changes: 2}, func(p *Protocol) {
		p.Entitled = func(q gate.Question) gate.Answer { q.Job.Ordered = true; return gate.Entitled(q) }
	}},
	{"a worker does not look an intent up that stood still", 3, Budget{Changes: 1, Crashes: 1}, func(p *Protocol) { p.LooksFirst = false }},
	{"an intent replaces another worker's intent", 3, Budget{Changes: 1}, without(saveIntent, "attribute_not_exists(retrieval_intent)")},
	{"an intent is written although a retrieval is on its way", 3, Budget{Changes: 1}, without(saveIntent, "attribute_not_exists(retrieval_request_id)")},
	{"a worker takes over another intent than the one that it looked up", 3, Budget{Changes: 1, Crashes: 1, Doubles: 1}, without(takeIntent, "retrieval_intent.#t = :old")},
	{"a worker takes an error of Glacier for a refusal", 3, Budget{Changes: 1, Crashes: 1}, func(p *Protocol) {
		p.Retry = func(k fault.Kind, tier archive.Tier) thaw.Retry {
			if k == fault.Transient {
				k = fault.Throttled
			}
			return thaw.RetryOf(k, tier)
		}
	}},
	{"a worker gives a try back although it called Glacier", 15, Budget{Changes: 1, Crashes: 1, Failures: 1}, func(p *Protocol) { p.CountsUsed = false }},
	{"a failed retrieval is saved again, under another worker's intent", 3, Budget{Changes: 1, Crashes: 1, Failures: 1}, func(p *Protocol) { p.LooksAgain = false }},
	{"the tries are forgotten when a retrieval failed", 15, Budget{Changes: 1, Failures: 1}, func(p *Protocol) { p.KeepsTries = false }},
	{"the gate does not bound the tries", 15, Budget{Changes: 1, Failures: 4}, func(p *Protocol) {
		p.Entitled = func(q gate.Question) gate.Answer { q.Job.History = archive.History{}; return gate.Entitled(q) }
	}},
	{"a restorer requests the archive of a failed retrieval without the gate", 14, Budget{Changes: 1, Failures: 1}, func(p *Protocol) { p.AsksGate = false }},
	{"a notification of another retrieval clears the catalog", 20, Budget{Changes: 1, Failures: 1, Doubles: 1}, without(clearFailed, "retrieval_request_id = :retrieval")},
	{"the archive is deleted before the object is proven", 6, Budget{Changes: 1}, func(p *Protocol) { p.ProvesFirst = false }},
	{"a restorer that finds the file restored does not report it", untold, Budget{Changes: 1, Crashes: 1}, func(p *Protocol) { p.TellsDone = false }},
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
	{"the message of a plan that is over opens it again", 14, Budget{Messages: 1, Doubles: 1}, func(p *Protocol) { p.ChecksWhetherOver = false }},
	{"a plan is opened although the account had another plan meanwhile", 14, Budget{Messages: 1, Doubles: 1}, without(openPlan(false, false), "attribute_not_exists(plans_opened)")},
	{"a plan is opened although the account changed meanwhile", 14, Budget{Messages: 1, Changes: 2}, without(openPlan(true, false), "#r = :role AND role_changed_at = :changed")},
	{"a sweep that read the earlier plan closes the new plan", 20, Budget{Changes: 3}, without(closePlan, "plan_id = :plan")},
	{"the sweep ignores an interrupted request", stuck, Budget{Changes: 1, Crashes: 1, Losses: 1}, leaving(reconcile.Interrupted)},
	{"the sweep ignores a lost notification", stuck, Budget{Changes: 1, Losses: 1}, leaving(reconcile.Unheard)},
	{"the sweep waits for a retrieval that Glacier forgot", stuck, Budget{Changes: 1, Losses: 1, Expiries: 1}, leaving(reconcile.Forgotten)},
	{"the sweep ignores a lost task", stuck, Budget{Changes: 1, Losses: 1}, leaving(reconcile.Unplanned)},
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
		// Without the bug, the same configuration has no violation.
		if r := New(Real(), b).Explore(1_000_000); r.Violation != nil || !r.Whole {
			t.Errorf("%s: without the bug: %s %v", bug.what, r, r.Violation)
		}
	}
}
