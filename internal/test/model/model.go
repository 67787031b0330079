package model

import (
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// Protocol has the functions of the services that decide, and a switch for each order of
// steps in a service's code. A planted bug replaces one of them.
type Protocol struct {
	Decide   func(gate.Question) gate.Answer
	Entitled func(gate.Question) gate.Answer
	Opens    func(archive.Account, events.UserUpgraded) archive.Entitlement
	Spent    func(archive.History) (cause, why string)
	Retry    func(fault.Kind, archive.Tier) thaw.Retry
	Act      func(reconcile.Finding) reconcile.Action
	Writes   []Write

	// LooksFirst: a worker that finds an old intent reads Glacier's list first.
	LooksFirst bool
	// CountsUsed: if a worker may have called Glacier under an intent, the intent's try stays
	// counted, and a worker that takes the intent over counts another one.
	CountsUsed bool
	// LooksAgain: a worker that cannot save a retrieval under its own intent saves it under
	// another one, but only if the retrieval may still bring the archive.
	LooksAgain bool
	// ProvesFirst: the archive is deleted after the object is proven.
	ProvesFirst bool
	// TellsDone: if a notification comes again after its retrieval restored the file, the
	// restorer reports “restored” again.
	TellsDone bool
	// KeepsTries: the tries stay counted when a retrieval failed or expired.
	KeepsTries bool
	// ChecksWhetherOver: a planner checks whether a plan is over before it opens the plan.
	ChecksWhetherOver bool
	// AsksGate: after a retrieval that failed or expired, the restorer publishes a task. It
	// does not call Glacier itself.
	AsksGate bool
}

// Real is the protocol as it is.
func Real() Protocol {
	return Protocol{
		Decide: gate.Decide, Entitled: gate.Entitled, Opens: archive.Account.Opens, Spent: archive.History.Spent,
		Retry: thaw.RetryOf, Act: reconcile.Act, Writes: Writes(),
		LooksFirst: true, CountsUsed: true, LooksAgain: true, ProvesFirst: true, TellsDone: true, KeepsTries: true, AsksGate: true, ChecksWhetherOver: true,
	}
}

// Bounds is a configuration: what exists at first, and what may happen.
type Bounds struct {
	Name   string
	Budget Budget
	// Requesters, Restorers and Planners are how many of each work at a time.
	Requesters, Restorers, Planners int
	// HashKnown says that the catalog has the archive's tree hash.
	HashKnown bool
	// Premium says that the user is Premium and has a plan, and that the plan's message was
	// not published yet. Planless says that another system made the user Premium, without a
	// plan.
	Premium, Planless bool
}

// Model is the transition system.
type Model struct {
	Protocol
	Bounds
	conditions map[string][]atom

	// The functions are pure and get the same few questions again and again. So the model
	// keeps their answers.
	decided  map[[4]bool]gate.Action
	entitled map[entitlement]gate.Action
	spent    map[[3]uint8]bool
	retries  map[asked]thaw.Retry
}

type entitlement struct {
	plan, ordered          bool
	tries, failed, expired uint8
}

type asked struct {
	kind fault.Kind
	tier uint8
}

// New returns the model of a protocol within bounds.
func New(p Protocol, b Bounds) *Model {
	return &Model{
		Protocol: p, Bounds: b, conditions: conditions(p.Writes),
		decided: map[[4]bool]gate.Action{}, entitled: map[entitlement]gate.Action{}, spent: map[[3]uint8]bool{}, retries: map[asked]thaw.Retry{},
	}
}

// Start is the first state: a Free user's archive is in the vault.
func (m *Model) Start() State {
	s := State{Archive: 1, Life: 1, Vault: 1 << 1, Left: m.Budget}
	switch {
	case m.Premium:
		s.Role, s.Changes, s.Plan, s.Due = premium, 1, 1, true
	case m.Planless:
		s.Role, s.Changes = premium, 1
	}
	s.Before = s.entry()
	s.canonical()
	return s
}

var (
	epoch  = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	tiers  = archive.DefaultTiers()
	intent = &archive.Intent{Token: "t"}
	plan   = &archive.Plan{ID: "p", State: archive.PlanOpen}
)

// moment is the time with the number n. The nth change of the role has the time 2n. A
// message that was sent after this change has the time 2n+1.
func moment(n uint8) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(n) * time.Minute)
}

