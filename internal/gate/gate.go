// Package gate decides whether an archive may be requested. Every request passes the gate
// before it costs money, no matter who wants the archive: a plan, the restorer after a
// failed or expired retrieval, a sweep, a replay, or an operator. The gate does no I/O.
package gate

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Question has the facts about an archive that somebody wants.
type Question struct {
	// Job is the job with its history. Account is the owner's account with the plan, if
	// there is one. Both are as the catalog has them now.
	Job      archive.Job
	Account  archive.Account
	Switches archive.Switches
	// Tiers is the order in which tiers are tried.
	Tiers archive.Tiers
	Now   time.Time
}

// Action says what the caller must do with the archive.
type Action string

// The actions.
const (
	// Ask: the archive may be requested now, in the answer's tiers.
	Ask Action = "ask"
	// Adopt: the job has an intent, so Glacier may have a retrieval already. That retrieval
	// would be paid for. So the caller looks for it before anything else is decided.
	Adopt Action = "adopt"
	// Done: there is nothing to request.
	Done Action = "done"
	// OnItsWay: the archive was requested.
	OnItsWay Action = "on its way"
	// Drop: nobody is entitled to the archive. A later plan of its owner asks again.
	Drop Action = "drop"
	// Later: the archive may be requested after the answer's time.
	Later Action = "later"
	// Operator: an operator has to allow another try.
	Operator Action = "operator"
)

// Answer is the gate's answer.
type Answer struct {
	Action Action
	// Tiers are the tiers in which the archive may be requested, in their order. Ask sets
	// it.
	Tiers archive.Tiers
	// After is the time to wait. Later sets it.
	After time.Duration
	// Cause names what an operator must fix, in the same words each time. Operator sets it.
	Cause string
	// Why is the reason, in one sentence.
	Why string
}

// lookAgain is how long an archive waits if an operator stopped every tier of the order.
const lookAgain = time.Minute

// Decide answers the question. It checks three rules in this order. A retrieval that is paid
// for comes back. An archive is requested only for somebody who is entitled to it. The
// number of tries is bounded.
func Decide(q Question) Answer {
	job := q.Job
	switch {
	case job.ArchiveID == "":
		return Answer{Action: Done, Why: "the file is not archived"}
	case job.RetrievalID != "":
		return Answer{Action: OnItsWay, Why: "the retrieval is on its way"}
	case job.Intent != nil:
		return Answer{Action: Adopt, Why: "a request was announced, and its end is not known"}
	}
	return Entitled(q)
}

// Entitled answers the question about an archive that has no retrieval and no intent.
func Entitled(q Question) Answer {
	switch plan := q.Account.Plan; {
	case q.Job.Ordered:
	case plan == nil:
		return Answer{Action: Drop, Why: "the user has no plan"}
	case plan.State != archive.PlanOpen:
		return Answer{Action: Drop, Why: "the user's plan is held: " + plan.HeldBy}
	}
	if hold, ok := q.Switches.Of(q.Account.ID); ok {
		return Answer{Action: Later, After: hold.LookAgain(q.Now), Why: "an operator stopped it: " + hold.Reason}
	}
	if cause, why := q.Job.History.Spent(); cause != "" {
		return Answer{Action: Operator, Cause: cause, Why: why}
	}
	if wait := q.Job.History.NotBefore.Sub(q.Now); wait > 0 {
		return Answer{Action: Later, After: min(wait, archive.LongestPause), Why: fmt.Sprintf("an earlier retrieval came to nothing: it is left alone for %s", wait.Round(time.Second))}
	}
	open := q.Switches.Open(q.Tiers.In(q.Job.Copy.Class))
	if len(open) == 0 {
		return Answer{Action: Later, After: lookAgain, Why: "an operator stopped every tier of the order"}
	}
	return Answer{Action: Ask, Tiers: open}
}
