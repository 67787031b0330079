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

// Outcome is how a pass over a plan ended, or that it has not.
type Outcome string

// The outcomes.
const (
	// Planning: not all tasks are published yet.
	Planning Outcome = "planning"
	// Held: the plan is over budget and waits for a day with room, or an approval.
	Held Outcome = "held"
	// Planned: there is a task for every archive that was not thawing.
	Planned Outcome = "planned"
	// Thawing: every archive was thawing already.
	Thawing Outcome = "already thawing"
	// HalfThawed: some archives were thawing already, the others have a task.
	HalfThawed Outcome = "half thawed"
	// NothingArchived: nothing of the user's is in the vault.
	NothingArchived Outcome = "nothing archived"
	// NotEntitled: no plan of the user's stands, and the message opens none.
	NotEntitled Outcome = "not entitled"
)

// Progress is how far the pass over a plan is that one message led to. It is a note in
// the PLANS bucket: the plan itself stands on the account.
type Progress struct {
	// ID is that of the message.
	ID   string        `json:"id"`
	User events.UserID `json:"user"`
	// Plan is the plan, Since since when the user is entitled to it; zero if nobody said.
	Plan       string    `json:"plan,omitempty"`
	UpgradedAt time.Time `json:"since,omitzero"`
	Via        string    `json:"via,omitempty"`
	Outcome    Outcome   `json:"outcome"`
	// Reason is a sentence about the outcome.
	Reason string `json:"reason,omitempty"`
	// Planned is how many tasks were published, Thawing how many archives needed none.
	Planned int64 `json:"planned"`
	Thawing int64 `json:"thawing"`
	// Outstanding is how many tasks were still to be asked for at the last look.
	Outstanding int `json:"outstanding,omitempty"`
	// Done is how many of the tasks were done by then, Rate how many a second since the
	// look before.
	Done     int64     `json:"done,omitempty"`
	Rate     float64   `json:"rate,omitempty"`
	LookedAt time.Time `json:"looked_at,omitzero"`
	// Archives, Bytes and Cost are what was estimated; zero without a budget.
	Archives int64            `json:"archives,omitempty"`
	Bytes    int64            `json:"bytes,omitempty"`
	Cost     archive.MicroUSD `json:"cost_micro_usd,omitempty"`
	// Cursor is where in the list of archives the pass is.
	Cursor    string    `json:"cursor,omitempty"`
	BegunAt   time.Time `json:"begun_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at"`
}

// DecodeProgress returns the progress of a note.
func DecodeProgress(note []byte) (Progress, error) {
	var p Progress
	if err := json.Unmarshal(note, &p); err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

// PlanPrefix begins the keys of a user's passes in the PLANS bucket.
func PlanPrefix(user events.UserID) string { return "plan." + events.Token(string(user)) + "." }

func (p Progress) key() string { return PlanPrefix(p.User) + events.Token(p.ID) }

// finish says how a pass ended that was carried out.
func (p *Progress) finish() {
	p.Cursor = ""
	switch {
	case p.Planned == 0 && p.Thawing == 0:
		p.Outcome, p.Reason = NothingArchived, "nothing of the user's is in the vault"
	case p.Planned == 0:
		p.Outcome, p.Reason = Thawing, fmt.Sprintf("every archive is on its way already: %d", p.Thawing)
	case p.Thawing > 0:
		p.Outcome, p.Reason = HalfThawed, fmt.Sprintf("archives to request: %d; on their way already: %d", p.Planned, p.Thawing)
	default:
		p.Outcome, p.Reason = Planned, fmt.Sprintf("archives to request: %d", p.Planned)
	}
}

// progressLife is how long a pass's progress is good for. After it, the pass begins
// anew, which costs time and nothing else: its tasks have the same ids, and the
// catalog knows what has been requested.
const progressLife = 24 * time.Hour

// resume returns how far the pass of this very message came when it was interrupted.
// ok is false if it was not, or if that is too long ago.
func (p *Planner) resume(ctx context.Context, log *slog.Logger, fresh Progress) (progress Progress, ok bool) {
	if p.KV == nil {
		return Progress{}, false
	}
	_, found, err := read(ctx, p.KV, fresh.key(), &progress)
	if err != nil {
		log.Warn("the plan's progress is not known, beginning anew", "err", err)
		return Progress{}, false
	}
	age := p.Now().Sub(progress.UpdatedAt)
	ok = found && progress.ID == fresh.ID && progress.User == fresh.User && progress.Plan == fresh.Plan && progress.Outcome == Planning && age >= 0 && age < progressLife
	return progress, ok
}

// save writes down how far the pass is. That it cannot is no reason to stop.
func (p *Planner) save(ctx context.Context, log *slog.Logger, progress Progress) {
	if p.KV == nil {
		return
	}
	progress.UpdatedAt = p.Now().UTC()
	if err := write(ctx, p.KV, progress.key(), progress); err != nil {
		log.Warn("the plan's progress is not saved", "err", err)
	}
}

// end says how a pass ended, to the log, the operator and the metrics.
func (p *Planner) end(ctx context.Context, log *slog.Logger, progress Progress) {
	if progress.Outcome == NotEntitled {
		progress.Reason = "no plan of the user's stands, and this message opens none"
	}
	log.Info("plan: "+string(progress.Outcome), "reason", progress.Reason, "planned", progress.Planned, "already_thawing", progress.Thawing)
	p.save(ctx, log, progress)
	if p.OnPlan != nil {
		p.OnPlan(progress.Outcome)
	}
}