func history(tries, failed, expired uint8) archive.History {
	return archive.History{Tries: int(tries), Failed: map[archive.Failure]int{archive.GlacierFailed: int(failed), archive.OutputExpired: int(expired)}}
}

func account(role, changes uint8, stands bool) archive.Account {
	a := archive.Account{ID: "u", Role: archive.Free, RoleChangedAt: moment(2 * changes)}
	if role == premium {
		a.Role = archive.Premium
	}
	if stands {
		a.Plan = plan
	}
	return a
}

// decide asks the gate about a job that a requester read.
func (m *Model) decide(s *State) gate.Action {
	key := [4]bool{s.Archive != 0, s.Retrieval != 0, s.Token != 0, s.Plan != 0}
	a, ok := m.decided[key]
	if !ok {
		q := gate.Question{Tiers: tiers, Now: epoch, Account: account(premium, 1, key[3])}
		if key[0] {
			q.Job.ArchiveID = "a"
		}
		if key[1] {
			q.Job.RetrievalID = "r"
		}
		if key[2] {
			q.Job.Intent = intent
		}
		a = m.Decide(q).Action
		m.decided[key] = a
	}
	return a
}

// mayAsk asks the gate whether a requester may call Glacier. The question has the values
// that the requester read from the job.
func (m *Model) mayAsk(r *Requester, stands bool) gate.Action {
	key := entitlement{stands, r.Ordered, r.Tries, r.Failed, r.Expired}
	a, ok := m.entitled[key]
	if !ok {
		a = m.Entitled(gate.Question{
			Job:     archive.Job{ArchiveID: "a", Ordered: r.Ordered, History: history(r.Tries, r.Failed, r.Expired)},
			Account: account(premium, 1, stands), Tiers: tiers, Now: epoch,
		}).Action
		m.entitled[key] = a
	}
	return a
}

// isSpent asks whether the archive's tries are used up.
func (m *Model) isSpent(s *State) bool {
	key := [3]uint8{s.Tries, s.Failed, s.Expired}
	spent, ok := m.spent[key]
	if !ok {
		cause, _ := m.Spent(history(key[0], key[1], key[2]))
		spent = cause != ""
		m.spent[key] = spent
	}
	return spent
}

func (m *Model) retry(kind fault.Kind, tier uint8) thaw.Retry {
	key := asked{kind, tier}
	r, ok := m.retries[key]
	if !ok {
		r = m.Retry(kind, tiers[tier])
		m.retries[key] = r
	}
	return r
}

// emit takes the state after a step. A fault is a step too, but no right end may depend on
// it.
type emit func(label string, how how, n State)

// how says whether a step is a fault.
type how uint8

const (
	plain how = iota
	// unseen: the step took effect, but its process died or saw an error.
	unseen
	// byChance: a fault, or an action of a person.
	byChance
)

// steps emits every state that can follow s.
func (m *Model) steps(s *State, emit emit) {
	for i := range m.Requesters {
		m.requester(s, i, emit)
	}
	for i := range m.Restorers {
		m.restorer(s, i, emit)
	}
	for i := range m.Planners {
		m.planner(s, i, emit)
	}
	m.sweep(s, emit)
	m.site(s, emit)
	m.people(s, emit)
	m.glacier(s, emit)
	m.network(s, emit)
}

// back puts a message back: its worker gave it back, or died.
func (s *State) back(m Msg) {
	if m.Kind != none {
		s.put(m)
	}
}
