package thaw

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// ask requests the archive and saves the retrieval's id, in steps:
//
//	Probe     lets one request through at a time, while Glacier denies everything
//	turn      waits until this worker may call Glacier, and asks the gate once more
//	awake     leaves Expedited out while it rests
//	spend     enters the price into the budgets
//	announce  writes the intent
//	callTiers calls Glacier, tier by tier, as the [RetryTable] says
//	save      saves the retrieval's id
//	correct   sets the budgets to the real price
func (r *Requester) ask(ctx context.Context, log *slog.Logger, e events.ThawRequested, job archive.Job, emit Emit) error {
	leave, err := r.Pace.Probe(ctx)
	if err != nil {
		return err
	}
	defer leave()
	answer, account, err := r.turn(ctx, job)
	if err != nil {
		return err
	}
	if answer.Action != gate.Ask {
		return r.notAsked(ctx, log, job, answer)
	}
	tiers, err := r.awake(answer.Tiers)
	if err != nil {
		return err
	}
	spending, held, err := r.spend(ctx, log, job, account, tiers)
	if err != nil || held {
		return err
	}
	if err := r.announce(ctx, log, &job, planID(account), spending); err != nil {
		return err
	}
	retrieval, err := r.callTiers(ctx, log, &job, tiers, spending)
	if err != nil {
		return r.heldIfDenied(ctx, log, job, account, err)
	}
	if err := r.save(ctx, log, &job, retrieval); err != nil {
		return err
	}
	r.correct(ctx, log, spending, retrieval.Cost)
	if r.OnRequested != nil && !retrieval.Found {
		r.OnRequested(retrieval, retrieval.Tier != r.Tiers.In(job.Copy.Class)[0])
	}
	return r.tell(ctx, e, job, retrieval, emit)
}

// turn waits until this worker may call Glacier. Then it asks the gate once more: meanwhile,
// the user may have left Premium, or an operator may have stopped the request. The wait may
// be long, so it comes before the intent. If a worker leaves an intent behind, the next
// worker must wait, and then read Glacier's list.
func (r *Requester) turn(ctx context.Context, job archive.Job) (gate.Answer, archive.Account, error) {
	if err := r.Pace.Turn(ctx); err != nil {
		return gate.Answer{}, archive.Account{}, err
	}
	return r.entitled(ctx, job)
}

// notAsked ends a task if the gate closed while the task waited for its turn.
func (r *Requester) notAsked(ctx context.Context, log *slog.Logger, job archive.Job, answer gate.Answer) error {
	if answer.Action != gate.Drop {
		return refused(answer, job)
	}
	if job.Intent != nil {
		r.drop(ctx, log, job)
	}
	log.Info("not requested", "why", answer.Why)
	return nil
}

// awake returns the tiers that may be called now, in their order. It leaves out the resting
// tiers at the beginning.
func (r *Requester) awake(tiers archive.Tiers) (archive.Tiers, error) {
	var rest time.Duration
	for i, tier := range tiers {
		if rest = r.Pace.Resting(tier); rest <= 0 {
			return tiers[i:], nil
		}
	}
	return nil, fault.After(fault.Capacity, rest, fmt.Errorf("%s had no capacity a moment ago and is left alone", tiers[len(tiers)-1]))
}

// announce writes an intent, and sets it on the job.
func (r *Requester) announce(ctx context.Context, log *slog.Logger, job *archive.Job, plan string, spending archive.Spending) error {
	intent := r.newIntent(plan)
	if err := r.Catalog.SaveIntent(ctx, *job, intent); fault.Is(err, fault.Conflict) {
		r.correct(ctx, log, spending, 0)
		return fault.New(fault.Wait, fmt.Errorf("another worker was first: %w", err))
	} else if err != nil {
		return err // the intent may be written: the budgets keep the amount
	}
	job.Intent = &intent
	return nil
}

func (r *Requester) newIntent(plan string) archive.Intent {
	return archive.Intent{Token: rand.Text(), At: r.Now().UTC(), Plan: plan, Due: r.Now().Add(r.intentLife())}
}

// callTiers calls Glacier until Glacier takes the request in one of the tiers, or until the
// [RetryTable] says that the task goes back.
func (r *Requester) callTiers(ctx context.Context, log *slog.Logger, job *archive.Job, tiers archive.Tiers, spending archive.Spending) (archive.Retrieval, error) {
	for tier := tiers[0]; ; {
		got, called, err := r.call(ctx, job, tier)
		if err == nil {
			return r.taken(ctx, log, *job, got), nil
		}
		if !called {
			r.withdraw(ctx, log, *job, spending)
			return archive.Retrieval{}, err
		}
		retry := RetryOf(fault.KindOf(err), tier)
		if retry.Rest {
			r.Pace.Rest(ctx)
		}
		if retry.Slow {
			r.Pace.Slow(ctx)
		}
		if next, ok := retry.Next(tiers, tier); ok {
			log.Info("refused, trying another tier", "tier", tier, "next", next, "kind", retry.Kind)
			tier = next
			if err := r.Pace.Turn(ctx); err == nil {
				continue
			}
		}
		if retry.Refused() {
			r.withdraw(ctx, log, *job, spending)
		}
		if retry.Action == DeadLetter {
			return archive.Retrieval{}, fault.Because(retry.Returns, "archive cannot be retrieved", fmt.Errorf("archive %q cannot be retrieved: %w", job.ArchiveID, err))
		}
		return archive.Retrieval{}, fault.After(retry.Returns, fault.DelayOf(err), err)
	}
}

