package reconcile

import (
	"cmp"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Finding says what is wrong with the way of an archive through the pipeline.
type Finding string

// The findings.
const (
	// InOrder: nothing is overdue, or a message about it exists.
	InOrder Finding = "in order"
	// Unplanned: its owner has a plan, and no message asks for the archive. The plan's message
	// was lost, or the archive's task.
	Unplanned Finding = "unplanned"
	// Planless: its owner is Premium and has no plan. Another system wrote the role, and its
	// message was lost.
	Planless Finding = "without a plan"
	// Stopped: a dead letter says that an operator has to mend something.
	Stopped Finding = "stopped"
	// Interrupted: a worker wrote an intent and died, or an operator ordered the archive, and
	// the task is gone.
	Interrupted Finding = "interrupted"
	// Unheard: Glacier finished the retrieval, and its notice was lost.
	Unheard Finding = "unheard"
	// Forgotten: Glacier does not know the retrieval any more. Its output expired.
	Forgotten Finding = "forgotten"
	// Late: Glacier takes more than twice the longest time of the tier.
	Late Finding = "late"
)

// Action is what is done about a finding.
type Action string

// The actions.
const (
	// Leave does nothing.
	Leave Action = "leave"
	// Plan publishes the plan's message again. The planner looks at the budgets.
	Plan Action = "plan"
	// Ask publishes the lost task again. The requester looks at Glacier's list first.
	Ask Action = "ask"
	// Complete publishes the lost notice again, with what Glacier says.
	Complete Action = "complete"
	// GiveBack publishes a notice that the retrieval failed. The restorer asks again.
	GiveBack Action = "give back"
	// Flag tells the operator.
	Flag Action = "flag"
)

// Rule is a row of the table: what is done about a finding.
type Rule struct {
	Finding Finding
	Action  Action
	Why     string
}

// Rules is the table of all that a sweep does. A sweep decides nothing about a file: each
// action publishes a message of the pipeline, and the pipeline takes each message twice
// without harm.
func Rules() []Rule {
	return []Rule{
		{InOrder, Leave, "nothing is overdue, or a message about it is in a stream"},
		{Unplanned, Plan, "the user paid; to carry out a plan twice does no harm, and the budgets hold"},
		{Planless, Plan, "the user paid, whichever system wrote the role; the plan is opened first"},
		{Stopped, Leave, "a second dead letter would say the same; a sweep tries again once a day, see longestPause"},
		{Interrupted, Ask, "the retrieval may exist: the requester looks for it before it pays again"},
		{Unheard, Complete, "a notice is a hint; the restorer asks the catalog and Glacier in any case"},
		{Forgotten, GiveBack, "an output lives for a day; the restorer takes the retrieval back and asks anew"},
		{Late, Flag, "we know nothing that would help, and a second retrieval costs money"},
	}
}

// Act returns what is done about f.
func Act(f Finding) Action {
	for _, r := range Rules() {
		if r.Finding == f {
			return r.Action
		}
	}
	return Flag // no rule covers it: an operator has to look
}

// late reports whether Glacier has taken more than twice the longest time of the tier. The
// tier is Glacier's word, or the catalog's if Glacier does not say it. An unknown tier is an
// error.
func late(r archive.Retrieval, job archive.Job, now time.Time) (bool, error) {
	_, longest, err := cmp.Or(r.Tier, job.Tier).Typically()
	return err == nil && now.After(job.RetrievalRequestedAt.Add(2*longest)), err
}
