package thaw

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
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
	// SaveRetrieval writes the retrieval's id, tier and time, adds its cost to the
	// job's bill, and removes the intent, if the job still has its archive, no
	// retrieval, and this intent.
	SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error
}

// Vault is what the requester does with Glacier.
type Vault interface {
	// Retrieve asks for the archive to be retrieved in the tier, once: it must
	// not be tried again inside. job goes into the retrieval's description. The
	// error's kind is what [Rulings] goes by.
	Retrieve(ctx context.Context, id events.ArchiveID, job events.JobID, tier archive.Tier) (events.RetrievalID, error)
	// Retrievals yields the retrievals that Glacier knows, finished ones too.
	Retrievals(context.Context) iter.Seq2[archive.Retrieval, error]
	// Describe returns one of them.
	Describe(context.Context, events.RetrievalID) (archive.Retrieval, error)
}

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
	// Ledger is where each retrieval is paid from. It may be nil where there is no
	// budget.
	Ledger Ledger
	// Switches tells what operators have stopped; nil says nothing.
	Switches Switches
	// Budget is what retrievals may cost; the zero Budget has no limit.
	Budget Budget
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

	accounts lookasides
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

// adopt deals with an intent that an earlier delivery left. While it is young
// its call may be on its way, which is an error of kind Wait. Else adopt looks at
// Glacier for the retrieval that was asked for and could not be saved, and saves
// it, whoever is entitled to what by now: it is paid for. adopted is false if there is
// none. Then used says that there may have been one that came to nothing: the list has
// such a one, or the intent is so old that Glacier may have forgotten it.
func (r *Requester) adopt(ctx context.Context, log *slog.Logger, job *archive.Job) (adopted, used bool, err error) {
	if age := r.watched.age(job.ID, job.Intent.Token, r.Now()); age < r.intentLife() {
		return false, false, fault.After(fault.Wait, r.intentLife()-age,
			fmt.Errorf("another worker's intent stands, for %s as far as this one has seen: it may be asking just now", age.Round(time.Second)))
	}
	found, err := r.listing.find(ctx, *job, r.Vault)
	if err != nil {
		return false, false, err
	}
	best, usable := bestOf(found, r.Now())
	if usable == 0 {
		// Of two machines' clocks; but beside a day, what they differ by is nothing.
		return false, len(found) > 0 || r.Now().Sub(job.Intent.At) > archive.OutputLifetime-time.Hour, nil
	}
	best.Cost = r.priceOf(best, *job)
	if err := r.save(ctx, log, job, best); err != nil {
		return false, false, err
	}
	if usable > 1 {
		log.Error("several retrievals of one archive", "archive", job.ArchiveID, "retrievals", usable, "adopted", best.ID)
		if r.OnDuplicates != nil {
			r.OnDuplicates(usable - 1)
		}
	}
	log.Info("adopted a retrieval that was requested but not saved", "retrieval", best.ID, "tier", best.Tier)
	if r.OnAdopted != nil {
		r.OnAdopted(best)
	}
	return true, false, nil
}

// bestOf returns the one to adopt of an archive's retrievals, and how many of
// them have brought or may bring it: the one that is there or will be the soonest.
func bestOf(found []archive.Retrieval, now time.Time) (best archive.Retrieval, usable int) {
	for _, f := range found {
		if !f.Usable(now) {
			continue
		}
		usable++
		done, bestDone := f.Status == archive.Succeeded, best.Status == archive.Succeeded
		if usable == 1 || done && !bestDone || done == bestDone && f.RequestedAt.Before(best.RequestedAt) {
			best = f
		}
	}
	return best, usable
}

// ask writes an intent, requests the archive tier by tier as [Rulings] say, and
// saves the retrieval's id.
func (r *Requester) ask(ctx context.Context, log *slog.Logger, job archive.Job, emit Emit) error {
	// The wait for a turn may be long, and comes before the intent: an intent that
	// is left behind costs whoever comes next a wait and a look at Glacier's list.
	if err := r.pace().Turn(ctx); err != nil {
		return err
	}
	// Who ended Premium meanwhile is not to pay for the wait, nor is what an operator
	// stopped to be asked for.
	answer, account, err := r.entitled(ctx, job)
	if err != nil {
		return err
	}
	if answer.Action == gate.Drop {
		if job.Intent != nil {
			r.drop(ctx, log, job)
		}
		log.Info("not requested", "why", answer.Why)
		return nil
	}
	if answer.Action != gate.Ask {
		return refused(answer, job)
	}
	order := answer.Tiers
	tier := order[0]
	for rest := r.pace().Resting(tier); rest > 0; rest = r.pace().Resting(tier) {
		next, ok := order.After(tier)
		if !ok {
			return fault.After(fault.Capacity, rest, fmt.Errorf("%s had no capacity a moment ago and is left alone", tier))
		}
		tier = next
	}
	spending, held, err := r.spend(ctx, log, job, account, order[slices.Index(order, tier):])
	if err != nil || held {
		return err
	}
	intent := archive.Intent{Token: rand.Text(), At: r.Now().UTC(), Plan: planID(account), Due: r.Now().Add(r.intentLife())}
	if err := r.Catalog.SaveIntent(ctx, job, intent); fault.Is(err, fault.Conflict) {
		r.settle(ctx, log, spending, 0)
		return fault.New(fault.Wait, fmt.Errorf("another worker was first: %w", err))
	} else if err != nil {
		return err // it may have been written: what was entered stays entered
	}
	job.Intent = &intent
	for {
		id, called, err := r.call(ctx, &job, tier)
		if err == nil {
			retrieval := archive.Retrieval{ID: id, ArchiveID: job.ArchiveID, Tier: tier, RequestedAt: r.Now().UTC()}
			r.bill(ctx, log, &retrieval, job)
			log.Info("requested", "archive", job.ArchiveID, "tier", tier, "retrieval", id, "cost", retrieval.Cost.String())
			r.pace().Took(ctx, tier)
			if err := r.save(ctx, log, &job, retrieval); err != nil {
				return err
			}
			r.settle(ctx, log, spending, retrieval.Cost)
			if r.OnRequested != nil {
				r.OnRequested(retrieval, tier != r.Tiers[0])
			}
			return emit(ctx, r.requested(job))
		}
		if !called {
			r.drop(ctx, log, job)
			r.settle(ctx, log, spending, 0)
			return err
		}
		ruling := Decide(fault.KindOf(err), tier)
		if ruling.Rest {
			r.pace().Rest(ctx)
		}
		if ruling.Slow {
			r.pace().Slow(ctx)
		}
		if next, ok := ruling.Next(order, tier); ok {
			log.Info("refused, trying another tier", "tier", tier, "next", next, "kind", ruling.Kind)
			tier = next
			if err := r.pace().Turn(ctx); err == nil {
				continue
			}
		}
		if ruling.Refused {
			r.drop(ctx, log, job)
			r.settle(ctx, log, spending, 0)
		}
		if ruling.Action == Bury {
			return fault.Because(ruling.Returns, "archive cannot be retrieved", fmt.Errorf("archive %q cannot be retrieved: %w", job.ArchiveID, err))
		}
		return fault.After(ruling.Returns, fault.DelayOf(err), err)
	}
}

