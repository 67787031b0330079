package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// DefaultCallTime is the longest that a request to Glacier may take.
	DefaultCallTime = 20 * time.Second
	// An intent lives for intentCalls times the call time. Then the call has ended, and
	// another worker may take the intent over.
	intentCalls = 3
	// entitledFor is how long an account is cached for the other tasks of the user. For so
	// long after a downgrade, an archive may still be requested.
	entitledFor = time.Second
	// dropTime bounds the write that removes an intent. A process that stops makes this write
	// too.
	dropTime = 3 * time.Second
)

// Requester turns a task into a retrieval.
type Requester struct {
	Accounts Accounts
	Catalog  Catalog
	Vault    Vault
	// Plans holds a plan when the budget is used up.
	Plans Plans
	// Budgets has the spending of each day. It may be nil if there is no limit.
	Budgets Budgets
	// Switches has the stops of the operators; nil for none.
	Switches Switches
	// Limits is what retrievals may cost in a day; the zero Limits has no limit.
	Limits Limits
	// Tiers is the order in which tiers are tried.
	Tiers archive.Tiers
	// Pace limits the calls; nil does not.
	Pace *Pace
	// CallTime is the longest time that a request to Glacier may take; DefaultCallTime if it
	// is zero. An intent lives for three call times, so all workers must have the same value.
	CallTime time.Duration
	// Prices is the price list. An archive of unknown size counts with AssumedSize.
	Prices      cost.Prices
	AssumedSize int64
	Now         func() time.Time
	Log         *slog.Logger
	// OnRequested gets each retrieval that was requested and saved. OnAdopted gets each
	// retrieval that was found in Glacier's list and saved. OnDuplicates gets the number of
	// retrievals that an archive has beside the saved one. They may be nil.
	OnRequested  func(r archive.Retrieval, fallback bool)
	OnAdopted    func(archive.Retrieval)
	OnDuplicates func(n int)
	// Mixed means that the deployment has two kinds of cold storage. Then a kind that denies
	// everything holds no plan: the plan may have archives of the other kind, and they would
	// wait too.
	Mixed bool
	// Completions publishes the completion of a retrieval that is finished when it is
	// requested. It is another port than emit, because only the sweep's user of NATS may
	// publish completions. Without it, the sweep finds the retrieval.
	Completions Completions

	accounts accountCache
	listing  listing
	watched  watched
	once     sync.Once
}

func (r *Requester) init() {
	if r.Pace == nil {
		r.Pace = &Pace{}
	}
	if r.CallTime <= 0 {
		r.CallTime = DefaultCallTime
	}
}

// intentLife is how long an intent lives.
func (r *Requester) intentLife() time.Duration { return intentCalls * r.CallTime }

// Request asks Glacier for the task's archive, if the gate lets it, and saves the
// retrieval's id.
//
// InitiateJob costs money, cannot be undone, and has no idempotency token. So a worker writes
// an intent first. A worker that finds an intent and no retrieval's id reads Glacier's list
// of jobs before it makes another request. The kind of an error tells the bus what to do
// with the task.
func (r *Requester) Request(ctx context.Context, e events.ThawRequested, emit Emit) error {
	r.once.Do(r.init)
	log := trace.Log(ctx, r.Log).With("user", e.UserID, "job", e.JobID)
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
		// The file was restored, and later archived again. If its owner has a plan, that plan
		// requests the new archive. A dead letter of the old task would keep the sweep from the
		// new archive.
		log.Warn("late task ignored: it names another archive than the catalog", "archive", e.ArchiveID, "catalog", job.ArchiveID)
		return nil
	}
	if doubt := job.Doubt(); doubt != "" {
		return fault.Because(fault.Invalid, "unreadable job in the catalog", fmt.Errorf("the catalog's job %q cannot be worked with: %s", job.ID, doubt))
	}
	if e.First {
		if first, err := r.isFirst(ctx, job); err != nil {
			return err
		} else if !first {
			log.Info("the user wants another file first by now: this one has an ordinary task")
			return nil
		}
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
		if adopted != nil {
			return r.tell(ctx, e, job, *adopted, emit)
		}
		// The intent led to no usable retrieval. This worker may take the intent over, if the
		// gate is open. If Glacier never got a request under this intent, give its try back.
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
		return r.ask(ctx, log, e, job, emit)
	case gate.OnItsWay:
		log.Info("nothing to request", "why", answer.Why, "retrieval", job.RetrievalID)
		known := archive.Retrieval{ID: job.RetrievalID}
		if job.Copy.Class.Longest("") == 0 {
			// No retrieval was needed, and an earlier delivery may have died before it said so.
			known.Status, known.Tier = archive.Succeeded, job.Tier
		} else if e.First {
			// It may have been requested hours ago, and "requested" must not be the last word about
			// a file that is back in a moment.
			return r.complete(ctx, e, job, known)
		}
		return r.tell(ctx, e, job, known, emit)
	case gate.Done, gate.Drop:
		log.Info("nothing to request", "why", answer.Why)
		if job.ArchiveID == "" && job.RetrievalID == "" && (job.Intent != nil || job.Ordered) {
			// Another program brought the file back, and knows nothing of our attributes.
			log.Warn("another program removed the archive from the catalog: the intent or the order is removed", "archive", e.ArchiveID)
			if err := r.Catalog.ClearLeftovers(ctx, job); err != nil && !fault.Is(err, fault.Conflict) {
				return err
			}
		}
		if !job.Back() {
			return nil
		}
		// The planner told "planned", by an index that was behind or before another program
		// brought the file back. This would stay the last word.
		return emit(ctx, events.StatusChanged{
			JobID: job.ID, UserID: job.UserID, State: archive.Restored, At: r.Now().UTC(), Size: job.ResultSize, Step: e.ID,
		})
	}
	return refused(answer, job)
}

