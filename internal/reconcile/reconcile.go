// Package reconcile finds lost work and puts it back into the pipeline: a notification that
// never came, a task or a plan that was lost with its stream, a retrieval that expired
// before anybody fetched its output. It asks three sources. The catalog says which work is
// left. The streams say whether a message about that work exists. Glacier says how far a
// retrieval is.
//
// A sweep reads two sparse indexes: one has the overdue requests and retrievals, the other
// has the plans that are due for a look. So the cost of a sweep grows with the work under
// way, and not with the number of archives. Each sweep also audits a part of all archives.
// The audit finds Premium users without a plan.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/pkg/events"
)

// Catalog reads and writes jobs and accounts for a sweep. An index may be behind by seconds.
// So the sweep reads the item of each entry before it does something.
type Catalog interface {
	// DueJobs yields the jobs with a request or a retrieval that was due before the time. The
	// job that is overdue the longest comes first.
	DueJobs(ctx context.Context, by time.Time) iter.Seq2[events.JobID, error]
	// DuePlans yields the users with a plan that was due for a look before the time. The plan
	// that is overdue the longest comes first.
	DuePlans(ctx context.Context, by time.Time) iter.Seq2[events.UserID, error]
	// JobsOf returns up to a hundred jobs as they are now, AccountsOf as many accounts.
	JobsOf(context.Context, []events.JobID) (map[events.JobID]archive.Job, error)
	AccountsOf(context.Context, []events.UserID) (map[events.UserID]archive.Account, error)
	// ArchivedPage returns a page of the user's jobs that have an archive; it begins at the
	// cursor. next is the cursor of the next page; empty at the end. ArchivedScan does so for
	// the jobs of all users.
	ArchivedPage(ctx context.Context, user events.UserID, cursor string) (jobs []archive.Job, next string, err error)
	ArchivedScan(ctx context.Context, cursor string) (jobs []archive.Job, next string, err error)
	// Nudged writes the time at which a sweep looks at the job's request or retrieval again.
	// If inOrder is false, Nudged also counts that a sweep put the job back into the pipeline.
	Nudged(ctx context.Context, job archive.Job, again time.Time, inOrder bool) error
	// ClearLeftovers removes what the pipeline wrote about work under way, if the job still has
	// no archive and still has this retrieval. Otherwise the error is of kind Conflict.
	ClearLeftovers(context.Context, archive.Job) error
	// OpenPlan puts a plan on the account, if the account did not change since it was read.
	// PlanLooked writes the result of a look at a plan. ClosePlan ends a plan. If another
	// plan is on the account, or none, the error is of kind Conflict.
	OpenPlan(context.Context, archive.Account, archive.Plan) error
	PlanLooked(ctx context.Context, user events.UserID, plan string, emptySince, due time.Time) error
	ClosePlan(ctx context.Context, user events.UserID, plan archive.Plan, at time.Time) error
}

// Vault answers a sweep's questions about retrievals.
type Vault interface {
	// Describe returns the job's retrieval, or an error of kind NotFound.
	Describe(context.Context, archive.Job) (archive.Retrieval, error)
	// Retrievals yields the retrievals of the jobs that the stores list, and perhaps others. It
	// calls turn before each call.
	Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error]
}

// Streams finds and publishes the pipeline's messages for a sweep.
type Streams interface {
	// Waiting reports whether the stream of e has a message with the subject of e. Messages
	// that are in flight or put aside count too.
	Waiting(ctx context.Context, e events.Event) (bool, error)
	// Dead reports whether the work of e has a dead letter.
	Dead(ctx context.Context, e events.Event) (bool, error)
	// Publish returns when e is stored.
	Publish(ctx context.Context, e events.Event) error
	// LatestStatuses yields the last stored status change of each job of the user. An error
	// ends the sequence.
	LatestStatuses(ctx context.Context, user events.UserID) iter.Seq2[events.StatusChanged, error]
}

// Sweeper makes sweeps. Set every field, except those that name a default for zero.
type Sweeper struct {
	Catalog Catalog
	Vault   Vault
	Streams Streams
	KV      kv.Store
	// Slack is how long a retrieval may be overdue before a sweep looks at it, and how long
	// a new plan may be without tasks; ten minutes if zero.
	Slack time.Duration
	// Calls is the most calls an hour to DescribeJob, ListJobs and BatchGetItem; 3600
	// if zero. The reads of the indexes are not counted: one call reads hundreds of entries.
	Calls int
	Now   func() time.Time
	Log   *slog.Logger
	// OnClosed is called with each plan that ended because everything is back. It may be nil.
	OnClosed func(archive.Plan)

	limit *rate.Limiter
}

const (
	defaultSlack = 10 * time.Minute
	defaultCalls = 3600
)

