// Package gate decides whether an archive may be asked for: the one place that every
// retrieval passes before it costs money, whoever wants it (a plan, a retrieval that
// failed or expired, a sweep, a replay, an operator). It does no I/O.
package gate

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Question is what is known of an archive when somebody wants it.
type Question struct {
	// Job is the job with its history, Account its owner's with the plan that stands:
	// both as the catalog has them now.
	Job      archive.Job
	Account  archive.Account
	Switches archive.Switches
	// Tiers is the order in which tiers are tried.
	Tiers archive.Tiers
	Now   time.Time
}

// Action is what the gate says.
type Action string

// The actions.
const (
	// Ask: it may be asked for now, in the answer's tiers.
	Ask Action = "ask"
	// Adopt: somebody announced a request and did not tell its end. What Glacier has
	// of it is paid for, and comes before every other question.
	Adopt Action = "adopt"
	// Done: there is nothing to ask for.
	Done Action = "done"
	// OnItsWay: it was asked for.
	OnItsWay Action = "on its way"
	// Drop: nobody is entitled to it. If somebody is again, a plan asks again.
	Drop Action = "drop"
	// Later: not before the answer's time has passed.
	Later Action = "later"
	// Operator: only an operator can let it go on.
	Operator Action = "operator"
)

// Answer is the gate's answer.
type Answer struct {
	Action Action
	// Tiers are those that may be asked for, in their order; set with Ask.
	Tiers archive.Tiers
	// After is the time to wait; set with Later.
	After time.Duration
	// Cause names what has to be mended, the same each time; set with Operator.
	Cause string
	// Why is a sentence.
	Why string
}

// lookAgain is how long something waits of which an operator stopped every tier.
const lookAgain = time.Minute

// Decide answers the question. The order of its checks is the order of the promises:
// what is paid for comes back, then nothing is asked for that nobody may have, then
// nothing without bound.
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

// Entitled answers for an archive that is neither on its way nor announced.
func Entitled(q Question) Answer {
	switch plan := q.Account.Plan; {
	case q.Job.Ordered:
	case plan == nil:
		return Answer{Action: Drop, Why: "no plan of the user's stands"}
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
	open := q.Switches.Open(q.Tiers)
	if len(open) == 0 {
		return Answer{Action: Later, After: lookAgain, Why: "an operator stopped every tier of the order"}
	}
	return Answer{Action: Ask, Tiers: open}
}
