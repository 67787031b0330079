// Package thaw asks Glacier for the archives of users who became Premium. The [Planner]
// carries out the plan on a user's account: it publishes a task for each archived job. The
// [Requester] turns a task into one retrieval.
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
	"github.com/gas-restore/gas/internal/trace"
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
	// KV has how far each plan is, and how it ended. Without it, or while it cannot be
	// reached, an interrupted plan begins anew.
	KV kv.Store
	// Limits is what retrievals may cost in a day; the zero Limits has no limit.
	Limits Limits
	// Window is the largest number of tasks that one user has in the stream; 2,000 if zero.
	// So a user with a million archives does not keep other users waiting, and does not fill
	// the stream.
	Window int
	// Tiers is the order in which tiers are tried, Prices the price list. An archive of
	// unknown size counts with AssumedSize.
	Tiers       archive.Tiers
	Prices      cost.Prices
	AssumedSize int64
	Now         func() time.Time
	Log         *slog.Logger
	// OnPlan gets the outcome of each delivery of a plan; it may be nil.
	OnPlan func(Outcome)
}

const (
	// fullWait is how long a plan waits if the stream is full. The bus puts messages aside
	// that wait for so long. So many plans may wait, and none of them is in flight.
	fullWait = 15 * time.Second
	// A plan that has its Window of tasks in the stream waits from leastWait to movingWait.
	// The faster the tasks are done, the shorter it waits. It waits for stuckWait if no task
	// was done since the last look.
	leastWait, movingWait, stuckWait = 250 * time.Millisecond, 2 * time.Second, 30 * time.Second
	// defaultWindow is how many tasks of a user are in the stream.
	defaultWindow = 2000
	// lookAfter is the time after which a sweep checks a plan that was carried out or opened.
	lookAfter = 5 * time.Minute
)

// Plan publishes one [events.ThawRequested] for each archived job of the user that has no
// retrieval yet. The account needs a plan for that, or the message opens one; see
// [archive.Account.Opens]. Without a plan, Plan does nothing. If it runs twice, it
// publishes the same ids. If it was interrupted, it goes on where it was. A plan that would
// cost too much is held; that is no error. An unknown user is an error of kind Invalid.
func (p *Planner) Plan(ctx context.Context, e events.UserUpgraded, _ Emit) error {
	log := trace.Log(ctx, p.Log).With("user", e.UserID, "message", e.ID)
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

// standing returns the plan on the account, or one that the message opens, or nil.
func (p *Planner) standing(ctx context.Context, log *slog.Logger, account archive.Account, e events.UserUpgraded) (*archive.Plan, error) {
	switch account.Opens(e) {
	case archive.Go:
		return account.Plan, nil
	case archive.Nothing:
		return nil, nil
	}
	why := archive.Announcement
	if e.Via == events.ViaOperator {
		why = archive.Operator
	}
	upgradedAt := account.RoleChangedAt
	if account.Role != archive.Premium || upgradedAt.IsZero() {
		upgradedAt = e.UpgradedAt
	}
	now := p.Now().UTC()
	// The plan has the message's id: the message opens one plan, however often it comes.
	plan := archive.Plan{ID: "message-" + e.ID, UpgradedAt: upgradedAt.UTC(), Why: why, State: archive.PlanOpen, OpenedAt: now, Due: now.Add(lookAfter)}
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
	log.Info("plan opened", "plan", plan.ID, "why", why, "upgraded_at", plan.UpgradedAt)
	return &plan, nil
}

// stopped returns the operator's hold on the user, or on everything.
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

// carryOut publishes the tasks page by page, from the plan's cursor on. The cursor moves
// when all tasks of a page are stored. So no task before it is published again.
func (p *Planner) carryOut(ctx context.Context, log *slog.Logger, progress *Progress) error {
	for page := 0; ; page++ {
		if page > 0 {
			// A plan of many pages may be held or cancelled meanwhile. Then the gate would drop
			// the plan's tasks.
			if stands, err := p.stands(ctx, progress); err != nil || !stands {
				return err
			}
		}
		if err := p.room(ctx, log, progress); err != nil {
			return err
		}
		jobs, next, err := p.Jobs.ArchivedPage(ctx, progress.User, progress.Cursor)
		if fault.Is(err, fault.Invalid) && progress.Cursor != "" {
			log.Warn("the plan's cursor is not valid: the plan begins anew", "err", err)
			progress.Cursor, progress.Planned, progress.Thawing, progress.LookedAt = "", 0, 0, time.Time{}
			continue
		}
		if err != nil {
			return err
		}
		// The statuses come first, and are stored before the tasks: the web page has to hear
		// "planned" before "requested", and "planned" must not be the last word about a file that
		// is back. Together, the tasks could be stored and the statuses refused; then the next
		// delivery would tell "planned" after a fast file was restored.
		states, tasks := make([]events.Event, 0, len(jobs)), make([]events.Event, 0, len(jobs))
		for _, job := range jobs {
			if job.RetrievalID != "" {
				progress.Thawing++
				continue
			}
			states = append(states, events.StatusChanged{
				JobID: job.ID, UserID: job.UserID, State: archive.Planned, At: p.Now().UTC(), Step: progress.ID,
			})
			tasks = append(tasks, events.ThawRequested{
				ID: progress.ID, JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, Plan: progress.Plan, UpgradedAt: progress.UpgradedAt,
			})
		}
		err = p.Tasks.Publish(ctx, states)
		if err == nil {
			err = p.Tasks.Publish(ctx, tasks)
		}
		if fault.Is(err, fault.Throttled) {
			// The requesters are behind. The plan waits in its own stream and goes on from its
			// cursor. It blocks nobody meanwhile, and burns no attempt.
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

// stands reports whether the account still has the plan, and the plan is open.
func (p *Planner) stands(ctx context.Context, progress *Progress) (bool, error) {
	account, err := p.Accounts.Account(ctx, progress.User)
	if err != nil {
		return false, err
	}
	return account.Plan != nil && account.Plan.ID == progress.Plan && account.Plan.State == archive.PlanOpen, nil
}

// room returns an error of kind Wait if the user has too many tasks in the stream. The plan
// comes again soon if requesters work on the tasks.
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
		// Wait until there is room again, if the requesters go on at this rate.
		wait = min(max(time.Duration(float64(n-window/2)/progress.Rate*float64(time.Second)), leastWait), movingWait)
	}
	progress.Outstanding, progress.Done, progress.LookedAt, progress.Outcome = n, done, now, Planning
	p.save(ctx, log, *progress)
	return fault.After(fault.Wait, wait, fmt.Errorf("%d tasks are planned, and %d of them are not done yet", progress.Planned, n))
}
