// Package thaw asks Glacier for the archives of users who became Premium: the
// [Planner] carries out the plan that stands on a user's account, one task for each
// archived job, and the [Requester] turns a task into one retrieval.
package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/pkg/events"
)

// Planner carries out plans.
type Planner struct {
	Accounts Accounts
	Plans    Plans
	Budgets  Budgets
	Switches Switches
	Jobs     ArchivedJobs
	Tasks    Tasks
	// KV keep how far plans are, and how they ended. Without them, or while they
	// cannot be reached, a plan that is interrupted begins anew.
	KV kv.Store
	// Limits is what retrievals may cost; the zero Limits has no limit.
	Limits Limits
	// Window is how many tasks of one user are in the stream at the most, 2,000 if zero:
	// a user with a million archives does not keep the others waiting, nor does the
	// stream grow with them.
	Window int
	// Tiers, Prices and AssumedSize, of an archive whose size is not known, tell
	// what a plan costs at the most.
	Tiers       archive.Tiers
	Prices      cost.Prices
	AssumedSize int64
	Now         func() time.Time
	Log         *slog.Logger
	// OnPlan is told how each pass over a plan ended; it may be nil.
	OnPlan func(Outcome)
}

const (
	// fullWait is after how long a plan goes on for which there was no room: so long that
	// it is put aside, for there may be many, and they hold no place meanwhile.
	fullWait = 15 * time.Second
	// stuckWait is after how long a plan goes on with as many tasks in the stream as it
	// may have, if none of them was done; while they are worked on it is from leastWait to
	// movingWait, by how fast they go.
	leastWait, movingWait, stuckWait = 250 * time.Millisecond, 2 * time.Second, 30 * time.Second
	// defaultWindow is how many tasks of a user are in the stream.
	defaultWindow = 2000
	// lookAfter is when a sweep looks at a plan that was carried out or opened.
	lookAfter = 5 * time.Minute
)

// Plan publishes one [events.ThawRequested] for each of the user's archived jobs that
// is not being retrieved yet, if a plan stands on the user's account, or one may be
// opened there by the message ([archive.Account.Opens]). Run twice, it publishes the
// same ids; run again after it was interrupted, it goes on from where it was. A plan
// that is over budget is held, with no error.
//
// An unknown user is an error of kind Invalid. A user to whom nothing is due gets
// nothing, and no error.
func (p *Planner) Plan(ctx context.Context, e events.UserUpgraded, _ Emit) error {
	log := p.Log.With("user", e.UserID, "message", e.ID)
	progress := Progress{ID: e.ID, User: e.UserID, Via: e.Via}
	account, err := p.Accounts.Account(ctx, e.UserID)
	if fault.Is(err, fault.NotFound) {
		return fault.Errorf(fault.Invalid, "unknown user %q: no such account", e.UserID)
	}
	if err != nil {
		return err
	}
	if doubt := account.Unreadable; doubt != "" {
		return fault.Because(fault.Invalid, "unreadable account in the catalog", fmt.Errorf("the catalog's account %q cannot be worked with: %s", account.ID, doubt))
	}
	plan, err := p.standing(ctx, log, account, e)
	if err != nil {
		return err
	}
	if plan == nil {
		progress.Outcome = NotEntitled
		p.end(ctx, log, progress)
		return nil
	}
	log, progress.Plan, progress.UpgradedAt = log.With("plan", plan.ID), plan.ID, plan.UpgradedAt
	if hold, stopped, err := p.stopped(ctx, e.UserID); err != nil {
		return err
	} else if stopped {
		return fault.After(fault.Wait, hold.LookAgain(p.Now()), fmt.Errorf("an operator stopped it: %s", hold.Reason))
	}
	if resumed, ok := p.resume(ctx, log, progress); ok {
		progress = resumed
		log.Info("the plan goes on", "planned", progress.Planned, "begun", progress.BegunAt)
	} else {
		progress.BegunAt = p.Now().UTC()
		held, err := p.forecast(ctx, log, &progress, *plan, archive.MicroUSD(e.ApprovedMicroUSD))
		if err != nil {
			return err
		}
		if held {
			p.end(ctx, log, progress)
			return nil
		}
	}
	if err := p.carryOut(ctx, log, &progress); err != nil {
		return err
	}
	progress.finish()
	p.end(ctx, log, progress)
	return nil
}

