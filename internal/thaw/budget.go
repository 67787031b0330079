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

// Limits are the most that retrievals may cost in one day of UTC. Zero is no limit.
type Limits struct {
	// User is the limit of one user, Day the limit of all users together.
	User, Day archive.MicroUSD
}

// Limited reports whether there is a limit.
func (b Limits) Limited() bool { return b.User > 0 || b.Day > 0 }

// over says why the cost c, added to today's spending, exceeds a limit; empty if it does not.
func (b Limits) over(all, ofUser, c archive.MicroUSD) string {
	switch {
	case b.User > 0 && ofUser.Plus(c) > b.User:
		return fmt.Sprintf("%s for this user today is over the budget of %s", ofUser.Plus(c), b.User)
	case b.Day > 0 && all.Plus(c) > b.Day:
		return fmt.Sprintf("%s for all users today is over the budget of %s", all.Plus(c), b.Day)
	}
	return ""
}

// dayOf returns the day of UTC, nextDay when the next one begins.
func dayOf(at time.Time) string { return at.UTC().Format(time.DateOnly) }

func nextDay(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour) }

// Count returns an estimate of the archives that a plan of the user would retrieve, and the
// number of archives that are on their way already.
func Count(ctx context.Context, jobs ArchivedJobs, user events.UserID, assumedSize int64) (e cost.Estimate, thawing int64, err error) {
	for cursor := ""; ; {
		page, next, err := jobs.ArchivedPage(ctx, user, cursor)
		if err != nil {
			return e, thawing, err
		}
		for _, job := range page {
			if job.RetrievalID != "" {
				thawing++
				continue
			}
			e.Add(job, assumedSize)
		}
		if cursor = next; next == "" {
			return e, thawing, nil
		}
	}
}

// forecast adds up the prices of the retrievals that the plan still needs. If the sum, added
// to today's spending, exceeds a limit, forecast holds the plan. It enters nothing into the
// budgets: the [Requester] enters each retrieval when it requests the archive. The budgets
// have the archives that are on their way already, so forecast leaves those out. Without a
// limit, forecast adds up nothing.
func (p *Planner) forecast(ctx context.Context, log *slog.Logger, progress *Progress, plan archive.Plan, approved archive.MicroUSD) (held bool, err error) {
	approved = max(approved, plan.Approved)
	if !p.Limits.Limited() {
		return false, p.goOn(ctx, progress.User, plan, approved)
	}
	if p.Budgets == nil {
		return false, fault.Errorf(fault.Denied, "a limit is set, and there is no table of what was spent")
	}
	estimate, _, err := Count(ctx, p.Jobs, progress.User, p.AssumedSize)
	if err != nil {
		return false, err
	}
	progress.Archives, progress.Bytes, progress.Cost = estimate.Archives, estimate.Bytes, estimate.AtMost(p.Prices, p.Tiers)
	if progress.Cost <= approved || progress.Archives == 0 {
		return false, p.goOn(ctx, progress.User, plan, approved)
	}
	now := p.Now()
	all, ofUser, err := p.Budgets.Spent(ctx, dayOf(now), progress.User)
	if err != nil {
		return false, err
	}
	why := p.Limits.over(all, ofUser, progress.Cost)
	if why == "" {
		return false, p.goOn(ctx, progress.User, plan, approved)
	}
	if err := p.Plans.HoldPlan(ctx, progress.User, plan.ID, why, nextDay(now)); err != nil {
		return false, changed(err)
	}
	progress.Outcome, progress.Reason = Held, why
	log.Warn("the plan is held until a day has room for it: `gas thaw "+string(progress.User)+" --approve` lets it go on", "cost", progress.Cost.String(), "why", why)
	return true, nil
}

// goOn opens the plan again if it was held, and writes the approved amount.
func (p *Planner) goOn(ctx context.Context, user events.UserID, plan archive.Plan, approved archive.MicroUSD) error {
	if plan.State == archive.PlanOpen && approved == plan.Approved {
		return nil
	}
	return changed(p.Plans.ResumePlan(ctx, user, plan.ID, approved, p.Now().Add(lookAfter)))
}

// changed turns a conflict into an error of kind Wait. Then the plan's message comes again,
// and the planner reads the account again.
func changed(err error) error {
	if fault.Is(err, fault.Conflict) {
		return fault.New(fault.Wait, fmt.Errorf("the account changed meanwhile: %w", err))
	}
	return err
}

// Preview says what a plan would cost now.
type Preview struct {
	cost.Estimate
	// Thawing is how many archives are on their way already.
	Thawing int64 `json:"already_thawing"`
	// InTier is what the plan costs if all archives are retrieved in one tier. AtMost is the
	// price in the dearest tier of the order.
	InTier map[archive.Tier]archive.MicroUSD `json:"micro_usd_by_tier"`
	AtMost archive.MicroUSD                  `json:"at_most_micro_usd"`
	// Early is the highest fee for deleting archives before their least time is over.
	Early archive.MicroUSD `json:"early_deletion_at_most_micro_usd"`
	// OverBudget says why the plan would be held; empty if it would not.
	OverBudget string `json:"over_budget,omitempty"`
}

// Preview says what a plan of the user's archives would cost, and whether it would be held.
// It opens no plan.
func (p *Planner) Preview(ctx context.Context, user events.UserID) (Preview, error) {
	estimate, thawing, err := Count(ctx, p.Jobs, user, p.AssumedSize)
	if err != nil {
		return Preview{}, err
	}
	v := Preview{Estimate: estimate, Thawing: thawing, InTier: map[archive.Tier]archive.MicroUSD{}, AtMost: estimate.AtMost(p.Prices, p.Tiers), Early: estimate.EarlyAtMost(p.Prices)}
	for _, tier := range archive.AllTiers() {
		v.InTier[tier] = estimate.In(p.Prices, tier)
	}
	if !p.Limits.Limited() {
		return v, nil
	}
	all, ofUser, err := p.Budgets.Spent(ctx, dayOf(p.Now()), user)
	if err != nil {
		return v, err
	}
	v.OverBudget = p.Limits.over(all, ofUser, v.AtMost)
	return v, nil
}
