package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// DefaultCallTime is the longest that a request to Glacier may take.
	DefaultCallTime = 20 * time.Second
	// intentCalls is how many call times old an intent must be before another
	// worker takes it over: so many that the call it announced has ended.
	intentCalls = 3
	// entitledFor is how long a look at an account serves for the other tasks
	// of the same user: so long after a downgrade something may still be asked for.
	entitledFor = time.Second
	// dropTime bounds the write that removes an intent, which is done even while the
	// process stops.
	dropTime = 3 * time.Second
)

// Requester turns a task into a retrieval.
type Requester struct {
	Accounts Accounts
	Catalog  Catalog
	Vault    Vault
	// Plans holds a plan whose budget is used up.
	Plans Plans
	// Budgets is where each retrieval is paid from. It may be nil where there is no
	// budget.
	Budgets Budgets
	// Switches tells what operators have stopped; nil says nothing.
	Switches Switches
	// Limits is what retrievals may cost; the zero Limits has no limit.
	Limits Limits
	// Tiers is the order in which tiers are tried.
	Tiers archive.Tiers
	// Pace limits the calls; nil does not.
	Pace *Pace
	// CallTime is the longest that a request to Glacier may take, DefaultCallTime
	// if it is zero. An intent lives for three of them, so all workers must have
	// the same.
	CallTime time.Duration
	// Prices and AssumedSize, of an archive whose size is not known, tell what a
	// retrieval costs.
	Prices      cost.Prices
	AssumedSize int64
	Now         func() time.Time
	Log         *slog.Logger
	// OnRequested, OnAdopted and OnDuplicates are told of each retrieval that was
	// requested and saved, of each that was found at Glacier in place of requesting it again,
	// and of those that are too many for their archive. They may be nil.
	OnRequested  func(r archive.Retrieval, fallback bool)
	OnAdopted    func(archive.Retrieval)
	OnDuplicates func(n int)

	accounts accountCache
	listing  listing
	watched  watched
	free     Pace // in place of a nil Pace
}

func (r *Requester) pace() *Pace {
	if r.Pace == nil {
		return &r.free
	}
	return r.Pace
}

func (r *Requester) callTime() time.Duration {
	if r.CallTime <= 0 {
		return DefaultCallTime
	}
	return r.CallTime
}

func (r *Requester) intentLife() time.Duration { return intentCalls * r.callTime() }

// Request asks Glacier for the task's archive, if the gate lets it, and saves the
// retrieval's id.
//
// InitiateJob costs money, cannot be undone, and has no idempotency token. So
// an intent is written first: whoever finds one without a retrieval's id looks
// at Glacier's list of jobs before asking again. Each error says by its kind
// what becomes of the task.
func (r *Requester) Request(ctx context.Context, e events.ThawRequested, emit Emit) error {
	log := r.Log.With("user", e.UserID, "job", e.JobID)
	job, err := r.Catalog.Job(ctx, e.JobID)
	if fault.Is(err, fault.NotFound) {
		return fault.Errorf(fault.Invalid, "unknown job %q: not in the catalog", e.JobID)
	}
	if err != nil {
		return err
	}
	switch {
	case job.UserID != e.UserID:
		return fault.Errorf(fault.Invalid, "job %q is not user %q's", e.JobID, e.UserID)
	case job.ArchiveID != "" && job.ArchiveID != e.ArchiveID:
		// The file was restored and is archived again since. Its new archive has a plan
		// that asks for it, or none. As a dead letter the old task would hold the sweep
		// back from the new archive.
		log.Warn("late task ignored: it names another archive than the catalog", "archive", e.ArchiveID, "catalog", job.ArchiveID)
		return nil
	}
	if doubt := job.Doubt(); doubt != "" {
		return fault.Because(fault.Invalid, "unreadable job in the catalog", fmt.Errorf("the catalog's job %q cannot be worked with: %s", job.ID, doubt))
	}
	answer, err := r.decide(ctx, job)
	if err != nil {
		return err
	}
	if answer.Action == gate.Adopt {
		adopted, used, err := r.adopt(ctx, log, &job)
		if err != nil {
			return err
		}
		if adopted {
			return emit(ctx, r.requested(job))
		}
		// Nothing is to be had of the intent. It may be taken over, if the archive may be
		// asked for at all: with the try that it counts as, if that is still to be had.
		if job.Intent.Used = used; !used {
			job.History.Tries--
		}
		if answer, _, err = r.entitled(ctx, job); err != nil {
			return err
		}
		if answer.Action != gate.Ask {
			r.drop(ctx, log, job)
		}
	}
	switch answer.Action {
	case gate.Ask:
		return r.ask(ctx, log, job, emit)
	case gate.OnItsWay:
		log.Info("nothing to request", "why", answer.Why, "retrieval", job.RetrievalID)
		return emit(ctx, r.requested(job))
	case gate.Done, gate.Drop:
		log.Info("nothing to request", "why", answer.Why)
		return nil
	}
	return refused(answer, job)
}

// requested is what the owner is told of a retrieval that is on its way.
func (r *Requester) requested(job archive.Job) events.StatusChanged {
	status := events.StatusChanged{
		JobID:    job.ID,
		UserID:   job.UserID,
		State:    string(archive.Requested),
		At:       r.Now().UTC(),
		Tier:     string(job.Tier),
		Fallback: job.Tier != r.Tiers[0],
		Step:     string(job.RetrievalID),
	}
	if _, longest, err := job.Tier.Typically(); err == nil {
		by := job.RetrievalRequestedAt.Add(longest).UTC()
		status.ReadyBy = &by
	}
	return status
}
