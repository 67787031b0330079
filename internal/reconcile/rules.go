package reconcile

import (
	"cmp"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Finding says what is wrong with an archive on its way through the pipeline.
type Finding string

// The findings.
const (
	// InOrder: nothing is overdue, or a message about it exists.
	InOrder Finding = "in order"
	// Unplanned: the archive's owner has a plan, and no message asks for the archive. The
	// plan's message or the archive's task was lost.
	Unplanned Finding = "unplanned"
	// Planless: the archive's owner is Premium and has no plan. Another system wrote the role,
	// and the message of that system was lost.
	Planless Finding = "without a plan"
	// Stopped: a dead letter says that an operator has to fix something.
	Stopped Finding = "stopped"
	// Interrupted: the archive's task is gone. A worker wrote an intent and died, or an
	// operator ordered the archive.
	Interrupted Finding = "interrupted"
	// Unheard: Glacier finished the retrieval, and the notification was lost.
	Unheard Finding = "unheard"
	// Forgotten: Glacier does not know the retrieval any more. The output expired.
	Forgotten Finding = "forgotten"
	// Late: Glacier takes more than twice the longest time of the tier.
	Late Finding = "late"
	// LeftBehind: another program removed the archive from the catalog, and our entries about
	// an intent, an order or a retrieval are left.
	LeftBehind Finding = "left behind"
	// Mistold: the file is back, and the last status that its user was told says otherwise. A
	// sweep looks for this when it closes the user's plan.
	Mistold Finding = "mistold"
)

// Findings returns all findings.
func Findings() (all []Finding) {
	for _, r := range Rules() {
		all = append(all, r.Finding)
	}
	return all
}

// Actions returns all actions.
func Actions() []Action {
	return []Action{Leave, Plan, Ask, Complete, GiveBack, OnceADay, Flag, Clear, Tell}
}

// Action is a sweep's answer to a finding.
type Action string

// The actions.
const (
	// Leave does nothing.
	Leave Action = "leave"
	// Plan publishes the plan's message again. The planner looks at the budgets.
	Plan Action = "plan"
	// Ask publishes the lost task again. The requester looks at Glacier's list first.
	Ask Action = "ask"
	// Complete publishes the lost notification again, with Glacier's answer.
	Complete Action = "complete"
	// GiveBack publishes a notification that the retrieval failed. The restorer asks again.
	GiveBack Action = "give back"
	// OnceADay takes the action that the archive would get without the dead letter, and takes
	// it once a day.
	OnceADay Action = "once a day"
	// Flag tells the operator.
	Flag Action = "flag"
	// Clear removes our entries about work under way from the catalog.
	Clear Action = "clear"
	// Tell publishes the status "restored".
	Tell Action = "tell"
)

// Rule is a row of the table. It has the action for a finding.
type Rule struct {
	Finding Finding
	Action  Action
	Why     string
}

// Rules is the table of everything that a sweep does. A sweep decides nothing about a file.
// An action publishes a message of the pipeline, and a message that comes twice does no harm
// there. Only Clear writes to the catalog itself: no message can name an archive that the
// catalog and Glacier have forgotten.
func Rules() []Rule {
	return []Rule{
		{InOrder, Leave, "nothing is overdue, or a message about it is in a stream"},
		{Unplanned, Plan, "the user paid; to carry out a plan twice does no harm, and the budgets hold"},
		{Planless, Plan, "the user paid, whichever system wrote the role; the plan is opened first"},
		{Stopped, OnceADay, "an operator may have fixed the cause; a second dead letter for the cause is not written"},
		{Interrupted, Ask, "the retrieval may exist: the requester looks for it before it pays again"},
		{Unheard, Complete, "a notification is a hint; the restorer asks the catalog and Glacier in any case"},
		{Forgotten, GiveBack, "an output lives for a day; the restorer takes the retrieval back and asks anew"},
		{Late, Flag, "we know nothing that would help, and a second retrieval costs money"},
		{LeftBehind, Clear, "the job has no archive, so nothing is under way; the site would say for ever that the file is being restored"},
		{Mistold, Tell, "the catalog says that the file is back, and nobody else will tell"},
	}
}

// Act returns the action for f.
func Act(f Finding) Action {
	for _, r := range Rules() {
		if r.Finding == f {
			return r.Action
		}
	}
	return Flag // no rule covers it: an operator has to look
}

// late reports whether Glacier has taken more than twice the longest time of the tier. late
// takes the tier from Glacier, or from the catalog if Glacier does not name one. An unknown
// tier is an error. S3 names no tier for a copy that somebody else requested: then it is the
// slowest.
func late(r archive.Retrieval, job archive.Job, now time.Time) (bool, error) {
	tier := cmp.Or(r.Tier, job.Tier)
	if tier == "" && !job.Copy.InVault() {
		return now.After(job.RetrievalRequestedAt.Add(2 * job.Copy.Class.Longest(""))), nil
	}
	_, longest, err := job.Copy.Class.Typically(tier)
	return err == nil && now.After(job.RetrievalRequestedAt.Add(2*longest)), err
}
