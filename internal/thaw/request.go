package thaw

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

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
	// SaveRetrieval writes the retrieval's id, tier and time and removes the
	// intent, if the job still has its archive, no retrieval, and this intent.
	SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error
}

// Vault is what the requester does with Glacier.
type Vault interface {
	// Retrieve asks for the archive to be retrieved in the tier, once: it must
	// not be tried again inside. job goes into the retrieval's description. The
	// error is of kind Capacity if the tier has none.
	Retrieve(ctx context.Context, id events.ArchiveID, job events.JobID, tier archive.Tier) (events.RetrievalID, error)
	// Retrievals yields the retrievals that Glacier knows, finished ones too.
	Retrievals(context.Context) iter.Seq2[archive.Retrieval, error]
}

const (
	// callTime is the longest that a request to Glacier may take.
	callTime = 20 * time.Second
	// intentLife is how old an intent must be before another worker takes it
	// over: well over callTime, so that the call it announced has ended.
	intentLife = time.Minute
	// entitledFor is how long a look at an account serves for the other tasks
	// of the same user.
	entitledFor = 5 * time.Second
)

// Requester turns a task into a retrieval.
type Requester struct {
	Accounts Accounts
	Catalog  Catalog
	Vault    Vault
	// Tiers is the order in which tiers are tried.
	Tiers archive.Tiers
	Now   func() time.Time
	Log   *slog.Logger
	// OnRequested and OnDuplicate are told of each retrieval that was requested,
	// and of each that turned out to be one too many. They may be nil.
	OnRequested func(tier archive.Tier, fallback bool)
	OnDuplicate func()

	accounts lookasides
}

// Request asks Glacier for the task's archive, unless that has been done or is
// no longer wanted, and saves the retrieval's id.
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
	case job.ArchiveID == "":
		log.Info("nothing to request: the file is not archived")
		return nil
	case job.ArchiveID != e.ArchiveID:
		return fault.Errorf(fault.Invalid, "wrong archive id: the task names %q, the catalog %q", e.ArchiveID, job.ArchiveID)
	case job.RetrievalID != "":
		log.Info("nothing to request: the retrieval is on its way", "retrieval", job.RetrievalID)
		return emit(ctx, r.requested(job))
	}
	account, err := r.accounts.get(ctx, r.Now(), e.UserID, r.Accounts.Account)
	if err != nil {
		return err
	}
	if !account.EntitledBy(e.UpgradedAt) {
		log.Info("not requested: the user is not premium any more")
		return nil
	}
	if job.Intent != nil {
		if age := r.Now().Sub(job.Intent.At); age < intentLife {
			return fault.After(fault.Wait, intentLife-age, fmt.Errorf("another worker's intent is %s old, it may be asking just now", age.Round(time.Second)))
		}
		adopted, err := r.adopt(ctx, log, &job)
		if err != nil {
			return err
		}
		if adopted {
			return emit(ctx, r.requested(job))
		}
	}
	intent := archive.Intent{Token: rand.Text(), At: r.Now().UTC()}
	if err := r.Catalog.SaveIntent(ctx, job, intent); fault.Is(err, fault.Conflict) {
		return fault.New(fault.Wait, fmt.Errorf("another worker was first: %w", err))
	} else if err != nil {
		return err
	}
	retrieval, err := r.retrieve(ctx, log, job, intent)
	if err != nil {
		return err
	}
	if err := r.save(ctx, log, &job, intent, retrieval); err != nil {
		return err
	}
	return emit(ctx, r.requested(job))
}

// adopt looks for a retrieval of the job's archive that an earlier worker asked
// for and could not save, and saves it.
func (r *Requester) adopt(ctx context.Context, log *slog.Logger, job *archive.Job) (bool, error) {
	for found, err := range r.Vault.Retrievals(ctx) {
		if err != nil {
			return false, err
		}
		if found.ArchiveID != job.ArchiveID || found.Description != string(job.ID) || found.Status == archive.RetrievalFailed {
			continue
		}
		log.Info("adopted a retrieval that was requested but not saved", "retrieval", found.ID, "tier", found.Tier)
		return true, r.save(ctx, log, job, *job.Intent, found)
	}
	return false, nil
}

