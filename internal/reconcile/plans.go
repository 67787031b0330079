package reconcile

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// lookEvery is the time between two looks at an open plan.
	lookEvery = 5 * time.Minute
	// A plan is closed after two looks that found no archive of the user in the vault.
	// closeAfter is the time between them. One look is not enough: the index may be behind.
	closeAfter = 3 * time.Minute
	// closeAnyway is how long a plan stays open if the last statuses of its files cannot be
	// read.
	closeAnyway = time.Hour
	// heldAgain is the time between two messages of a held plan.
	heldAgain = time.Hour
	// lookCalm is the longest time between two looks if all archives of the user are on their
	// way. underWay finds a retrieval that is overdue.
	lookCalm = 15 * time.Minute
	// One look at a plan reads at most mostPages pages of a thousand archives. It searches the
	// streams for messages about at most mostIdle archives without a retrieval. The next look
	// continues from there.
	mostIdle, mostPages = 50, 5
	// looksAtOnce is how many plans a sweep checks at the same time.
	looksAtOnce = 8
	// planTime is how long a sweep goes on to further plans. It leaves the rest to the next
	// sweep, which checks the overdue retrievals first.
	planTime = 2 * time.Minute
)

// plans checks the plans that are due for a look. It stops after planTime. The next sweep
// begins with the plans that are left.
func (p *sweep) plans(ctx context.Context) {
	for users, err := range batches(p.Catalog.DuePlans(ctx, p.now)) {
		if err == nil {
			err = p.call(ctx)
		}
		var accounts map[events.UserID]archive.Account
		if err == nil {
			accounts, err = p.Catalog.AccountsOf(ctx, users)
		}
		if err != nil {
			p.failed("plans: %w", err)
			return
		}
		parts := make([]*sweep, len(users))
		var looks errgroup.Group
		looks.SetLimit(looksAtOnce)
		for i, user := range users {
			account, there := accounts[user]
			if !there || account.Plan == nil || account.Plan.Due.After(p.now) {
				continue // the index was behind
			}
			part := p.part()
			parts[i] = part
			looks.Go(func() error {
				part.report.Plans++
				if err := part.plan(ctx, account); err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
					part.failed("plan of user %s: %w", account.ID, err)
				}
				return nil
			})
		}
		looks.Wait()
		for _, part := range parts {
			if part != nil {
				p.add(part)
			}
		}
		if ctx.Err() != nil || p.Now().Sub(p.now) > planTime {
			return
		}
	}
}

// plan checks one plan. An error of kind Conflict says that the plan changed meanwhile.
func (p *sweep) plan(ctx context.Context, account archive.Account) error {
	plan := *account.Plan
	if plan.State == archive.PlanHeld {
		// A new day may have room in the budgets: the planner adds up the prices again.
		if err := p.announce(ctx, account.ID, plan, p.now.UnixMilli()); err != nil {
			return err
		}
		return p.Catalog.PlanLooked(ctx, account.ID, plan.ID, time.Time{}, p.now.Add(heldAgain))
	}
	empty, again, err := p.lookAt(ctx, account, plan)
	if err != nil {
		return err
	}
	switch {
	case !empty:
		return p.Catalog.PlanLooked(ctx, account.ID, plan.ID, time.Time{}, again)
	case plan.EmptySince.IsZero():
		return p.Catalog.PlanLooked(ctx, account.ID, plan.ID, p.now, p.now.Add(closeAfter))
	case p.now.Sub(plan.EmptySince) < closeAfter:
		return p.Catalog.PlanLooked(ctx, account.ID, plan.ID, plan.EmptySince, plan.EmptySince.Add(closeAfter))
	}
	if err := p.lastWords(ctx, account.ID, plan); err != nil {
		p.failed("last statuses of user %s: %w", account.ID, err)
		if p.now.Sub(plan.EmptySince) < closeAnyway {
			return p.Catalog.PlanLooked(ctx, account.ID, plan.ID, plan.EmptySince, p.now.Add(lookEvery))
		}
	}
	if err := p.Catalog.ClosePlan(ctx, account.ID, plan, p.now); err != nil {
		return err
	}
	p.report.Closed++
	if p.OnClosed != nil {
		p.OnClosed(plan)
	}
	p.Log.Info("plan closed: everything is back", "user", account.ID, "plan", plan.ID, "opened", plan.OpenedAt)
	return nil
}

