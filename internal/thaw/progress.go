package thaw

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// Outcome is how a plan ended, or that it has not.
type Outcome string

// The outcomes.
const (
	// Planning: not all tasks are published yet.
	Planning Outcome = "planning"
	// Held: it is over budget and waits for an operator's approval.
	Held Outcome = "held"
	// Planned: there is a task for every archive that was not thawing.
	Planned Outcome = "planned"
	// Thawing: every archive was thawing already.
	Thawing Outcome = "already thawing"
	// HalfThawed: some archives were thawing already, the others have a task.
	HalfThawed Outcome = "half thawed"
	// Restored: nothing of the user's is in the vault.
	Restored Outcome = "nothing archived"
	// NotEntitled: the user is not Premium any more.
	NotEntitled Outcome = "not premium"
)

// Plan is what is known of one plan. It stands in the PLANS bucket, and in HOLDS
// while it is held.
type Plan struct {
	// ID is that of the upgrade.
	ID         string        `json:"id"`
	User       events.UserID `json:"user"`
	UpgradedAt time.Time     `json:"upgraded_at"`
	Via        string        `json:"via,omitempty"`
	Outcome    Outcome       `json:"outcome"`
	// Reason is a sentence about the outcome.
	Reason string `json:"reason,omitempty"`
	// Planned is how many tasks were published, Thawing how many archives needed none.
	Planned int64 `json:"planned"`
	Thawing int64 `json:"thawing"`
	// Archives, Bytes and Cost are what was estimated; zero without a budget.
	Archives int64            `json:"archives,omitempty"`
	Bytes    int64            `json:"bytes,omitempty"`
	Cost     archive.MicroUSD `json:"cost_micro_usd,omitempty"`
	// Cursor is where in the list of archives the plan is.
	Cursor    string    `json:"cursor,omitempty"`
	BegunAt   time.Time `json:"begun_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at"`
	// ApprovedAt is when an operator approved a plan that was held.
	ApprovedAt time.Time `json:"approved_at,omitzero"`
}

// DecodePlan returns the plan of a note.
func DecodePlan(note []byte) (Plan, error) {
	var p Plan
	if err := json.Unmarshal(note, &p); err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

// PlanPrefix begins the keys of a user's plans in the PLANS bucket, HoldKey is
// that of a user's held plan in HOLDS: a plan is of all that a user has, so one
// hold stands for all of them.
func PlanPrefix(user events.UserID) string { return "plan." + events.Token(string(user)) + "." }

// HoldKey is where the plan of a user is kept that is held.
func HoldKey(user events.UserID) string { return "hold." + events.Token(string(user)) }

func (p Plan) key() string { return PlanPrefix(p.User) + events.Token(p.ID) }

// finish says how a plan ended that was carried out.
func (p *Plan) finish() {
	p.Cursor = ""
	switch {
	case p.Planned == 0 && p.Thawing == 0:
		p.Outcome, p.Reason = Restored, "nothing of the user's is in the vault"
	case p.Planned == 0:
		p.Outcome, p.Reason = Thawing, fmt.Sprintf("every archive is on its way already: %d", p.Thawing)
	case p.Thawing > 0:
		p.Outcome, p.Reason = HalfThawed, fmt.Sprintf("archives to request: %d; on their way already: %d", p.Planned, p.Thawing)
	default:
		p.Outcome, p.Reason = Planned, fmt.Sprintf("archives to request: %d", p.Planned)
	}
}

// progressLife is how long a plan's progress is good for. After it, the plan
// begins anew, which costs time and nothing else: its tasks have the same ids, and
// the catalog knows what has been requested.
const progressLife = 24 * time.Hour

// resume returns how far the plan of this very upgrade came when it was
// interrupted. ok is false if it was not, or if that is too long ago.
func (p *Planner) resume(ctx context.Context, log *slog.Logger, e events.UserUpgraded) (plan Plan, ok bool) {
	if p.Plans == nil {
		return Plan{}, false
	}
	_, found, err := read(ctx, p.Plans, Plan{ID: e.ID, User: e.UserID}.key(), &plan)
	if err != nil {
		log.Warn("the plan's progress is not known, beginning anew", "err", err)
		return Plan{}, false
	}
	age := p.Now().Sub(plan.UpdatedAt)
	ok = found && plan.ID == e.ID && plan.User == e.UserID && plan.UpgradedAt.Equal(e.At) && plan.Outcome == Planning && age >= 0 && age < progressLife
	return plan, ok
}

// note writes down how far the plan is. That it cannot is no reason to stop.
func (p *Planner) note(ctx context.Context, log *slog.Logger, plan Plan) {
	if p.Plans == nil {
		return
	}
	plan.UpdatedAt = p.Now().UTC()
	if err := write(ctx, p.Plans, plan.key(), plan); err != nil {
		log.Warn("the plan's progress is not saved", "err", err)
	}
}

// end says how a plan ended, to the log, the operator and the metrics.
func (p *Planner) end(ctx context.Context, log *slog.Logger, plan Plan) {
	if plan.Outcome == NotEntitled {
		plan.Reason = "the user is not premium any more"
	}
	log.Info("plan: "+string(plan.Outcome), "reason", plan.Reason, "planned", plan.Planned, "already_thawing", plan.Thawing)
	p.note(ctx, log, plan)
	if p.OnPlan != nil {
		p.OnPlan(plan.Outcome)
	}
}

// release forgets the user's held plan, if this one was as new: all that it was
// of has been planned.
func (p *Planner) release(ctx context.Context, e events.UserUpgraded) error {
	if p.Holds == nil {
		return nil
	}
	var held Plan
	_, found, err := read(ctx, p.Holds, HoldKey(e.UserID), &held)
	if err != nil || !found || held.UpgradedAt.After(e.At) {
		return ignoreUnless(p.Budget.limited(), err)
	}
	return p.Holds.Delete(ctx, HoldKey(e.UserID))
}

// ignoreUnless returns err only if it matters.
func ignoreUnless(matters bool, err error) error {
	if !matters {
		return nil
	}
	return err
}

// Approve returns the event that lets a held plan go on, if it costs no more than
// limit. Its id is new, so that the stream takes it; the time is that of the
// upgrade, which is what the user is entitled by.
func (p Plan) Approve(limit archive.MicroUSD, now time.Time) events.UserUpgraded {
	return events.UserUpgraded{
		ID:               "approved-" + now.UTC().Format("20060102T150405.000000000Z"),
		UserID:           p.User,
		At:               p.UpgradedAt,
		Via:              "operator",
		ApprovedMicroUSD: int64(limit),
	}
}