// drop removes the intent of a job: nothing was requested under it. Should this
// write fail, the next delivery waits for the intent's age, and looks.
func (r *Requester) drop(ctx context.Context, log *slog.Logger, job archive.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	if err := r.Catalog.DropIntent(ctx, job, *job.Intent); err != nil {
		log.Warn("intent not dropped", "err", err)
	}
}

// call requests the archive once; called is false if it did not come to that. An
// intent that is so old that another worker might take it over before the call
// has ended is renewed first.
func (r *Requester) call(ctx context.Context, job *archive.Job, tier archive.Tier) (id events.RetrievalID, called bool, err error) {
	leave, err := r.pace().Enter(ctx)
	if err != nil {
		return "", false, err
	}
	defer leave()
	if r.Now().Sub(job.Intent.At) > r.intentLife()-2*r.callTime() {
		renewed := archive.Intent{Token: rand.Text(), At: r.Now().UTC(), Plan: job.Intent.Plan, Due: r.Now().Add(r.intentLife())}
		if err := r.Catalog.SaveIntent(ctx, *job, renewed); err != nil {
			return "", false, fault.New(fault.Wait, fmt.Errorf("renew the intent: %w", err))
		}
		job.Intent = &renewed
	}
	ctx, cancel := context.WithTimeout(ctx, r.callTime())
	defer cancel()
	id, err = r.Vault.Retrieve(ctx, job.ArchiveID, job.ID, tier)
	return id, true, err
}

// save persists a retrieval that Glacier has, under the intent that announced it.
//
// If the intent is not there any more, this worker was paused for longer than it
// lives, and another took over between its check and its call: the one race that
// Glacier's interface leaves open. Then the retrieval is saved under the other's
// intent. Whichever of the two saves second finds the first one's id, and that
// is how the duplicate is found. One that came to nothing meanwhile is not saved any
// more: others saw to that, and it would take the place of what they asked for.
func (r *Requester) save(ctx context.Context, log *slog.Logger, job *archive.Job, retrieval archive.Retrieval) error {
	err := r.Catalog.SaveRetrieval(ctx, *job, *job.Intent, retrieval)
	for range 3 {
		if !fault.Is(err, fault.Conflict) {
			break
		}
		now, rerr := r.Catalog.Job(ctx, job.ID)
		switch {
		case rerr != nil:
			return rerr
		case now.RetrievalID == retrieval.ID:
			// The write took effect and its answer was lost, or another worker found
			// this retrieval in the list and saved it: it is done either way.
			*job = now
			return nil
		case now.ArchiveID == "" && now.RestoredBy == retrieval.ID:
			return fault.Errorf(fault.Wait, "another worker saved it, and the file is back: %w", err)
		}
		found, lerr := r.listing.find(ctx, *job, r.Vault)
		if lerr != nil {
			return lerr
		}
		if !slices.ContainsFunc(found, func(f archive.Retrieval) bool { return f.ID == retrieval.ID && f.Usable(r.Now()) }) {
			return fault.Errorf(fault.Wait, "retrieval %q came to nothing before it was saved: %w", retrieval.ID, err)
		}
		switch {
		case now.RetrievalID != "" || now.ArchiveID != job.ArchiveID:
			log.Error("two retrievals of one archive", "archive", job.ArchiveID, "saved", now.RetrievalID, "second", retrieval.ID)
			if r.OnDuplicates != nil {
				r.OnDuplicates(1)
			}
			return fault.New(fault.Wait, fmt.Errorf("another worker requested it too: %w", err))
		case now.Intent == nil:
			// What is paid for is saved even if the tries are used up.
			now.History.Allowed += archive.MaxRetrievals
			intent := archive.Intent{Token: rand.Text(), At: r.Now().UTC(), Due: r.Now().Add(r.intentLife())}
			if err = r.Catalog.SaveIntent(ctx, now, intent); err != nil {
				continue
			}
			now.Intent = &intent
		}
		*job = now
		err = r.Catalog.SaveRetrieval(ctx, *job, *job.Intent, retrieval)
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
		State:    archive.Requested,
		At:       r.Now().UTC(),
		Tier:     job.Tier.Told(),
		Fallback: job.Tier != r.Tiers[0],
		ReadyBy:  &by,
		Step:     string(job.RetrievalID),
	}
}
