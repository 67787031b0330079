package reconcile

import (
	"cmp"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Finding is what a look at the catalog, the streams and Glacier says of an archive.
type Finding string

// The findings.
const (
	// InOrder: nothing is due, or a message that will see to it is on its way.
	InOrder Finding = "in order"
	// Unplanned: a plan of its owner stands, and nobody is about to ask for it: the plan's
	// message was lost, or its task.
	Unplanned Finding = "unplanned"
	// Planless: its owner is Premium, and no plan stands: another system wrote the role,
	// and its message was lost.
	Planless Finding = "without a plan"
	// Stopped: only an operator can let it go on, and a dead letter says so.
	Stopped Finding = "stopped"
	// Interrupted: a worker announced a request and never came back, and its task is
	// gone.
	Interrupted Finding = "interrupted"
	// Unheard: Glacier finished the retrieval, well or badly, and its notice was
	// lost; or the work on it was.
	Unheard Finding = "unheard"
	// Forgotten: Glacier does not know the retrieval any more, its output expired.
	Forgotten Finding = "forgotten"
	// Late: Glacier takes more than twice as long as the tier's longest.
	Late Finding = "late"
)

// Action is what is done about a finding.
type Action string

// The actions.
const (
	// Leave does nothing.
	Leave Action = "leave"
	// Plan announces the upgrade again: budgets, entitlement and order are the plan's.
	Plan Action = "plan"
	// Ask makes the lost task again: whoever gets it looks at Glacier's list first.
	Ask Action = "ask"
	// Complete makes the notice that was lost, out of what Glacier says.
	Complete Action = "complete"
	// GiveBack makes the notice of a failed retrieval: the archive is asked for anew.
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

// Rules is the whole of what a sweep does. None of it decides anything about a
// file: each action is a message that the pipeline has anyway, and takes twice
// without harm.
func Rules() []Rule {
	return []Rule{
		{InOrder, Leave, "it is not due, or its message is in a stream and comes again by itself"},
		{Unplanned, Plan, "the user paid; a plan is idempotent, and holds to the budgets"},
		{Planless, Plan, "the user paid, whoever wrote it; the plan is opened first"},
		{Stopped, Leave, "a second letter would say the same; the archive is looked at once a day all the same, see longestPause"},
		{Interrupted, Ask, "the retrieval may exist: the requester looks for it before it pays again"},
		{Unheard, Complete, "a notice is a hint; the restorer asks the catalog and Glacier in any case"},
		{Forgotten, GiveBack, "an output lives for a day; the restorer takes the retrieval back and asks anew"},
		{Late, Flag, "nothing that we could do is known to help, and a second retrieval costs"},
	}
}

// Act returns what is done about f.
func Act(f Finding) Action {
	for _, r := range Rules() {
		if r.Finding == f {
			return r.Action
		}
	}
	return Flag // what no rule covers is an operator's
}

// late reports whether Glacier has taken more than twice the longest time of the tier. The
// tier is Glacier's word, or the catalog's if Glacier does not say it. An unknown tier is an
// error.
func late(r archive.Retrieval, job archive.Job, now time.Time) (bool, error) {
	_, longest, err := cmp.Or(r.Tier, job.Tier).Typically()
	return err == nil && now.After(job.RetrievalRequestedAt.Add(2*longest)), err
}
