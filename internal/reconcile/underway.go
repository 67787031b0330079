package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// mostTogether is how many overdue retrievals a sweep checks together. If there are more
	// than aFew, the sweep reads Glacier's list. One call returns fifty retrievals.
	mostTogether = 1000
	aFew         = 20
)

// underWay checks the overdue requests and retrievals.
func (p *sweep) underWay(ctx context.Context) {
	var due []archive.Job
	for ids, err := range batches(p.Catalog.DueJobs(ctx, p.now.Add(-p.slack()))) {
		if err == nil {
			err = p.call(ctx)
		}
		var jobs map[events.JobID]archive.Job
		if err == nil {
			jobs, err = p.Catalog.JobsOf(ctx, ids)
		}
		if err != nil {
			p.failed("requests and retrievals under way: %w", err)
			break
		}
		for _, id := range ids {
			job, there := jobs[id]
			if !there || job.Due.IsZero() || job.Due.After(p.now.Add(-p.slack())) {
				continue // the index was behind
			}
			p.report.Due++
			switch {
			case job.RetrievalID != "":
				due = append(due, job)
			case job.ArchiveID == "":
				if err := p.clear(ctx, job); err != nil {
					p.failed("job %s: %w", job.ID, err)
				}
			case job.Intent != nil:
				if err := p.interrupted(ctx, job, job.Intent.Token, job.Intent.Plan); err != nil {
					p.failed("job %s: %w", job.ID, err)
				}
			case job.Ordered:
				if err := p.interrupted(ctx, job, "ordered-"+string(job.ArchiveID), ""); err != nil {
					p.failed("job %s: %w", job.ID, err)
				}
			}
		}
		if len(due) >= mostTogether {
			p.lookAtRetrievals(ctx, due)
			due = nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	p.lookAtRetrievals(ctx, due)
}

// clear removes what is left of work under way for an archive that another program removed
// from the catalog.
func (p *sweep) clear(ctx context.Context, job archive.Job) error {
	if p.found(LeftBehind) != Clear {
		return nil
	}
	if err := p.Catalog.ClearLeftovers(ctx, job); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	p.Log.Warn("another program removed the archive from the catalog: what was under way is removed too", "user", job.UserID, "job", job.ID, "retrieval", job.RetrievalID, "found", LeftBehind)
	p.report.Done[Clear]++
	return nil
}

// interrupted publishes the task again, for an archive with an old intent or an old order.
func (p *sweep) interrupted(ctx context.Context, job archive.Job, by, plan string) error {
	e := events.ThawRequested{
		ID: fmt.Sprintf("sweep-%d-%s", job.Nudges, by), JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, Plan: plan,
	}
	if waits, err := p.waits(ctx, job, e); err != nil || waits {
		return err
	}
	return p.nudge(ctx, job, Interrupted, e)
}

// waits reports whether the message about the job exists. Then the job is in order, and
// waits writes that into the catalog.
func (p *sweep) waits(ctx context.Context, job archive.Job, e events.Event) (bool, error) {
	waiting, err := p.Streams.Waiting(ctx, e)
	if err != nil || !waiting {
		return false, err
	}
	p.found(InOrder)
	return true, p.Catalog.Nudged(ctx, job, p.now.Add(firstPause), true)
}

// nudge follows the rule for the finding. Then it writes the time of the next look at the
// job: soon at first, and later each time.
func (p *sweep) nudge(ctx context.Context, job archive.Job, f Finding, e events.Event) error {
	publishes := Act(f) != Leave && Act(f) != Flag
	stopped := publishes && p.stopped(ctx, e)
	action, pause := p.foundUnless(stopped, f), pauseAfter(job.Nudges)
	if stopped {
		pause = longestPause
	}
	switch action {
	case Leave:
		return p.Catalog.Nudged(ctx, job, p.now.Add(firstPause), true)
	case Flag:
		return p.flag(ctx, job, f)
	default:
		if err := p.Streams.Publish(ctx, e); err != nil {
			return err
		}
	}
	p.tell(action, f, job, job.Nudges)
	return p.Catalog.Nudged(ctx, job, p.now.Add(pause), false)
}

// flag reports the job to an operator. It waits longer each time before it reports the job
// again. But a sweep looks at the job again soon. Glacier may still finish the retrieval,
// and keeps the output for one day only.
func (p *sweep) flag(ctx context.Context, job archive.Job, f Finding) error {
	key, about := "flag."+events.Token(string(job.ID)), string(job.RetrievalID)
	noted, err := p.recall(ctx, key, about)
	if err != nil {
		return err
	}
	if noted.Times == 0 || p.now.Sub(noted.At) >= pauseAfter(noted.Times-1) {
		p.tell(Flag, f, job, noted.Times)
		if err := p.remember(ctx, key, about, noted); err != nil {
			return err
		}
	}
	return p.Catalog.Nudged(ctx, job, p.now.Add(firstPause), true)
}

// lookAtRetrievals checks the overdue retrievals of the jobs.
func (p *sweep) lookAtRetrievals(ctx context.Context, jobs []archive.Job) {
	var silent []archive.Job
	for _, job := range jobs {
		waits, err := p.waits(ctx, job, events.RetrievalCompleted{JobID: job.ID})
		if err != nil {
			p.failed("job %s: %w", job.ID, err)
		} else if !waits {
			silent = append(silent, job)
		}
	}
	listed := map[string]archive.Retrieval{}
	if len(silent) > aFew {
		p.list(ctx, silent, listed)
	}
	for _, job := range silent {
		if ctx.Err() != nil {
			p.failed("%w", ctx.Err())
			return
		}
		if err := p.heard(ctx, job, listed); err != nil {
			p.failed("job %s: %w", job.ID, err)
		}
	}
}

// errEnough ends a list.
var errEnough = errors.New("as many calls as there are jobs")

// list finds the retrievals of the jobs in the stores' lists. It stops after as many calls as
// there are jobs. For each retrieval that list did not find, heard makes a call.
func (p *sweep) list(ctx context.Context, jobs []archive.Job, listed map[string]archive.Retrieval) {
	wanted := make(map[string]bool, len(jobs))
	for _, job := range jobs {
		wanted[nameOf(job.RetrievalID, job.Copy)] = true
	}
	calls := 0
	for r, err := range p.Vault.Retrievals(ctx, jobs, func(ctx context.Context) error {
		if calls++; calls > len(jobs) {
			return errEnough
		}
		return p.call(ctx)
	}) {
		if errors.Is(err, errEnough) {
			return
		}
		if err != nil {
			p.failed("list retrievals: %w", err)
			return
		}
		if name := nameOf(r.ID, r.Copy); wanted[name] {
			listed[name] = r
		}
		if len(listed) == len(wanted) {
			return
		}
	}
}

// nameOf returns what tells a retrieval from others in a list: Glacier's id, or the object of
// an S3 class. S3 lists the newest version of a key, and the key of an archive is used once.
func nameOf(id events.RetrievalID, at archive.Copy) string {
	if at.InVault() {
		return string(id)
	}
	return archive.Object{Bucket: at.Bucket, Key: at.Key}.String()
}

// heard compares an overdue retrieval with Glacier's answer.
func (p *sweep) heard(ctx context.Context, job archive.Job, listed map[string]archive.Retrieval) error {
	r, known := listed[nameOf(job.RetrievalID, job.Copy)]
	if !known {
		// The list may have stopped early. So ask Glacier about this retrieval before it counts
		// as forgotten.
		if err := p.call(ctx); err != nil {
			return err
		}
		var err error
		r, err = p.Vault.Describe(ctx, job)
		known = err == nil
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	if known && !r.Status.Known() {
		r.Status = archive.InProgress
	}
	found := InOrder
	switch {
	case !known && job.ArchiveID == "" && p.stopped(ctx, events.RetrievalCompleted{JobID: job.ID}):
		// The restorer found no object at the key. Until an operator has acted, the entry stays,
		// and the owner sees that the file needs attention.
		p.found(Stopped)
		return p.Catalog.Nudged(ctx, job, p.now.Add(longestPause), true)
	case !known && job.ArchiveID == "":
		return p.clear(ctx, job)
	case !known:
		found = Forgotten
		r = archive.Retrieval{ID: job.RetrievalID, Status: archive.RetrievalFailed, Reason: "Glacier does not know the retrieval any more"}
	case r.Status != archive.InProgress:
		found = Unheard
	default:
		late, err := late(r, job, p.now)
		if err != nil {
			return err
		}
		if late {
			found = Late
		}
	}
	return p.nudge(ctx, job, found, events.RetrievalCompleted{
		ID: fmt.Sprintf("sweep-%d-%s", job.Nudges, job.RetrievalID), JobID: job.ID, ArchiveID: cmp.Or(r.ArchiveID, job.ArchiveID), RetrievalID: job.RetrievalID,
		Status: r.Status, Reason: r.Reason, Tier: r.Tier.Told(), Size: max(r.Size, 0), TreeHash: r.TreeHash, CompletedAt: r.CompletedAt, ExpiresAt: r.ExpiresAt,
	})
}