// Report is the result of a sweep.
type Report struct {
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
	// Due counts the overdue requests and retrievals. Plans counts the plans that the sweep
	// checked. Archives counts the archives that the audit compared with their owners' roles.
	Due      int `json:"due"`
	Plans    int `json:"plans"`
	Archives int `json:"archives"`
	// Calls counts the calls to AWS; see [Sweeper.Calls].
	Calls int `json:"calls"`
	// Found counts the archives by finding. It includes archives for which an earlier sweep
	// did something a short time ago. Done counts the actions, Closed the plans that ended.
	Found  map[Finding]int `json:"found,omitempty"`
	Done   map[Action]int  `json:"done,omitempty"`
	Closed int             `json:"closed,omitempty"`
	// Error says why the sweep did not see everything; empty if it did.
	Error string `json:"error,omitempty"`
}

// sweep is one pass of a Sweeper over everything that is due.
type sweep struct {
	*Sweeper
	report *Report
	now    time.Time
	errs   []error
}

// Sweep first checks the overdue requests and retrievals, then the plans. Then it audits a
// part of the archives. Retrievals come first because outputs expire. After an error about
// one job or user, Sweep continues with the others. It returns a report, and an error if it
// did not see everything.
func (s *Sweeper) Sweep(ctx context.Context) (Report, error) {
	if s.limit == nil {
		calls := s.Calls
		if calls <= 0 {
			calls = defaultCalls
		}
		s.limit = rate.NewLimiter(rate.Limit(float64(calls)/3600), max(1, calls/60))
	}
	began := s.Now()
	p := &sweep{Sweeper: s, now: began, report: &Report{At: began.UTC(), Found: map[Finding]int{}, Done: map[Action]int{}}}
	p.underWay(ctx)
	p.plans(ctx)
	p.audit(ctx)
	err := errors.Join(p.errs...)
	if err != nil {
		p.report.Error = err.Error()
	}
	p.report.Took = s.Now().Sub(began)
	return *p.report, err
}

// part returns a sweep with a report of its own, so that several can run side by side.
func (p *sweep) part() *sweep {
	return &sweep{Sweeper: p.Sweeper, now: p.now, report: &Report{Found: map[Finding]int{}, Done: map[Action]int{}}}
}

// add adds the report of a part.
func (p *sweep) add(part *sweep) {
	r := part.report
	p.report.Due, p.report.Plans, p.report.Archives = p.report.Due+r.Due, p.report.Plans+r.Plans, p.report.Archives+r.Archives
	p.report.Calls, p.report.Closed = p.report.Calls+r.Calls, p.report.Closed+r.Closed
	for f, n := range r.Found {
		p.report.Found[f] += n
	}
	for a, n := range r.Done {
		p.report.Done[a] += n
	}
	p.errs = append(p.errs, part.errs[:min(len(part.errs), max(mostErrs-len(p.errs), 0))]...)
}

// mostErrs is how many errors a report has at the most.
const mostErrs = 5

// failed keeps the error, if it is one of the first few.
func (p *sweep) failed(format string, args ...any) {
	if len(p.errs) < mostErrs {
		p.errs = append(p.errs, fmt.Errorf(format, args...))
	}
}

func (s *Sweeper) slack() time.Duration {
	if s.Slack <= 0 {
		return defaultSlack
	}
	return s.Slack
}

// call waits until a call may be made, and counts it.
func (p *sweep) call(ctx context.Context) error {
	if err := p.limit.Wait(ctx); err != nil {
		return err
	}
	p.report.Calls++
	return nil
}

// found counts the finding, and returns the action of its rule.
func (p *sweep) found(f Finding) Action {
	p.report.Found[f]++
	return Act(f)
}

// foundUnless is found for an archive that a dead letter may have stopped. For a stopped
// archive, it counts Stopped in place of f. Then the action of f counts only if the rule of
// Stopped is OnceADay.
func (p *sweep) foundUnless(stopped bool, f Finding) Action {
	if !stopped {
		return p.found(f)
	}
	if action := p.found(Stopped); action != OnceADay {
		return action
	}
	return Act(f)
}

// jobsOfCall is how many jobs, or accounts, one call reads.
const jobsOfCall = 100

// batches yields the values of seq in batches. One call reads a batch. batches ends at the
// first error.
func batches[T any](seq iter.Seq2[T, error]) iter.Seq2[[]T, error] {
	const most = jobsOfCall
	return func(yield func([]T, error) bool) {
		var batch []T
		for v, err := range seq {
			if err != nil {
				yield(batch, err)
				return
			}
			if batch = append(batch, v); len(batch) == most {
				if !yield(batch, nil) {
					return
				}
				batch = nil
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}

// tell logs an action and counts it.
func (p *sweep) tell(action Action, f Finding, job archive.Job, times int) {
	log := p.Log.With("user", job.UserID, "job", job.ID, "archive", job.ArchiveID, "found", f)
	if action == Flag {
		log.Warn("an operator has to look at this archive", "retrieval", job.RetrievalID, "requested_at", job.RetrievalRequestedAt)
	} else {
		log.Info("put back into the pipeline", "action", action, "retrieval", job.RetrievalID, "times", times+1)
	}
	p.report.Done[action]++
}

// stopped reports whether the work of e has a dead letter.
func (p *sweep) stopped(ctx context.Context, e events.Event) bool {
	dead, err := p.Streams.Dead(ctx, e)
	if err != nil {
		p.Log.Debug("the dead letters cannot be asked", "err", err)
	}
	return dead && !fault.Is(err, fault.Transient)
}