// retrieve asks for the archive tier by tier. It goes on to the next only when
// one has no capacity.
func (r *Requester) retrieve(ctx context.Context, log *slog.Logger, job archive.Job, intent archive.Intent) (archive.Retrieval, error) {
	tier := r.Tiers[0]
	for {
		callCtx, cancel := context.WithTimeout(ctx, callTime)
		id, err := r.Vault.Retrieve(callCtx, job.ArchiveID, job.ID, tier)
		cancel()
		if err == nil {
			log.Info("requested", "archive", job.ArchiveID, "tier", tier, "retrieval", id)
			if r.OnRequested != nil {
				r.OnRequested(tier, tier != r.Tiers[0])
			}
			return archive.Retrieval{ID: id, ArchiveID: job.ArchiveID, Tier: tier, RequestedAt: r.Now().UTC()}, nil
		}
		kind := fault.KindOf(err)
		if kind == fault.Capacity {
			if next, ok := r.Tiers.After(tier); ok {
				log.Info("no capacity, trying the next tier", "tier", tier, "next", next)
				tier = next
				continue
			}
		}
		if refused(kind) {
			// Glacier said no, so nothing was requested: the next try need not
			// wait for the intent's age and look for a job. Should this write
			// fail, it will.
			if err := r.Catalog.DropIntent(context.WithoutCancel(ctx), job, intent); err != nil {
				log.Warn("intent not dropped", "err", err)
			}
		}
		if kind == fault.NotFound {
			return archive.Retrieval{}, fault.Errorf(fault.Invalid, "the vault has no archive %q: %w", job.ArchiveID, err)
		}
		return archive.Retrieval{}, err
	}
}

// refused reports whether an error of this kind proves that nothing happened.
func refused(kind fault.Kind) bool {
	switch kind {
	case fault.Capacity, fault.Policy, fault.Throttled, fault.Denied, fault.Invalid, fault.NotFound:
		return true
	}
	return false
}

// save persists the retrieval under the intent that announced it.
func (r *Requester) save(ctx context.Context, log *slog.Logger, job *archive.Job, intent archive.Intent, retrieval archive.Retrieval) error {
	err := r.Catalog.SaveRetrieval(ctx, *job, intent, retrieval)
	if fault.Is(err, fault.Conflict) {
		// This worker was paused for longer than its intent lives, and another
		// took over between its check and its call: the one race that Glacier's
		// interface leaves open. The other looks at the list of jobs and adopts
		// this retrieval if it sees it; else there are two, and that is counted.
		now, rerr := r.Catalog.Job(ctx, job.ID)
		if rerr == nil && now.RetrievalID != "" && now.RetrievalID != retrieval.ID {
			log.Error("two retrievals of one archive", "archive", job.ArchiveID, "saved", now.RetrievalID, "second", retrieval.ID)
			if r.OnDuplicate != nil {
				r.OnDuplicate()
			}
		}
		return fault.New(fault.Wait, fmt.Errorf("the intent was taken over: %w", err))
	}
	if err != nil {
		return err
	}
	job.RetrievalID, job.Tier, job.RetrievalRequestedAt, job.Intent = retrieval.ID, retrieval.Tier, retrieval.RequestedAt, nil
	return nil
}

func (r *Requester) requested(job archive.Job) events.StatusChanged {
	_, longest := job.Tier.Typically()
	by := job.RetrievalRequestedAt.Add(longest).UTC()
	return events.StatusChanged{
		JobID:    job.ID,
		UserID:   job.UserID,
		State:    string(archive.Requested),
		At:       r.Now().UTC(),
		Tier:     string(job.Tier),
		Fallback: job.Tier != r.Tiers[0],
		ReadyBy:  &by,
		Step:     string(job.RetrievalID),
	}
}
