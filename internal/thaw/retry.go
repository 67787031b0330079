package thaw

import (
	"slices"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// Action is what is done about a request that failed.
type Action int

// The actions.
const (
	// LookUp: nobody knows whether Glacier took the request. The intent stays, and the next
	// worker looks first whether Glacier has the retrieval.
	LookUp Action = iota
	// NextTier: ask again at once, in the next tier of the order; [Later] if there is none.
	NextTier
	// ToBulk: ask again at once in Bulk, if it comes later in the order; else [Later].
	ToBulk
	// Later: the task goes back, and comes again by itself.
	Later
	// DeadLetter: the archive can never be requested.
	DeadLetter
)

// String returns the action's name.
func (a Action) String() string {
	return [...]string{"look up", "next tier", "to bulk", "later", "dead letter"}[a]
}

// Retry is one row of the table: what is done about an error of a kind in a tier.
type Retry struct {
	Kind fault.Kind
	// Tier is the tier that was asked for; empty is any.
	Tier   archive.Tier
	Action Action
	// Rest leaves Expedited alone for a while, Slow slows every worker down.
	Rest, Slow bool
	// Returns is the kind of error that the bus gets if the task is not asked for again at
	// once. The bus's own table says when the task comes back, and when it is given up.
	Returns fault.Kind
	Why     string
}

// Refused reports whether Glacier answered and took nothing. Then the intent is removed,
// and the next try need not wait until the intent is old.
func (r Retry) Refused() bool { return r.Action != LookUp }

// RetryTable says what follows on each error of InitiateJob. The first row that fits
// counts. A kind without a row is one of which nobody knows whether Glacier took the request.
func RetryTable() []Retry {
	return []Retry{
		{Kind: fault.Capacity, Tier: archive.Expedited, Action: NextTier, Rest: true, Returns: fault.Capacity,
			Why: "no Expedited capacity: the next tier has some, and Expedited is left alone for a while"},
		{Kind: fault.Capacity, Action: NextTier, Returns: fault.Capacity,
			Why: "AWS documents this for Expedited only; if another tier answers it, it means the same"},
		{Kind: fault.Policy, Tier: archive.Bulk, Action: Later, Returns: fault.Policy,
			Why: "the vault's retrieval policy allows no more now: it counts by the hour or the month"},
		{Kind: fault.Policy, Action: ToBulk, Returns: fault.Policy,
			Why: "a retrieval policy limits Standard and Expedited, not Bulk: Bulk may be used if the order has it"},
		{Kind: fault.Throttled, Action: Later, Slow: true, Returns: fault.Throttled,
			Why: "too many calls: another tier is another call, so all workers slow down instead"},
		{Kind: fault.Denied, Action: Later, Returns: fault.Denied,
			Why: "a credential, a policy, the vault's name or the topic is wrong: an operator has to mend it, and the bus tries slowly"},
		{Kind: fault.NotFound, Action: DeadLetter, Returns: fault.Invalid,
			Why: "the vault is there and has no such archive"},
		{Kind: fault.Invalid, Action: DeadLetter, Returns: fault.Invalid,
			Why: "Glacier will never take this request"},
		{Kind: fault.Transient, Action: LookUp, Returns: fault.Transient,
			Why: "a time-out, a cut connection or a 5xx does not say whether the request was taken"},
		{Kind: fault.Unknown, Action: LookUp, Returns: fault.Unknown,
			Why: "nobody knows this error, so the worst is assumed: the request was taken"},
	}
}

// RetryOf returns the row for an error of the kind in the tier.
func RetryOf(kind fault.Kind, tier archive.Tier) Retry {
	for _, r := range RetryTable() {
		if r.Kind == kind && (r.Tier == "" || r.Tier == tier) {
			return r
		}
	}
	return Retry{Kind: kind, Action: LookUp, Returns: kind, Why: "this is no answer of Glacier"}
}

// Next returns the tier to ask for at once, in an order of tiers. ok is false if there is
// none; then the task goes back.
func (r Retry) Next(order archive.Tiers, from archive.Tier) (next archive.Tier, ok bool) {
	switch r.Action {
	case NextTier:
		return order.After(from)
	case ToBulk:
		at, bulk := slices.Index(order, from), slices.Index(order, archive.Bulk)
		return archive.Bulk, at >= 0 && bulk > at
	}
	return "", false
}