// lookAt searches for an archive of the user that no message asks for. If there is one, it
// publishes the plan's message again. empty reports that the user has nothing in the vault.
// Otherwise, again is the time of the next look.
func (p *sweep) lookAt(ctx context.Context, account archive.Account, plan archive.Plan) (empty bool, again time.Time, err error) {
	soon := p.now.Add(lookEvery)
	key := "plan." + events.Token(string(account.ID))
	at, err := p.place(ctx, key, plan.ID)
	if err != nil {
		return false, soon, err
	}
	cursor, checked, nextDue := at, 0, p.now.Add(lookCalm)
	for page := 0; page < mostPages; page++ {
		jobs, next, err := p.Catalog.ArchivedPage(ctx, account.ID, cursor)
		if fault.Is(err, fault.Invalid) && cursor != "" {
			cursor = ""
			continue
		}
		if err != nil {
			return false, soon, err
		}
		if cursor == "" && len(jobs) == 0 {
			return true, soon, nil
		}
		var idle []archive.Job
		for _, job := range jobs {
			if job.RetrievalID == "" && job.Intent == nil {
				idle = append(idle, job)
				continue
			}
			if job.Due.IsZero() {
				// An earlier release wrote this job: it is not in the index of due jobs.
				if err := p.Catalog.Nudged(ctx, job, p.now.Add(-p.slack()), true); err != nil {
					return false, soon, err
				}
			}
			if job.Due.Before(nextDue) {
				nextDue = job.Due
			}
		}
		some := idle[:min(len(idle), mostIdle-checked)]
		done, err := p.unplanned(ctx, plan, some)
		if checked += len(idle); done || err != nil || len(some) < len(idle) {
			return false, soon, err
		}
		if cursor = next; next == "" {
			break
		}
	}
	if at == "" && cursor == "" && checked == 0 && nextDue.After(soon) {
		soon = nextDue // this look saw all archives, and all are on their way
	}
	return false, soon, p.keepPlace(ctx, key, plan.ID, at, cursor)
}

