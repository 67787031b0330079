package thaw

import (
	"context"
	"iter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an event. The event is stored before the handled message is acked.
type Emit = func(context.Context, events.Event) error

// Accounts finds users.
type Accounts interface {
	// Account returns the user's account, or an error of kind NotFound.
	Account(context.Context, events.UserID) (archive.Account, error)
}

// Plans changes the plan on an account. An error of kind Conflict says that the account has
// another plan, or none.
type Plans interface {
	// OpenPlan puts a plan on the account, if the account did not change since it was read.
	// An error of kind Invalid says that the plan is over.
	OpenPlan(context.Context, archive.Account, archive.Plan) error
	// HoldPlan stops the plan until the time, or until an operator approves it.
	HoldPlan(ctx context.Context, user events.UserID, plan, why string, until time.Time) error
	// ResumePlan lets the plan go on. approved is an amount that the plan may cost even if it
	// exceeds a limit; zero leaves the amount that was approved before.
	ResumePlan(ctx context.Context, user events.UserID, plan string, approved archive.MicroUSD, due time.Time) error
}

// Budgets has the spending of each day.
type Budgets interface {
	// Spent returns the amounts that were entered for a day of UTC: for all users, and for
	// this user.
	Spent(ctx context.Context, day string, user events.UserID) (all, ofUser archive.MicroUSD, err error)
	// Spend enters the amount that a retrieval may cost. If a limit does not allow the
	// amount, Spend enters nothing, and refused gives the reason in a sentence.
	Spend(context.Context, archive.Spending) (refused string, err error)
	// Return takes back an amount that was entered and not spent.
	Return(context.Context, archive.Spending) error
}

// Switches has the stops of the operators.
type Switches interface {
	Switches(context.Context) (archive.Switches, error)
}

// ArchivedJobs lists the archives of a user.
type ArchivedJobs interface {
	// ArchivedPage returns a page of the user's jobs that have an archive. The page begins at
	// cursor, or at the first job if cursor is empty. next is the cursor of the next page;
	// empty at the end. The page may be behind the catalog by seconds. A cursor that
	// ArchivedPage did not make is an error of kind Invalid.
	ArchivedPage(ctx context.Context, user events.UserID, cursor string) (jobs []archive.Job, next string, err error)
}

// Tasks publishes the tasks of a plan.
type Tasks interface {
	// Publish returns when all events are stored. If the stream has no room now, the error
	// is of kind Throttled, and some events may be stored.
	Publish(context.Context, []events.Event) error
	// Outstanding returns how many tasks of the user are not done yet. It stops counting at
	// most.
	Outstanding(ctx context.Context, user events.UserID, most int) (int, error)
}

// Catalog reads and writes jobs for the requester. Every write has a condition. An error of
// kind Conflict says that the condition did not hold.
type Catalog interface {
	// Job returns the job as it is now, or an error of kind NotFound.
	Job(context.Context, events.JobID) (archive.Job, error)
	// SaveIntent writes the intent. Condition: the job in the catalog has the archive and the
	// intent of the given job, and no retrieval.
	SaveIntent(ctx context.Context, job archive.Job, intent archive.Intent) error
	// DropIntent removes the intent, if it is still this one.
	DropIntent(ctx context.Context, job archive.Job, intent archive.Intent) error
	// ClearLeftovers removes what the pipeline wrote about work under way. Condition: the job
	// in the catalog has no archive, and the retrieval of the given job.
	ClearLeftovers(context.Context, archive.Job) error
	// SaveRetrieval writes the retrieval's id, tier and time, adds its cost to the job's bill,
	// and removes the intent. Condition: the job in the catalog has the archive, this intent,
	// and no retrieval.
	SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error
}

// Completions publishes completions of retrievals.
type Completions interface {
	Publish(context.Context, events.Event) error
}

// Vault makes the requester's calls to Glacier.
type Vault interface {
	// Retrieve requests the job's archive in the tier, with one request that it does not
	// repeat. The job has an intent. If the archive can be read already, or is on its way in
	// any tier, Retrieve of an S3 class requests nothing. [RetryTable] has a row for the kind
	// of each error.
	Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error)
	// Retrievals yields the retrievals of the jobs that the stores list, finished ones too. It
	// may yield others as well. It calls turn before each call; nil for none.
	Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error]
	// Describe returns the retrieval that the job names.
	Describe(context.Context, archive.Job) (archive.Retrieval, error)
}
