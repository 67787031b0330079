package thaw

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Budget is what the plans of one day may cost by their estimates, a day being
// one of UTC. Zero is no limit.
type Budget struct {
	// User is for the plans of one user, Day for those of all.
	User, Day archive.MicroUSD
}

func (b Budget) limited() bool { return b.User > 0 || b.Day > 0 }

// spending is what the plans of one day were let through for, by their ids.
type spending map[string]spent

type spent struct {
	User events.UserID    `json:"u"`
	Cost archive.MicroUSD `json:"c"`
}

func spendingKey(at time.Time) string { return "spent." + at.UTC().Format(time.DateOnly) }

// over returns why a plan that costs this much is over budget beside what was
// spent on others; empty if it is not.
func (b Budget) over(s spending, id string, user events.UserID, c archive.MicroUSD) string {
	ofUser, ofDay := c, c
	for other, x := range s {
		if other == id {
			continue // it was let through before; that it comes again costs nothing
		}
		ofDay = ofDay.Plus(x.Cost)
		if x.User == user {
			ofUser = ofUser.Plus(x.Cost)
		}
	}
	switch {
	case b.User > 0 && ofUser > b.User:
		return fmt.Sprintf("%s for this user today is over the budget of %s", ofUser, b.User)
	case b.Day > 0 && ofDay > b.Day:
		return fmt.Sprintf("%s for all users today is over the budget of %s", ofDay, b.Day)
	}
	return ""
}

// Count returns what a plan for the user would retrieve, and how many archives
// are on their way already.
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
			e.Add(job.ArchiveSize, assumedSize)
		}
		if cursor = next; next == "" {
			return e, thawing, nil
		}
	}
}

// budget estimates the plan and enters it into the day's spending; held is true
// if it is over budget, and is kept in Holds. Without a limit nothing is counted.
func (p *Planner) budget(ctx context.Context, log *slog.Logger, plan *Plan, e events.UserUpgraded) (held bool, err error) {
	if !p.Budget.limited() {
		return false, nil
	}
	if p.Plans == nil || p.Holds == nil {
		return false, fault.Errorf(fault.Denied, "there is a budget, and nowhere to keep what is spent")
	}
	estimate, _, err := Count(ctx, p.Jobs, e.UserID, p.AssumedSize)
	if err != nil {
		return false, err
	}
	plan.Archives, plan.Bytes, plan.Cost = estimate.Archives, estimate.Bytes, estimate.AtMost(p.Prices, p.Tiers)
	why, err := p.spend(ctx, *plan, archive.MicroUSD(e.ApprovedMicroUSD))
	if err != nil {
		return false, err
	}
	if why == "" {
		return false, nil
	}
	plan.Outcome, plan.Reason = Held, why
	plan.UpdatedAt = p.Now().UTC()
	if err := write(ctx, p.Holds, HoldKey(plan.User), plan); err != nil {
		return false, fault.Errorf(fault.Transient, "hold the plan: %w", err)
	}
	log.Warn("the plan is held: `gas thaw "+string(plan.User)+" --approve` lets it go on", "cost", plan.Cost.String(), "why", why)
	return true, nil
}

// spend enters the plan into the day's spending, unless it is over budget and
// not approved: then it says why. Two planners that enter at once do it one after
// the other.
func (p *Planner) spend(ctx context.Context, plan Plan, approved archive.MicroUSD) (why string, err error) {
	key := spendingKey(p.Now())
	for range 20 {
		s := spending{}
		revision, _, err := read(ctx, p.Plans, key, &s)
		if err != nil {
			return "", fault.Errorf(fault.Transient, "read the day's spending: %w", err)
		}
		if why := p.Budget.over(s, plan.ID, plan.User, plan.Cost); why != "" && plan.Cost > approved {
			return why, nil
		}
		s[plan.ID] = spent{plan.User, plan.Cost}
		data, err := json.Marshal(s)
		if err != nil {
			return "", err
		}
		err = p.Plans.Swap(ctx, key, data, revision)
		if fault.Is(err, fault.Conflict) {
			continue
		}
		if err != nil {
			return "", fault.Errorf(fault.Transient, "enter the day's spending: %w", err)
		}
		return "", nil
	}
	return "", fault.Errorf(fault.Wait, "enter the day's spending: others are first each time")
}

// Preview is what a plan would be, were it made now.
type Preview struct {
	cost.Estimate
	// Thawing is how many archives are on their way already.
	Thawing int64 `json:"already_thawing"`
	// InTier is what the plan costs if all of it is retrieved in one tier, AtMost
	// what the dearest of the order costs.
	InTier map[archive.Tier]archive.MicroUSD `json:"micro_usd_by_tier"`
	AtMost archive.MicroUSD                  `json:"at_most_micro_usd"`
	// OverBudget says why the plan would be held; empty if it would not.
	OverBudget string `json:"over_budget,omitempty"`
}

// Preview tells what a plan of the user's archives would cost, and whether it
// would be held, without making it.
func (p *Planner) Preview(ctx context.Context, user events.UserID) (Preview, error) {
	estimate, thawing, err := Count(ctx, p.Jobs, user, p.AssumedSize)
	if err != nil {
		return Preview{}, err
	}
	v := Preview{Estimate: estimate, Thawing: thawing, InTier: map[archive.Tier]archive.MicroUSD{}, AtMost: estimate.AtMost(p.Prices, p.Tiers)}
	for _, tier := range []archive.Tier{archive.Expedited, archive.Standard, archive.Bulk} {
		v.InTier[tier] = estimate.In(p.Prices, tier)
	}
	if !p.Budget.limited() {
		return v, nil
	}
	s := spending{}
	if _, _, err := read(ctx, p.Plans, spendingKey(p.Now()), &s); err != nil {
		return v, fmt.Errorf("read the day's spending: %w", err)
	}
	v.OverBudget = p.Budget.over(s, "", user, v.AtMost)
	return v, nil
}