// unplanned searches for a message about each of the idle archives. An idle archive is not
// on its way. done reports that this look at the plan is over.
func (p *sweep) unplanned(ctx context.Context, plan archive.Plan, idle []archive.Job) (done bool, err error) {
	if len(idle) == 0 {
		return false, nil
	}
	planning := p.now.Sub(plan.OpenedAt) < p.slack()
	if !planning {
		if planning, err = p.Streams.Waiting(ctx, events.UserUpgraded{UserID: idle[0].UserID}); err != nil {
			return false, err
		}
	}
	if planning {
		p.found(InOrder)
		return true, nil
	}
	var silent []events.JobID
	for _, job := range idle {
		waiting, err := p.Streams.Waiting(ctx, events.ThawRequested{JobID: job.ID, UserID: job.UserID})
		if err != nil {
			return false, err
		}
		if waiting {
			p.found(InOrder)
		} else {
			silent = append(silent, job.ID)
		}
	}
	if len(silent) == 0 {
		return false, nil
	}
	if err := p.call(ctx); err != nil {
		return false, err
	}
	// The jobs are read after the streams. So the sweep sees a request that was made in
	// between.
	now, err := p.Catalog.JobsOf(ctx, silent)
	if err != nil {
		return false, err
	}
	for _, id := range silent {
		job, there := now[id]
		if !there || job.ArchiveID == "" || job.RetrievalID != "" || job.Intent != nil || job.History.NotBefore.After(p.now.Add(-p.slack())) {
			p.found(InOrder)
			continue
		}
		if done, err := p.forgotten(ctx, plan, job); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// forgotten applies the rules to an archive that no message asks for. done reports that it
// published the plan's message.
func (p *sweep) forgotten(ctx context.Context, plan archive.Plan, job archive.Job) (done bool, err error) {
	task := events.ThawRequested{JobID: job.ID, UserID: job.UserID}
	cause, _ := job.History.Spent()
	stopped := cause != "" || p.stopped(ctx, task)
	if p.foundUnless(stopped, Unplanned) != Plan {
		return false, nil
	}
	key, about := "job."+events.Token(string(job.ID)), plan.ID+"."+string(job.ArchiveID)
	noted, err := p.recall(ctx, key, about)
	if err != nil {
		return false, err
	}
	f, pause := Unplanned, pauseAfter(noted.Times-1)
	if stopped {
		f, pause = Stopped, longestPause
	}
	if noted.Times > 0 && p.now.Sub(noted.At) < pause {
		return false, nil
	}
	if stopped && noted.Times == 0 {
		// The dead letter of the archive is new. A sweep tries the archive again in a day.
		return false, p.remember(ctx, key, about, noted)
	}
	if err := p.announce(ctx, job.UserID, plan, int64(noted.Times)); err != nil {
		return false, err
	}
	p.tell(Plan, f, job, noted.Times)
	return true, p.remember(ctx, key, about, noted)
}

// announce publishes the plan's message again. n differs each time, so the message has a new
// id.
func (p *sweep) announce(ctx context.Context, user events.UserID, plan archive.Plan, n int64) error {
	return p.Streams.Publish(ctx, events.UserUpgraded{
		ID: fmt.Sprintf("sweep-%d-%d-%s", n, p.now.UnixMilli(), plan.ID), UserID: user, UpgradedAt: p.now.UTC(), Via: events.ViaSweep, Plan: plan.ID,
	})
}

const (
	// auditPages is how many pages of a thousand archives the audit reads in a sweep. With a
	// sweep every five minutes, that is about a million archives a day.
	auditPages = 4
	// auditEvery is the shortest time from the beginning of one audit of all archives to the
	// next.
	auditEvery = time.Hour
	auditKey   = "audit"
)

// audit reads a part of all archives. It begins where the last sweep stopped. It opens a
// plan for each Premium user who has archives and no plan.
func (p *sweep) audit(ctx context.Context) {
	at, err := p.auditPlace(ctx)
	if err != nil {
		p.failed("audit: %w", err)
		return
	}
	if at.Cursor == "" {
		if age := p.now.Sub(at.BeganAt); age >= 0 && age < auditEvery {
			return
		}
		at.BeganAt = p.now.UTC()
	}
	for range auditPages {
		jobs, next, err := p.Catalog.ArchivedScan(ctx, at.Cursor)
		if fault.Is(err, fault.Invalid) && at.Cursor != "" {
			next, err = "", nil
		}
		if err == nil {
			err = p.compare(ctx, jobs)
		}
		if err != nil {
			p.failed("audit: %w", err)
			return
		}
		p.report.Archives += len(jobs)
		if at.Cursor = next; next == "" {
			break
		}
	}
	if err := p.keepAudit(ctx, at); err != nil {
		p.failed("audit: %w", err)
	}
}

// compare compares archives with the accounts of their owners.
func (p *sweep) compare(ctx context.Context, jobs []archive.Job) error {
	var users []events.UserID
	one := map[events.UserID]archive.Job{} // one job of each user
	for _, job := range jobs {
		if (job.RetrievalID != "" || job.Intent != nil) && job.Due.IsZero() {
			if err := p.Catalog.Nudged(ctx, job, p.now.Add(-p.slack()), true); err != nil {
				return err
			}
		}
		if _, seen := one[job.UserID]; !seen {
			users = append(users, job.UserID)
			one[job.UserID] = job
		}
	}
	for begin := 0; begin < len(users); begin += 100 {
		some := users[begin:min(begin+100, len(users))]
		if err := p.call(ctx); err != nil {
			return err
		}
		accounts, err := p.Catalog.AccountsOf(ctx, some)
		if err != nil {
			return err
		}
		for _, user := range some {
			a, there := accounts[user]
			if !there || a.Role != archive.Premium || a.Plan != nil || p.now.Sub(a.RoleChangedAt) < p.slack() {
				continue
			}
			if err := p.planless(ctx, a, one[user]); err != nil {
				p.failed("user %s: %w", user, err)
			}
		}
	}
	return nil
}

// planless opens a plan for a Premium user, and publishes its message.
func (p *sweep) planless(ctx context.Context, a archive.Account, job archive.Job) error {
	waiting, err := p.Streams.Waiting(ctx, events.UserUpgraded{UserID: a.ID})
	if err != nil || waiting {
		return err
	}
	if p.found(Planless) != Plan {
		return nil
	}
	plan := archive.Plan{
		ID: "audit-" + rand.Text(), UpgradedAt: a.RoleChangedAt, Why: archive.Audit, State: archive.PlanOpen,
		OpenedAt: p.now.UTC(), Due: p.now.Add(lookEvery),
	}
	if err := p.Catalog.OpenPlan(ctx, a, plan); err != nil {
		if fault.Is(err, fault.Conflict) {
			return nil
		}
		return err
	}
	// Even if this message is lost, the plan is on the account.
	if err := p.announce(ctx, a.ID, plan, 0); err != nil {
		return err
	}
	p.tell(Plan, Planless, job, 0)
	return nil
}
