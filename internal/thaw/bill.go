package thaw

import (
	"context"
	"log/slog"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// spend enters what the retrieval may cost, in the dearest of the tiers that may come
// to be asked for. held is true if a budget does not allow it: then the plan is held,
// and asks again when it goes on.
func (r *Requester) spend(ctx context.Context, log *slog.Logger, job archive.Job, account archive.Account, tiers archive.Tiers) (s archive.Spending, held bool, err error) {
	if !r.Limits.Limited() {
		return s, false, nil
	}
	if r.Budgets == nil || r.Plans == nil {
		return s, false, fault.Errorf(fault.Denied, "there is a budget, and nowhere to keep what is spent")
	}
	now := r.Now()
	s = archive.Spending{Day: dayOf(now), User: account.ID, Plan: planID(account)}
	if !job.Ordered {
		// What an operator orders counts, and no budget holds it up.
		s.UserLimit, s.DayLimit, s.Approved = r.Limits.User, r.Limits.Day, account.Plan.Approved
	}
	for _, tier := range tiers {
		s.Amount = max(s.Amount, r.price(tier, job))
	}
	why, err := r.Budgets.Spend(ctx, s)
	if err != nil || why == "" {
		return s, false, err
	}
	log.Warn("the plan is held: its budget is used up", "plan", s.Plan, "why", why)
	if err := r.Plans.HoldPlan(ctx, account.ID, s.Plan, why, nextDay(now)); err != nil && !fault.Is(err, fault.Conflict) {
		return s, false, err
	}
	r.accounts.forget(account.ID)
	return s, true, nil
}

// planID returns the id of the plan that stands; empty if none does.
func planID(a archive.Account) string {
	if a.Plan == nil {
		return ""
	}
	return a.Plan.ID
}

// correct corrects what was entered into the budgets for a retrieval to what it costs,
// zero if nothing was asked for. Should giving back fail, less can be spent that day: the
// budget holds. It can cost more than was entered only if nobody knew how large the
// archive is; then the rest is entered whatever the limits say, so that they end what
// follows.
func (r *Requester) correct(ctx context.Context, log *slog.Logger, s archive.Spending, cost archive.MicroUSD) {
	if s.Amount == cost || s.Day == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	var err error
	if s.Amount > cost {
		s.Amount -= cost
		err = r.Budgets.Return(ctx, s)
	} else {
		s.Amount = cost - s.Amount
		s.UserLimit, s.DayLimit, s.Approved = 0, 0, 0
		_, err = r.Budgets.Spend(ctx, s)
	}
	if err != nil {
		log.Warn("the budgets do not have what the retrieval really cost", "amount", s.Amount.String(), "err", err)
	}
}

// price returns what the retrieval of the job's archive costs in the tier. An archive
// of which the catalog has no size is taken to be of the assumed one.
func (r *Requester) price(tier archive.Tier, job archive.Job) archive.MicroUSD {
	return r.priceOf(archive.Retrieval{Tier: tier}, job)
}

// priceOf is price of a retrieval that Glacier has, and may have told the size of.
func (r *Requester) priceOf(retrieval archive.Retrieval, job archive.Job) archive.MicroUSD {
	size := job.ArchiveSize
	if size < 0 {
		size = retrieval.Size
	}
	if size <= 0 && job.ArchiveSize < 0 {
		size = r.AssumedSize
	}
	return r.Prices.Of(retrieval.Tier, 1, size)
}

// bill fills in what the retrieval costs. Where the catalog has no size, Glacier is
// asked for that of the retrieval which it has just accepted: a call without a price.
func (r *Requester) bill(ctx context.Context, log *slog.Logger, retrieval *archive.Retrieval, job archive.Job) {
	if job.ArchiveSize < 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
		defer cancel()
		described, err := r.Vault.Describe(ctx, retrieval.ID)
		if err != nil {
			log.Info("the archive's size is not known: its retrieval is billed as if it had the assumed one", "assumed", r.AssumedSize, "err", err)
		}
		retrieval.Size = described.Size
	}
	retrieval.Cost = r.priceOf(*retrieval, job)
}
