package thaw

import (
	"context"
	"iter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an event; it is stored before the handled message is acked.
type Emit = func(context.Context, events.Event) error

// Accounts finds users.
type Accounts interface {
	// Account returns the user's account, or an error of kind NotFound.
	Account(context.Context, events.UserID) (archive.Account, error)
}

// Plans changes the plan that stands on an account. An error of kind Conflict says
// that another one stands there, or none.
type Plans interface {
	// OpenPlan puts a plan on the account, if the account is as it was read. A plan that
	// is over is an error of kind Invalid.
	OpenPlan(context.Context, archive.Account, archive.Plan) error
	// HoldPlan stops the plan until the time, or until an operator approves it.
	HoldPlan(ctx context.Context, user events.UserID, plan, why string, until time.Time) error
	// ResumePlan lets it go on. approved is what it may cost whatever the budgets say;
	// zero leaves what was approved before.
	ResumePlan(ctx context.Context, user events.UserID, plan string, approved archive.MicroUSD, due time.Time) error
}

// Budgets knows what was spent, and spends.
type Budgets interface {
	// Spent returns what was entered for a day of UTC: by all, and by the user.
	Spent(ctx context.Context, day string, user events.UserID) (all, ofUser archive.MicroUSD, err error)
	// Spend enters what a retrieval may cost. refused is a sentence if a limit does not
	// allow it; then nothing is entered.
	Spend(context.Context, archive.Spending) (refused string, err error)
	// Return gives back what was entered and not spent.
	Return(context.Context, archive.Spending) error
}

// Switches tells what operators have stopped.
type Switches interface {
	Switches(context.Context) (archive.Switches, error)
}

// ArchivedJobs lists what a user has in the vault.
type ArchivedJobs interface {
	// ArchivedPage returns some of the user's jobs that have an archive, those
	// behind cursor, and the cursor of the next page; both are empty at the ends. It
	// may be behind the catalog by seconds. A cursor that was not made by it is an
	// error of kind Invalid.
	ArchivedPage(ctx context.Context, user events.UserID, cursor string) (jobs []archive.Job, next string, err error)
}

// Tasks takes what a plan consists of.
type Tasks interface {
	// Publish returns when all events are stored; the error's kind is Throttled if
	// there is no room for them now. It may have stored some.
	Publish(context.Context, []events.Event) error
	// Outstanding returns how many tasks of the user are not done yet; it need not count
	// beyond most.
	Outstanding(ctx context.Context, user events.UserID, most int) (int, error)
}

// Catalog is what the requester reads and writes of a job. Every write is
// conditional, and an error of kind Conflict says that the condition did not
// hold.
type Catalog interface {
	// Job returns the job as it is now, or an error of kind NotFound.
	Job(context.Context, events.JobID) (archive.Job, error)
	// SaveIntent writes intent, if the job still has its archive, no retrieval,
	// and the intent that job has.
	SaveIntent(ctx context.Context, job archive.Job, intent archive.Intent) error
	// DropIntent removes the intent, if it is still this one.
	DropIntent(ctx context.Context, job archive.Job, intent archive.Intent) error
	// SaveRetrieval writes the retrieval's id, tier and time, adds its cost to the
	// job's bill, and removes the intent, if the job still has its archive, no
	// retrieval, and this intent.
	SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error
}

// Vault is what the requester does with Glacier.
type Vault interface {
	// Retrieve asks for the archive to be retrieved in the tier, once: it must
	// not be tried again inside. job goes into the retrieval's description. The
	// error's kind is what [RetryTable] goes by.
	Retrieve(ctx context.Context, id events.ArchiveID, job events.JobID, tier archive.Tier) (events.RetrievalID, error)
	// Retrievals yields the retrievals that Glacier knows, finished ones too.
	Retrievals(context.Context) iter.Seq2[archive.Retrieval, error]
	// Describe returns one of them.
	Describe(context.Context, events.RetrievalID) (archive.Retrieval, error)
}