// isFirst reports whether the user wants the job's file before the others. The user's plan says
// so. It is not cached: the user has chosen the file a moment ago.
func (r *Requester) isFirst(ctx context.Context, job archive.Job) (bool, error) {
	r.accounts.forget(job.UserID)
	account, err := r.accounts.get(ctx, r.Now, job.UserID, r.Accounts.Account)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, err
	}
	return account.Plan != nil && account.Plan.First == job.ID, nil
}

// tell reports that the retrieval is on its way. If it is finished already, nobody else will
// say so: then tell publishes its completion. It does not report both: the file may be back
// before the report "requested", and this report would stay the last one.
func (r *Requester) tell(ctx context.Context, e events.ThawRequested, job archive.Job, retrieval archive.Retrieval, emit Emit) error {
	finished := retrieval.Status == archive.Succeeded && r.Completions != nil
	if !finished {
		if err := emit(ctx, r.requested(job)); err != nil {
			return err
		}
	}
	if !finished && !e.First {
		return nil
	}
	return r.complete(ctx, e, job, retrieval)
}

// complete publishes the completion of the retrieval. If the user wants the file first, the
// retrieval may still be under way: the restorer waits for the output, and no other file of the
// queue goes ahead.
func (r *Requester) complete(ctx context.Context, e events.ThawRequested, job archive.Job, retrieval archive.Retrieval) error {
	if r.Completions == nil {
		return nil
	}
	told := events.RetrievalCompleted{
		ID: "found-" + string(retrieval.ID), JobID: job.ID, ArchiveID: job.ArchiveID, RetrievalID: retrieval.ID,
		Status: archive.InProgress, Tier: retrieval.Tier.Told(), First: e.First,
	}
	if retrieval.Status == archive.Succeeded {
		told.Status, told.Size, told.TreeHash = archive.Succeeded, max(retrieval.Size, job.ArchiveSize, 0), retrieval.TreeHash
		told.CompletedAt, told.ExpiresAt = retrieval.CompletedAt, retrieval.ExpiresAt
	}
	return r.Completions.Publish(ctx, told)
}

// requested returns the status for the owner of a retrieval that is on its way.
func (r *Requester) requested(job archive.Job) events.StatusChanged {
	status := events.StatusChanged{
		JobID:    job.ID,
		UserID:   job.UserID,
		State:    archive.Requested,
		At:       r.Now().UTC(),
		Tier:     job.Tier.Told(),
		Class:    string(job.Copy.Class),
		Fallback: job.Tier != r.Tiers.In(job.Copy.Class)[0],
		Step:     string(job.RetrievalID),
	}
	if _, longest, err := job.Copy.Class.Typically(job.Tier); err == nil {
		by := job.RetrievalRequestedAt.Add(longest).UTC()
		status.ReadyBy = &by
	}
	return status
}
