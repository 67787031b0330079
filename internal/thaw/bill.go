package thaw

import (
	"context"
	"log/slog"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// spend enters the highest possible price of the retrieval into the budgets: the price in the
// dearest of the tiers. If a budget does not allow it, spend holds the plan, and held is true.
func (r *Requester) spend(ctx context.Context, log *slog.Logger, job archive.Job, account archive.Account, tiers archive.Tiers) (s archive.Spending, held bool, err error) {
	if !r.Limits.Limited() {
		return s, false, nil
	}
	if r.Budgets == nil || r.Plans == nil {
		return s, false, fault.Errorf(fault.Denied, "a limit is set, and there is no table of what was spent")
	}
	now := r.Now()
	s = archive.Spending{Day: dayOf(now), User: account.ID, Plan: planID(account)}
	if !job.Ordered {
		// An operator's order counts, and no budget stops it.
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

// planID returns the id of the account's plan; empty if it has none.
func planID(a archive.Account) string {
	if a.Plan == nil {
		return ""
	}
	return a.Plan.ID
}

// correct changes the amount that spend entered to the real cost. The cost is zero if nothing
// was requested. If this write fails, less can be spent on that day, and the limits hold.
// The real cost is higher only if the catalog did not know the archive's size. Then correct
// enters the rest without a limit, so that the limits stop the next retrievals.
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
		log.Warn("the budgets were not corrected to the real cost of the retrieval", "amount", s.Amount.String(), "err", err)
	}
}

// price returns the price of a retrieval of the job's archive in the tier. If the catalog has
// no size, the assumed size counts.
func (r *Requester) price(tier archive.Tier, job archive.Job) archive.MicroUSD {
	return r.priceOf(archive.Retrieval{Tier: tier}, job)
}

// priceOf is price for a retrieval that Glacier has. The size may come from Glacier.
func (r *Requester) priceOf(retrieval archive.Retrieval, job archive.Job) archive.MicroUSD {
	size := job.ArchiveSize
	if size < 0 {
		size = retrieval.Size
	}
	if size <= 0 && job.ArchiveSize < 0 {
		size = r.AssumedSize
	}
	return r.Prices.Of(job.Copy.Class, retrieval.Tier, 1, size)
}

// bill sets the cost of the retrieval. If the catalog has no size, bill asks Glacier for the
// size of the retrieval. That call costs nothing.
func (r *Requester) bill(ctx context.Context, log *slog.Logger, retrieval *archive.Retrieval, job archive.Job) {
	if job.ArchiveSize < 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
		defer cancel()
		job.RetrievalID = retrieval.ID
		described, err := r.Vault.Describe(ctx, job)
		if err != nil {
			log.Info("the archive's size is not known: its retrieval is billed with the assumed size", "assumed", r.AssumedSize, "err", err)
		}
		retrieval.Size = described.Size
	}
	retrieval.Cost = r.priceOf(*retrieval, job)
}