const (
	// deniedFor is how long Glacier denies every request before plans are held. For a shorter
	// time, a new credential or policy may still be on its way through AWS.
	deniedFor = 15 * time.Minute
	// deniedAgain is how long a plan is held before the sweep carries it out again.
	deniedAgain = time.Hour
)

// heldIfDenied holds the plan of a denied request, if Glacier has denied all requests for a
// while. Then the tasks of the plan end, without a dead letter for each archive. The sweep
// carries the plan out again each hour, until Glacier takes a request. heldIfDenied returns
// nil if it held the plan, and else the error of the request. An archive that an operator
// ordered has no plan that could wait. A deployment with two kinds of storage holds nothing,
// see [Requester.Mixed].
func (r *Requester) heldIfDenied(ctx context.Context, log *slog.Logger, job archive.Job, account archive.Account, denied error) error {
	if !RetryOf(fault.KindOf(denied), "").Hold || job.Ordered || r.Mixed || account.Plan == nil || r.Plans == nil {
		return denied
	}
	lasts := r.Pace.Denied(ctx)
	if lasts < deniedFor {
		return denied
	}
	why := fmt.Sprintf("AWS denies every retrieval, for %s now: %s", lasts.Round(time.Minute), text.Clip(denied.Error(), 500))
	if err := r.Plans.HoldPlan(ctx, account.ID, account.Plan.ID, why, r.Now().Add(deniedAgain)); err != nil && !fault.Is(err, fault.Conflict) {
		return denied
	}
	r.accounts.forget(account.ID)
	log.Error("the plan is held: AWS denies every retrieval; the plan tries again each hour; `gas check` names what to fix, and `gas thaw "+string(account.ID)+"` tries at once", "plan", account.Plan.ID, "since", lasts.Round(time.Second), "err", denied)
	return nil
}

// taken completes the retrieval that the store took, or had already, with its price. A
// retrieval that somebody else requested costs this request nothing.
func (r *Requester) taken(ctx context.Context, log *slog.Logger, job archive.Job, got archive.Retrieval) archive.Retrieval {
	got.RequestedAt = r.Now().UTC()
	if got.Found {
		log.Info("not requested: the archive can be read already, or is on its way", "archive", job.Copy, "status", got.Status)
		return got
	}
	r.bill(ctx, log, &got, job)
	log.Info("requested", "archive", job.ArchiveID, "tier", got.Tier, "retrieval", got.ID, "cost", got.Cost.String())
	r.Pace.Took(ctx, got.Tier)
	return got
}

// withdraw removes the intent, and gives the entered amount back to the budgets. Glacier did
// not take the request.
func (r *Requester) withdraw(ctx context.Context, log *slog.Logger, job archive.Job, spending archive.Spending) {
	r.drop(ctx, log, job)
	r.correct(ctx, log, spending, 0)
}

// call requests the archive once. called is false if it made no call. First, call renews an
// old intent: another worker might take the old one over before the call has ended.
func (r *Requester) call(ctx context.Context, job *archive.Job, tier archive.Tier) (got archive.Retrieval, called bool, err error) {
	leave, err := r.Pace.Enter(ctx)
	if err != nil {
		return got, false, err
	}
	defer leave()
	if r.Now().Sub(job.Intent.At) > r.intentLife()-2*r.CallTime {
		renewed := r.newIntent(job.Intent.Plan)
		if err := r.Catalog.SaveIntent(ctx, *job, renewed); err != nil {
			return got, false, fault.New(fault.Wait, fmt.Errorf("renew the intent: %w", err))
		}
		job.Intent = &renewed
	}
	ctx, cancel := context.WithTimeout(ctx, r.CallTime)
	defer cancel()
	got, err = r.Vault.Retrieve(ctx, *job, tier)
	return got, true, err
}

// drop removes the intent of a job: nothing was requested under this intent. If the write
// fails, the next delivery waits until the intent is old, and then reads Glacier's list.
func (r *Requester) drop(ctx context.Context, log *slog.Logger, job archive.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	if err := r.Catalog.DropIntent(ctx, job, *job.Intent); err != nil {
		log.Warn("intent not dropped", "err", err)
	}
}
