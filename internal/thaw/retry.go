package thaw

import (
	"slices"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// Action is the worker's answer to a failed request.
type Action int

// The actions.
const (
	// LookUp: nobody knows whether Glacier took the request. The intent stays, and the next
	// worker first searches Glacier's list for the retrieval.
	LookUp Action = iota
	// NextTier: ask again at once, in the next tier of the order; [Later] if there is none.
	NextTier
	// ToBulk: ask again at once in Bulk, if Bulk comes later in the order; else [Later].
	ToBulk
	// Later: the task goes back, and the bus delivers it again.
	Later
	// DeadLetter: the archive can never be requested.
	DeadLetter
)

// String returns the action's name.
func (a Action) String() string {
	return [...]string{"look up", "next tier", "to bulk", "later", "dead letter"}[a]
}

// Retry is one row of the table. It has the action for an error of a kind in a tier.
type Retry struct {
	Kind fault.Kind
	// Tier is the tier of the request; empty is any.
	Tier   archive.Tier
	Action Action
	// Rest begins a rest of Expedited. Slow slows every worker down.
	Rest, Slow bool
	// Hold holds the plan if Glacier has answered every request of all workers like this for
	// a while.
	Hold bool
	// Returns is the kind of the error that the bus gets if the worker does not ask again at
	// once. The bus's own table says when the task comes back, and when the bus gives it up.
	Returns fault.Kind
	Why     string
}

// Refused reports whether Glacier answered and did not take the request. Then the worker
// removes the intent, and the next try need not wait until the intent is old.
func (r Retry) Refused() bool { return r.Action != LookUp }

// RetryTable has the action for each error of InitiateJob. The first row that fits counts.
// If the kind of an error has no row, nobody knows whether Glacier took the request.
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
		{Kind: fault.Denied, Action: Later, Hold: true, Returns: fault.Denied,
			Why: "a credential, a policy, the vault's name or the topic is wrong, or the account may not use vaults: an operator has to fix it, and the bus tries slowly; if it lasts, the plan waits, and tries a few archives each hour"},
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

// Next returns the tier in which the worker asks again at once, in an order of tiers. ok is
// false if there is no such tier. Then the task goes back.
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
