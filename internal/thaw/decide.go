package thaw

import (
	"slices"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// Action is what is done about a request that Glacier did not take.
type Action int

// The actions.
const (
	// Look: it is not known whether Glacier took the request. The intent stays, and
	// whoever has the task next looks at Glacier's list of jobs first.
	Look Action = iota
	// NextTier: ask again at once, in the next tier of the order; [Later] if there
	// is none.
	NextTier
	// ToBulk: ask again at once in Bulk, if it comes later in the order; [Later] if
	// it does not.
	ToBulk
	// Later: the archive is back to planned, and its task comes again by itself.
	Later
	// Bury: it can never be requested; the task becomes a dead letter.
	Bury
	// Attend: an operator has to mend something. The task is tried again, slowly,
	// and becomes a dead letter in the end.
	Attend
)

// String returns the action's name.
func (a Action) String() string {
	return [...]string{"look", "next tier", "to bulk", "later", "bury", "attend"}[a]
}

// Ruling is one row of the table: what is done about an error of a kind in a tier.
type Ruling struct {
	Kind fault.Kind
	// Tier is the tier that was asked for; empty is any.
	Tier   archive.Tier
	Action Action
	// Refused says that Glacier answered and took nothing: the intent is dropped,
	// and the next try need not wait for its age.
	Refused bool
	// Rest leaves Expedited alone for a while, Slow slows every worker down.
	Rest, Slow bool
	// Returns is the kind that the bus gets when the task is not asked for again at
	// once: its table says when the task comes back, and when it is given up.
	Returns fault.Kind
	Why     string
}

// Rulings is the whole of what is decided after an error of InitiateJob. The
// first row that fits counts; a kind without a row is taken for not known.
func Rulings() []Ruling {
	return []Ruling{
		{Kind: fault.Capacity, Tier: archive.Expedited, Action: NextTier, Refused: true, Rest: true, Returns: fault.Capacity,
			Why: "no Expedited capacity: the next tier has some, and Expedited is left alone for a while"},
		{Kind: fault.Capacity, Action: NextTier, Refused: true, Returns: fault.Capacity,
			Why: "AWS tells of this for Expedited only; should another tier say it, it means the same"},
		{Kind: fault.Policy, Tier: archive.Bulk, Action: Later, Refused: true, Returns: fault.Policy,
			Why: "the vault's retrieval policy allows no more now: it counts by the hour or the month"},
		{Kind: fault.Policy, Action: ToBulk, Refused: true, Returns: fault.Policy,
			Why: "a retrieval policy limits Standard; Bulk is outside of it, and may be used if the order has it"},
		{Kind: fault.Throttled, Action: Later, Refused: true, Slow: true, Returns: fault.Throttled,
			Why: "too many calls: another tier is another call, so all workers slow down instead"},
		{Kind: fault.Denied, Action: Attend, Refused: true, Returns: fault.Denied,
			Why: "a credential, a policy, the vault's name or the topic is wrong: the same for every archive, and no archive's fault"},
		{Kind: fault.NotFound, Action: Bury, Refused: true, Returns: fault.Invalid,
			Why: "the vault is there and has no such archive"},
		{Kind: fault.Invalid, Action: Bury, Refused: true, Returns: fault.Invalid,
			Why: "proven to be hopeless"},
		{Kind: fault.Transient, Action: Look, Returns: fault.Transient,
			Why: "a time-out, a cut connection or a 5xx says nothing about whether the request was taken"},
		{Kind: fault.Unknown, Action: Look, Returns: fault.Unknown,
			Why: "nobody knows what this is, so the worst is assumed: that the request was taken"},
	}
}

// Decide returns the ruling for an error of the kind in the tier.
func Decide(kind fault.Kind, tier archive.Tier) Ruling {
	for _, r := range Rulings() {
		if r.Kind == kind && (r.Tier == "" || r.Tier == tier) {
			return r
		}
	}
	return Ruling{Kind: kind, Action: Look, Returns: kind, Why: "not an answer of Glacier's"}
}

// Next returns the tier to ask for at once after the ruling, in an order of
// tiers; ok is false if there is none and the task goes back.
func (r Ruling) Next(order archive.Tiers, from archive.Tier) (next archive.Tier, ok bool) {
	switch r.Action {
	case NextTier:
		return order.After(from)
	case ToBulk:
		at, bulk := slices.Index(order, from), slices.Index(order, archive.Bulk)
		return archive.Bulk, at >= 0 && bulk > at
	}
	return "", false
}
