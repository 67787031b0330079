// Package thaw asks Glacier for the archives of users who became Premium: the
// [Planner] turns a user into one task per archived job, the [Requester] turns
// a task into one retrieval.
package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an event; it is stored before the handled message is acked.
type Emit = func(context.Context, events.Event) error

// Accounts finds users.
type Accounts interface {
	// Account returns the user's account, or an error of kind NotFound.
	Account(context.Context, events.UserID) (archive.Account, error)
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
}

// Planner turns a user who became Premium into one task per archived job.
type Planner struct {
	Accounts Accounts
	Jobs     ArchivedJobs
	Tasks    Tasks
	// Plans keeps how far plans are, and how they ended. Without it, or while it
	// cannot be reached, a plan that is interrupted begins anew.
	Plans Notes
	// Holds keeps the plans that wait for an operator's word. A plan that is over
	// budget is not acked before it is there.
	Holds Notes
	// Budget is what plans may cost; the zero Budget has no limit.
	Budget Budget
	// Tiers, Prices and AssumedSize, of an archive whose size is not known, tell
	// what a plan costs at the most.
	Tiers       archive.Tiers
	Prices      cost.Prices
	AssumedSize int64
	Now         func() time.Time
	Log         *slog.Logger
	// OnPlan is told how each plan ended; it may be nil.
	OnPlan func(Outcome)
}

// fullWait is after how long a plan goes on for which there was no room.
const fullWait = 10 * time.Second

// Plan publishes one [events.ThawRequested] for each of the user's archived jobs
// that is not being retrieved yet. Run twice, it publishes the same ids; run
// again after it was interrupted, it goes on from where it was. A plan that is
// over budget is put aside, with no error, until an operator approves it.
//
// An unknown user is an error of kind Invalid. A user whose role changed back
// after the upgrade was announced gets nothing, and no error.
func (p *Planner) Plan(ctx context.Context, e events.UserUpgraded, _ Emit) error {
	log := p.Log.With("user", e.UserID, "upgrade", e.ID)
	plan := Plan{ID: e.ID, User: e.UserID, UpgradedAt: e.At, Via: e.Via}
	account, err := p.Accounts.Account(ctx, e.UserID)
	if fault.Is(err, fault.NotFound) {
		return fault.Errorf(fault.Invalid, "unknown user %q: no such account", e.UserID)
	}
	if err != nil {
		return err
	}
	if !account.EntitledBy(e.At) {
		plan.Outcome = NotEntitled
		p.end(ctx, log, plan)
		return nil
	}
	if resumed, ok := p.resume(ctx, log, e); ok {
		plan = resumed
		log.Info("the plan goes on", "planned", plan.Planned, "begun", plan.BegunAt)
	} else {
		plan.BegunAt = p.Now().UTC()
		held, err := p.budget(ctx, log, &plan, e)
		if err != nil {
			return err
		}
		if held {
			p.end(ctx, log, plan)
			return nil
		}
	}
	if err := p.carryOut(ctx, log, &plan); err != nil {
		return err
	}
	plan.finish()
	p.end(ctx, log, plan)
	return p.release(ctx, e)
}

// carryOut publishes the tasks page by page, from the plan's cursor on. The
// cursor moves when a page is stored, so what is before it never needs to be
// published again.
func (p *Planner) carryOut(ctx context.Context, log *slog.Logger, plan *Plan) error {
	for {
		jobs, next, err := p.Jobs.ArchivedPage(ctx, plan.User, plan.Cursor)
		if fault.Is(err, fault.Invalid) && plan.Cursor != "" {
			log.Warn("the plan's cursor is of no use, beginning anew", "err", err)
			plan.Cursor, plan.Planned, plan.Thawing = "", 0, 0
			continue
		}
		if err != nil {
			return err
		}
		// The web page hears "planned" before a worker can say "requested".
		states, tasks := make([]events.Event, 0, 2*len(jobs)), make([]events.Event, 0, len(jobs))
		for _, job := range jobs {
			if job.RetrievalID != "" {
				plan.Thawing++
				continue
			}
			states = append(states, events.StatusChanged{
				JobID: job.ID, UserID: job.UserID, State: string(archive.Planned), At: p.Now().UTC(), Step: plan.ID,
			})
			tasks = append(tasks, events.ThawRequested{
				ID: plan.ID, JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, UpgradedAt: plan.UpgradedAt,
			})
		}
		if err := p.Tasks.Publish(ctx, append(states, tasks...)); fault.Is(err, fault.Throttled) {
			// The workers are behind. The plan waits for them in its own stream, where
			// it blocks nobody and burns no attempt, and goes on from its cursor.
			return fault.After(fault.Wait, fullWait, fmt.Errorf("%d tasks are planned, and there is no room for more now: %w", plan.Planned, err))
		} else if err != nil {
			return err
		}
		plan.Planned += int64(len(tasks))
		if plan.Cursor = next; next == "" {
			return nil
		}
		plan.Outcome = Planning
		p.note(ctx, log, *plan)
	}
}