// standing returns the plan that stands on the account, one that the message opens, or
// nil.
func (p *Planner) standing(ctx context.Context, log *slog.Logger, account archive.Account, e events.UserUpgraded) (*archive.Plan, error) {
	switch account.Opens(e) {
	case archive.Go:
		return account.Plan, nil
	case archive.Nothing:
		return nil, nil
	}
	why := archive.Announcement
	if e.Via == "operator" {
		why = archive.Operator
	}
	since := account.RoleChangedAt
	if account.Role != archive.Premium || since.IsZero() {
		since = e.At
	}
	now := p.Now().UTC()
	// The id is the message's, so that the message opens one plan however often it comes.
	plan := archive.Plan{ID: "message-" + e.ID, UpgradedAt: since.UTC(), Why: why, State: archive.PlanOpen, OpenedAt: now, Due: now.Add(lookAfter)}
	err := p.Plans.OpenPlan(ctx, account, plan)
	switch {
	case fault.Is(err, fault.Invalid):
		log.Info("nothing to plan: the plan of this message is over", "plan", plan.ID)
		return nil, nil
	case fault.Is(err, fault.Conflict):
		return nil, fault.New(fault.Wait, fmt.Errorf("the account changed meanwhile: %w", err))
	case err != nil:
		return nil, err
	}
	log.Info("plan opened", "plan", plan.ID, "why", why, "since", plan.UpgradedAt)
	return &plan, nil
}

// stopped returns the operator's hold on everything that is the user's.
func (p *Planner) stopped(ctx context.Context, user events.UserID) (h archive.Hold, ok bool, err error) {
	if p.Switches == nil {
		return h, false, nil
	}
	s, err := p.Switches.Switches(ctx)
	if err != nil {
		return h, false, err
	}
	h, ok = s.Of(user)
	return h, ok, nil
}

// carryOut publishes the tasks page by page, from the plan's cursor on. The
// cursor moves when a page is stored, so what is before it never needs to be
// published again.
func (p *Planner) carryOut(ctx context.Context, log *slog.Logger, progress *Progress) error {
	for page := 0; ; page++ {
		if page > 0 {
			// A plan of many pages may be held or cancelled meanwhile. Its tasks would come
			// to nothing.
			if stands, err := p.stands(ctx, progress); err != nil || !stands {
				return err
			}
		}
		if err := p.room(ctx, log, progress); err != nil {
			return err
		}
		jobs, next, err := p.Jobs.ArchivedPage(ctx, progress.User, progress.Cursor)
		if fault.Is(err, fault.Invalid) && progress.Cursor != "" {
			log.Warn("the plan's cursor is of no use, beginning anew", "err", err)
			progress.Cursor, progress.Planned, progress.Thawing, progress.LookedAt = "", 0, 0, time.Time{}
			continue
		}
		if err != nil {
			return err
		}
		// The web page hears "planned" before a worker can say "requested".
		states, tasks := make([]events.Event, 0, 2*len(jobs)), make([]events.Event, 0, len(jobs))
		for _, job := range jobs {
			if job.RetrievalID != "" {
				progress.Thawing++
				continue
			}
			states = append(states, events.StatusChanged{
				JobID: job.ID, UserID: job.UserID, State: string(archive.Planned), At: p.Now().UTC(), Step: progress.ID,
			})
			tasks = append(tasks, events.ThawRequested{
				ID: progress.ID, JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, Plan: progress.Plan, UpgradedAt: progress.UpgradedAt,
			})
		}
		if err := p.Tasks.Publish(ctx, append(states, tasks...)); fault.Is(err, fault.Throttled) {
			// The workers are behind. The plan waits for them in its own stream, where
			// it blocks nobody and burns no attempt, and goes on from its cursor.
			return fault.After(fault.Wait, fullWait, fmt.Errorf("%d tasks are planned, and there is no room for more now: %w", progress.Planned, err))
		} else if err != nil {
			return err
		}
		progress.Planned += int64(len(tasks))
		if progress.Cursor = next; next == "" {
			return nil
		}
		progress.Outcome = Planning
		p.save(ctx, log, *progress)
	}
}

// stands reports whether the plan still stands open on the account.
func (p *Planner) stands(ctx context.Context, progress *Progress) (bool, error) {
	account, err := p.Accounts.Account(ctx, progress.User)
	if err != nil {
		return false, err
	}
	return account.Plan != nil && account.Plan.ID == progress.Plan && account.Plan.State == archive.PlanOpen, nil
}

// room returns an error of kind Wait if the user has as many tasks in the stream as a
// plan may have there. The plan comes again soon if they are being worked on.
func (p *Planner) room(ctx context.Context, log *slog.Logger, progress *Progress) error {
	window := p.Window
	if window <= 0 {
		window = defaultWindow
	}
	n, err := p.Tasks.Outstanding(ctx, progress.User, window)
	if err != nil || n <= window/2 {
		return err
	}
	now, done, wait := p.Now().UTC(), progress.Planned-int64(n), leastWait
	if since := now.Sub(progress.LookedAt).Seconds(); !progress.LookedAt.IsZero() && since > 0 {
		progress.Rate = float64(done-progress.Done) / since
		if done <= progress.Done {
			wait = stuckWait
		}
	}
	if progress.Rate > 0 {
		// When there will be room again, as fast as they went.
		wait = min(max(time.Duration(float64(n-window/2)/progress.Rate*float64(time.Second)), leastWait), movingWait)
	}
	progress.Outstanding, progress.Done, progress.LookedAt, progress.Outcome = n, done, now, Planning
	p.save(ctx, log, *progress)
	return fault.After(fault.Wait, wait, fmt.Errorf("%d tasks are planned, of which %d are still to be asked for", progress.Planned, n))
}
