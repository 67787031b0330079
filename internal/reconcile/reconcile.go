// Package reconcile finds the archives that the pipeline lost sight of, and puts
// them back into it: a notice that never came, a task or a plan that was lost
// with its stream, a retrieval whose output expired unseen. It goes by the state
// of things and not by messages: the catalog says what is still to be done, the
// streams whether somebody is about to do it, and Glacier how far it is.
//
// What a sweep costs grows with what is under way: it reads two sparse indexes, of the
// requests and retrievals of which something should have been heard, and of the plans
// that stand. Beside it an audit goes slowly over all archives, for what has no plan at
// all.
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

// Catalog is what a sweep reads and notes of jobs and accounts. Indexes may be behind
// by seconds: they propose, and the item decides.
type Catalog interface {
	// DueJobs yields the jobs of which something should have been heard by the time, those
	// first that have waited the longest.
	DueJobs(ctx context.Context, by time.Time) iter.Seq2[events.JobID, error]
	// DuePlans yields the users whose plan is to be looked at by the time, in the order in
	// which they are due.
	DuePlans(ctx context.Context, by time.Time) iter.Seq2[events.UserID, error]
	// JobsOf returns up to a hundred jobs as they are now, AccountsOf as many accounts.
	JobsOf(context.Context, []events.JobID) (map[events.JobID]archive.Job, error)
	AccountsOf(context.Context, []events.UserID) (map[events.UserID]archive.Account, error)
	// ArchivedPage returns some of the user's jobs that have an archive, ArchivedScan of
	// everybody's, those behind the cursor, and the cursor of the next page.
	ArchivedPage(ctx context.Context, user events.UserID, cursor string) (jobs []archive.Job, next string, err error)
	ArchivedScan(ctx context.Context, cursor string) (jobs []archive.Job, next string, err error)
	// Nudged notes when what is under way of the job is to be seen to again, and, unless
	// it was in order, that it was seen to.
	Nudged(ctx context.Context, job archive.Job, again time.Time, inOrder bool) error
	// OpenPlan puts a plan on the account, if the account is as it was read; PlanLooked
	// notes what a look at one came to; ClosePlan ends it. The error's kind is Conflict if
	// another plan stands there, or none.
	OpenPlan(context.Context, archive.Account, archive.Plan) error
	PlanLooked(ctx context.Context, user events.UserID, plan string, emptySince, due time.Time) error
	ClosePlan(ctx context.Context, user events.UserID, plan archive.Plan, at time.Time) error
}

// Vault is what a sweep asks Glacier.
type Vault interface {
	// Describe returns the retrieval, or an error of kind NotFound.
	Describe(context.Context, events.RetrievalID) (archive.Retrieval, error)
	// Retrievals yields the retrievals that Glacier knows, fifty a call.
	Retrievals(context.Context) iter.Seq2[archive.Retrieval, error]
}

// Streams is what a sweep does with the pipeline's messages.
type Streams interface {
	// Waiting reports whether the stream of e has a message with e's subject, one
	// that is being worked on or put aside included.
	Waiting(ctx context.Context, e events.Event) (bool, error)
	// Dead reports whether a dead letter stands for the work that e would be.
	Dead(ctx context.Context, e events.Event) (bool, error)
	// Publish returns when e is stored.
	Publish(ctx context.Context, e events.Event) error
}

// Sweeper sweeps. Set every field, or take the zero value's default where one is
// named.
type Sweeper struct {
	Catalog Catalog
	Vault   Vault
	Streams Streams
	KV      kv.Store
	// Slack is for how long after the longest time of its tier a retrieval may go
	// unheard of, and for how long after it was opened a plan may be without a task; ten
	// minutes if zero.
	Slack time.Duration
	// Calls is the most calls an hour to DescribeJob, ListJobs and BatchGetItem; 3600
	// if zero. The reads of the indexes come on top, one call for some hundred entries.
	Calls int
	Now   func() time.Time
	Log   *slog.Logger

	limit *rate.Limiter
}

const (
	defaultSlack = 10 * time.Minute
	defaultCalls = 3600
)

// Report is what a sweep came to.
type Report struct {
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
	// Due is how many requests and retrievals were due, Plans how many plans were looked
	// at, Archives how many archives the audit compared with their owners' roles.
	Due      int `json:"due"`
	Plans    int `json:"plans"`
	Archives int `json:"archives"`
	// Calls is how many calls were made for them.
	Calls int `json:"calls"`
	// Found counts by finding, what was left alone because something was done about it
	// a short time ago included; Done counts what was done, Closed the plans that ended.
	Found  map[Finding]int `json:"found,omitempty"`
	Done   map[Action]int  `json:"done,omitempty"`
	Closed int             `json:"closed,omitempty"`
	// Error is what cut the sweep short; empty if it saw everything.
	Error string `json:"error,omitempty"`
}

// sweep is one pass.
type sweep struct {
	*Sweeper
	report *Report
	now    time.Time
	errs   []error
}

// Sweep sees to what is due, looks at the plans that stand, and audits a part of the
// archives, in this order: outputs expire. What it could not find out of one does not
// keep it from the others. It returns what it saw and did, and an error if it could
// not see all.
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

// part returns a sweep that counts for itself, so that several can be at work.
func (p *sweep) part() *sweep {
	return &sweep{Sweeper: p.Sweeper, now: p.now, report: &Report{Found: map[Finding]int{}, Done: map[Action]int{}}}
}

// add counts what a part did.
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

// mostErrs is of how many things a sweep tells what went wrong with them.
const mostErrs = 5

// failed keeps err, if it is one of the first few.
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

// found counts a finding, and says what is done about it.
func (p *sweep) found(f Finding) Action {
	p.report.Found[f]++
	return Act(f)
}

// batches yields what seq does, as many at a time as a call reads. An error ends it.
func batches[T any](seq iter.Seq2[T, error]) iter.Seq2[[]T, error] {
	const most = 100
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

// tell logs that something was put back, or needs a look.
func (p *sweep) tell(action Action, f Finding, job archive.Job, times int) {
	log := p.Log.With("user", job.UserID, "job", job.ID, "archive", job.ArchiveID, "found", f)
	if action == Flag {
		log.Warn("an archive that needs a look", "retrieval", job.RetrievalID, "requested_at", job.RetrievalRequestedAt)
	} else {
		log.Info("put back into the pipeline", "action", action, "retrieval", job.RetrievalID, "times", times+1)
	}
	p.report.Done[action]++
}

// stopped reports whether a dead letter stands for the work that e would be.
func (p *sweep) stopped(ctx context.Context, e events.Event) bool {
	dead, err := p.Streams.Dead(ctx, e)
	if err != nil {
		p.Log.Debug("whether a dead letter stands is not known", "err", err)
	}
	return dead && !fault.Is(err, fault.Transient)
}
