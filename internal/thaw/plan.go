// Package thaw asks Glacier for the archives of users who became Premium: the
// [Planner] turns a user into one task per archived job, the [Requester] turns
// a task into one retrieval.
package thaw

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
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
	// ArchivedJobs yields the user's jobs that have an archive, page by page, in
	// no order that means anything. It may be behind the catalog by seconds. An
	// error ends it.
	ArchivedJobs(context.Context, events.UserID) iter.Seq2[archive.Job, error]
}

// Planner turns a user who became Premium into one task per archived job.
type Planner struct {
	Accounts Accounts
	Jobs     ArchivedJobs
	Now      func() time.Time
	Log      *slog.Logger
}

// Plan emits one [events.ThawRequested] for each of the user's archived jobs
// that is not being retrieved yet. Run twice, it emits the same ids.
//
// An unknown user is an error of kind Invalid. A user whose role changed back
// after the upgrade was announced gets nothing, and no error.
func (p *Planner) Plan(ctx context.Context, e events.UserUpgraded, emit Emit) error {
	log := p.Log.With("user", e.UserID, "upgrade", e.ID)
	account, err := p.Accounts.Account(ctx, e.UserID)
	if fault.Is(err, fault.NotFound) {
		return fault.Errorf(fault.Invalid, "unknown user %q: no such account", e.UserID)
	}
	if err != nil {
		return err
	}
	if !account.EntitledBy(e.At) {
		log.Info("not planned: the user is not premium any more", "upgraded_at", e.At, "role_changed_at", account.RoleChangedAt)
		return nil
	}
	planned, thawing := 0, 0
	for job, err := range p.Jobs.ArchivedJobs(ctx, e.UserID) {
		if err != nil {
			return err
		}
		if job.RetrievalID != "" {
			thawing++
			continue
		}
		if err := emit(ctx, events.ThawRequested{
			ID:         e.ID,
			JobID:      job.ID,
			UserID:     e.UserID,
			ArchiveID:  job.ArchiveID,
			UpgradedAt: e.At,
		}); err != nil {
			return err
		}
		if err := emit(ctx, events.StatusChanged{
			JobID:  job.ID,
			UserID: e.UserID,
			State:  string(archive.Planned),
			At:     p.Now().UTC(),
			Step:   e.ID,
		}); err != nil {
			return err
		}
		planned++
	}
	log.Info("planned", "archives", planned, "already_thawing", thawing)
	return nil
}
