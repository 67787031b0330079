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

// Outcome is how far a plan is, or how it ended.
type Outcome string

// The outcomes.
const (
	// Planning: some tasks are not published yet.
	Planning Outcome = "planning"
	// Held: the plan would cost too much. It waits for another day, or for an approval.
	Held Outcome = "held"
	// Planned: every archive has a task.
	Planned Outcome = "planned"
	// Thawing: every archive was on its way already.
	Thawing Outcome = "already thawing"
	// HalfThawed: some archives were on their way already, the others have a task.
	HalfThawed Outcome = "half thawed"
	// NothingArchived: the user has nothing in the vault.
	NothingArchived Outcome = "nothing archived"
	// NotEntitled: the user has no plan, and the message opens none.
	NotEntitled Outcome = "not entitled"
)

// Outcomes returns all outcomes.
func Outcomes() []Outcome {
	return []Outcome{Planning, Held, Planned, Thawing, HalfThawed, NothingArchived, NotEntitled}
}

// Progress says how far a plan is carried out for one message. It is a value in the PLANS
// bucket. The plan itself is on the account.
type Progress struct {
	// ID is the id of the message.
	ID   string        `json:"id"`
	User events.UserID `json:"user"`
	// Plan is the plan's id. UpgradedAt is when the user became Premium; zero if nobody said.
	Plan       string     `json:"plan,omitempty"`
	UpgradedAt time.Time  `json:"since,omitzero"`
	Via        events.Via `json:"via,omitempty"`
	Outcome    Outcome    `json:"outcome"`
	// Reason is a sentence about the outcome.
	Reason string `json:"reason,omitempty"`
	// Planned is how many tasks were published, Thawing how many archives needed none.
	Planned int64 `json:"planned"`
	Thawing int64 `json:"thawing"`
	// Outstanding is how many tasks were not done at the last look.
	Outstanding int `json:"outstanding,omitempty"`
	// Done is how many tasks were done at the last look, Rate how many a second between the
	// last two looks.
	Done     int64     `json:"done,omitempty"`
	Rate     float64   `json:"rate,omitempty"`
	LookedAt time.Time `json:"looked_at,omitzero"`
	// Archives, Bytes and Cost are the estimate; zero if there is no limit.
	Archives int64            `json:"archives,omitempty"`
	Bytes    int64            `json:"bytes,omitempty"`
	Cost     archive.MicroUSD `json:"cost_micro_usd,omitempty"`
	// Cursor is the page of archives that comes next.
	Cursor    string    `json:"cursor,omitempty"`
	BegunAt   time.Time `json:"begun_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at"`
}

// DecodeProgress returns the progress in a value.
func DecodeProgress(value []byte) (Progress, error) {
	var p Progress
	if err := json.Unmarshal(value, &p); err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

// PlanPrefix begins the keys of a user's plans in the PLANS bucket.
func PlanPrefix(user events.UserID) string { return "plan." + events.Token(string(user)) + "." }

func (p Progress) key() string { return PlanPrefix(p.User) + events.Token(p.ID) }

// finish sets the outcome of a plan after all its tasks are published.
func (p *Progress) finish() {
	p.Cursor = ""
	switch {
	case p.Planned == 0 && p.Thawing == 0:
		p.Outcome, p.Reason = NothingArchived, "the user has nothing in the vault"
	case p.Planned == 0:
		p.Outcome, p.Reason = Thawing, fmt.Sprintf("every archive is on its way already: %d", p.Thawing)
	case p.Thawing > 0:
		p.Outcome, p.Reason = HalfThawed, fmt.Sprintf("archives to request: %d; on their way already: %d", p.Planned, p.Thawing)
	default:
		p.Outcome, p.Reason = Planned, fmt.Sprintf("archives to request: %d", p.Planned)
	}
}

// progressLife is how long a plan can continue from saved progress. Later, the plan begins
// anew. That costs time and no money: the tasks have the same ids, and the catalog knows
// which archives were requested.
const progressLife = 24 * time.Hour

// resume returns the saved progress of an interrupted plan for this message. ok is false if
// the plan was not interrupted, or if the interruption was too long ago.
func (p *Planner) resume(ctx context.Context, log *slog.Logger, fresh Progress) (progress Progress, ok bool) {
	if p.KV == nil {
		return Progress{}, false
	}
	_, found, err := read(ctx, p.KV, fresh.key(), &progress)
	if err != nil {
		log.Warn("the plan's progress cannot be read: the plan begins anew", "err", err)
		return Progress{}, false
	}
	age := p.Now().Sub(progress.UpdatedAt)
	ok = found && progress.ID == fresh.ID && progress.User == fresh.User && progress.Plan == fresh.Plan && progress.Outcome == Planning && age >= 0 && age < progressLife
	return progress, ok
}

// save writes the progress. The plan continues after an error: at worst, it begins anew later.
func (p *Planner) save(ctx context.Context, log *slog.Logger, progress Progress) {
	if p.KV == nil {
		return
	}
	progress.UpdatedAt = p.Now().UTC()
	if err := write(ctx, p.KV, progress.key(), progress); err != nil {
		log.Warn("the plan's progress was not saved", "err", err)
	}
}

// end tells the log, the operator and the metrics how the plan ended.
func (p *Planner) end(ctx context.Context, log *slog.Logger, progress Progress) {
	if progress.Outcome == NotEntitled {
		progress.Reason = "the user has no plan, and this message opens none"
	}
	log.Info("plan: "+string(progress.Outcome), "reason", progress.Reason, "planned", progress.Planned, "already_thawing", progress.Thawing)
	p.save(ctx, log, progress)
	if p.OnPlan != nil {
		p.OnPlan(progress.Outcome)
	}
}
