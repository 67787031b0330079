// Package reconcile finds the archives that the pipeline lost sight of, and puts
// them back into it: a notice that never came, a task or a plan that was lost
// with its stream, a retrieval whose output expired unseen. It goes by the state
// of things and not by messages: the catalog says what is still to be done, the
// streams whether somebody is about to do it, and Glacier how far it is.
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
	"github.com/gas-restore/gas/pkg/events"
)

// Catalog is what a sweep reads of jobs and accounts.
type Catalog interface {
	// AllArchived yields the jobs that have an archive, the ones of a user in a row.
	// It may be behind by seconds.
	AllArchived(context.Context) iter.Seq2[archive.Job, error]
	// Job returns the job as it is now, or an error of kind NotFound.
	Job(context.Context, events.JobID) (archive.Job, error)
	// Account returns the account as it is now, or an error of kind NotFound.
	Account(context.Context, events.UserID) (archive.Account, error)
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
	// that is being worked on included.
	Waiting(ctx context.Context, e events.Event) (bool, error)
	// Publish returns when e is stored.
	Publish(ctx context.Context, e events.Event) error
}

// Notes is the small durable store that all replicas share.
type Notes interface {
	// Get returns the note at key and its revision; an error of kind NotFound if
	// there is none.
	Get(ctx context.Context, key string) (note []byte, revision uint64, err error)
	// Put writes the note whatever is there.
	Put(ctx context.Context, key string, note []byte) error
	// Swap writes the note if the one there has this revision, 0 being none; else
	// the error is of kind Conflict.
	Swap(ctx context.Context, key string, note []byte, revision uint64) error
}

// Sweeper sweeps. Set every field, or take the zero value's default where one is
// named.
type Sweeper struct {
	Catalog Catalog
	Vault   Vault
	Streams Streams
	Notes   Notes
	// Held reports whether the user's plan waits for an operator. It may be nil.
	Held func(context.Context, events.UserID) (bool, error)
	// Slack is for how long after the longest time of its tier a retrieval may go
	// unheard of, and for how long after an upgrade an archive unplanned; ten minutes
	// if zero.
	Slack time.Duration
	// Calls is the most calls an hour to DescribeJob, ListJobs and GetItem; 3600 if
	// zero. The scan of the archived index comes on top, one call for about a
	// thousand archives.
	Calls int
	Now   func() time.Time
	Log   *slog.Logger

	limit *rate.Limiter
}

const (
	defaultSlack = 10 * time.Minute
	defaultCalls = 3600
	// batch is how many retrievals that are due are kept in memory. Where more than
	// aFew are, Glacier's list tells fifty of them a call.
	batch = 5000
	aFew  = 20
	// looks is at how many archives of a user a sweep looks, for one that nobody is
	// about to ask for: a plan in a row of a million tasks is in order.
	looks = 50
)

// Report is what a sweep came to.
type Report struct {
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
	// Archives is how many were seen, Calls how many calls were made for them.
	Archives int `json:"archives"`
	Calls    int `json:"calls"`
	// Found counts the archives by finding, those that were left alone because
	// something was done about them a short time ago included; Done counts what was done.
	Found map[Finding]int `json:"found,omitempty"`
	Done  map[Action]int  `json:"done,omitempty"`
	// Error is what cut the sweep short; empty if it saw everything.
	Error string `json:"error,omitempty"`
}

// sweep is one pass.
type sweep struct {
	*Sweeper
	report *Report
	now    time.Time
	due    []archive.Job
	user   user
}

// user is what is known of the user whose archives come in a row.
type user struct {
	id      events.UserID
	account archive.Account
	looked  int
	settled bool // nothing more is to be done about unplanned archives in this sweep
}

// Sweep looks at every archive once and does what [Rules] say. What it could not
// find out of one archive does not keep it from the others. It returns what it
// saw and did, and an error if it could not see all.
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
	var errs []error
	for job, err := range s.Catalog.AllArchived(ctx) {
		if err != nil {
			errs = append(errs, err)
			break
		}
		p.report.Archives++
		if err := p.look(ctx, job); err != nil {
			if ctx.Err() != nil {
				errs = append(errs, err)
				break
			}
			errs = keep(errs, fmt.Errorf("job %s: %w", job.ID, err))
		}
	}
	if err := p.settle(ctx); err != nil {
		errs = keep(errs, err)
	}
	err := errors.Join(errs...)
	if err != nil {
		p.report.Error = err.Error()
	}
	p.report.Took = s.Now().Sub(began)
	return *p.report, err
}

// keep adds err to the first few.
func keep(errs []error, err error) []error {
	if len(errs) < 5 {
		errs = append(errs, err)
	}
	return errs
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

// look sorts out what is in order by what the index says alone. The others are
// looked at closely.
func (p *sweep) look(ctx context.Context, job archive.Job) error {
	switch {
	case job.RetrievalID != "":
		if !due(job, p.now, p.slack()) {
			p.report.Found[InOrder]++
			return nil
		}
		p.due = append(p.due, job)
		if len(p.due) < batch {
			return nil
		}
		return p.settle(ctx)
	case job.Intent != nil:
		if p.now.Sub(job.Intent.At) < p.slack() {
			p.report.Found[InOrder]++
			return nil
		}
		return p.interrupted(ctx, job)
	}
	return p.unplanned(ctx, job)
}

// interrupted sees to an archive whose request was announced long ago.
func (p *sweep) interrupted(ctx context.Context, job archive.Job) error {
	account, err := p.account(ctx, job.UserID)
	if err != nil {
		return err
	}
	e := events.ThawRequested{JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, UpgradedAt: since(account, p.now)}
	waiting, err := p.Streams.Waiting(ctx, e)
	if err != nil {
		return err
	}
	if waiting {
		p.report.Found[InOrder]++
		return nil
	}
	p.report.Found[Interrupted]++
	e.ID = "sweep-" + job.Intent.Token
	return p.act(ctx, Interrupted, "job."+events.Token(string(job.ID)), job.Intent.Token, func(int) events.Event { return e }, job)
}

// unplanned sees to an archive that nobody has asked for.
func (p *sweep) unplanned(ctx context.Context, job archive.Job) error {
	account, err := p.account(ctx, job.UserID)
	if err != nil {
		return err
	}
	if p.user.settled || account.Role != archive.Premium || p.now.Sub(account.RoleChangedAt) < p.slack() {
		p.report.Found[InOrder]++
		return nil
	}
	if p.user.looked++; p.user.looked > looks {
		p.user.settled = true
	}
	for _, e := range []events.Event{
		events.UserUpgraded{UserID: job.UserID},
		events.ThawRequested{UserID: job.UserID, JobID: job.ID},
	} {
		waiting, err := p.Streams.Waiting(ctx, e)
		if err != nil {
			return err
		}
		if waiting {
			_, plan := e.(events.UserUpgraded)
			p.user.settled = p.user.settled || plan
			p.report.Found[InOrder]++
			return nil
		}
	}
	if err := p.call(ctx); err != nil {
		return err
	}
	now, err := p.Catalog.Job(ctx, job.ID)
	if err != nil {
		return err
	}
	held := false
	if p.Held != nil {
		if held, err = p.Held(ctx, job.UserID); err != nil {
			return err
		}
	}
	if held || now.ArchiveID == "" || now.RetrievalID != "" || now.Intent != nil {
		p.user.settled = p.user.settled || held
		p.report.Found[InOrder]++
		return nil
	}
	// A plan is of all that the user has.
	p.user.settled = true
	p.report.Found[Unplanned]++
	upgraded := since(account, p.now)
	return p.act(ctx, Unplanned, "user."+events.Token(string(job.UserID)), account.RoleChangedAt.UTC().Format(time.RFC3339Nano), func(times int) events.Event {
		return events.UserUpgraded{
			ID: fmt.Sprintf("sweep-%d-%d-%s", times, upgraded.UnixMilli(), events.Token(string(job.UserID))), UserID: job.UserID, At: upgraded, Via: "sweep",
		}
	}, now)
}

// settle looks at the retrievals that are due, and forgets them.
func (p *sweep) settle(ctx context.Context) error {
	jobs := p.due
	p.due = nil
	if len(jobs) == 0 {
		return nil
	}
	var errs []error
	listed := map[events.RetrievalID]archive.Retrieval{}
	if len(jobs) > aFew {
		wanted := make(map[events.RetrievalID]bool, len(jobs))
		for _, job := range jobs {
			wanted[job.RetrievalID] = true
		}
		n := 0
		for r, err := range p.Vault.Retrievals(ctx) {
			if err == nil && n%50 == 0 {
				err = p.call(ctx)
			}
			if err != nil {
				errs = append(errs, err)
				break // those that were not seen are described one by one
			}
			n++
			if wanted[r.ID] {
				listed[r.ID] = r
			}
		}
	}
	for _, job := range jobs {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := p.heard(ctx, job, listed); err != nil {
			errs = keep(errs, fmt.Errorf("job %s: %w", job.ID, err))
		}
	}
	return errors.Join(errs...)
}

// heard sees to an archive whose retrieval is due.
func (p *sweep) heard(ctx context.Context, job archive.Job, listed map[events.RetrievalID]archive.Retrieval) error {
	waiting, err := p.Streams.Waiting(ctx, events.RetrievalCompleted{JobID: job.ID})
	if err != nil {
		return err
	}
	if waiting {
		p.report.Found[InOrder]++
		return nil
	}
	r, known := listed[job.RetrievalID]
	if !known {
		// The list may have ended early; a retrieval is given back on Glacier's own word
		// alone.
		if err := p.call(ctx); err != nil {
			return err
		}
		r, err = p.Vault.Describe(ctx, job.RetrievalID)
		known = err == nil
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	// The index may be behind. A notice of what is done already is ignored.
	found := InOrder
	switch {
	case !known:
		found = Forgotten
		r = archive.Retrieval{ID: job.RetrievalID, Status: archive.RetrievalFailed, Reason: "Glacier does not know the retrieval any more"}
	case r.Status == archive.InProgress && late(job, p.now):
		found = Late
	case r.Status != archive.InProgress:
		found = Unheard
	}
	p.report.Found[found]++
	return p.act(ctx, found, "job."+events.Token(string(job.ID)), string(job.RetrievalID), func(times int) events.Event {
		return events.RetrievalCompleted{
			ID: fmt.Sprintf("sweep-%d-%s", times, job.RetrievalID), JobID: job.ID, ArchiveID: job.ArchiveID, RetrievalID: job.RetrievalID,
			Status: string(r.Status), Reason: r.Reason, Tier: string(r.Tier), Size: max(r.Size, 0), TreeHash: r.TreeHash, CompletedAt: r.CompletedAt,
		}
	}, job)
}

// act does what the rule for the finding says, unless it was done a short time ago.
// about is what the action is about, so that something new is not held back.
func (p *sweep) act(ctx context.Context, f Finding, key, about string, event func(times int) events.Event, job archive.Job) error {
	action := Act(f)
	if action == Leave {
		return nil
	}
	log := p.Log.With("user", job.UserID, "job", job.ID, "archive", job.ArchiveID)
	done, err := p.recall(ctx, key, about)
	if err != nil {
		return err
	}
	if wait := done.next().Sub(p.now); wait > 0 {
		log.Debug("left alone for now", "found", f, "done", done.Times, "wait", wait.Round(time.Second))
		return nil
	}
	if action == Flag {
		log.Warn("an archive that needs a look", "found", f, "retrieval", job.RetrievalID, "requested_at", job.RetrievalRequestedAt)
	} else {
		if err := p.Streams.Publish(ctx, event(done.Times)); err != nil {
			return err
		}
		log.Info("put back into the pipeline", "found", f, "action", action, "retrieval", job.RetrievalID, "times", done.Times+1)
	}
	p.report.Done[action]++
	return p.remember(ctx, key, about, done)
}

// account returns the account of the user; the archives of one come in a row.
func (p *sweep) account(ctx context.Context, id events.UserID) (archive.Account, error) {
	if p.user.id == id {
		return p.user.account, nil
	}
	if err := p.call(ctx); err != nil {
		return archive.Account{}, err
	}
	account, err := p.Catalog.Account(ctx, id)
	if fault.Is(err, fault.NotFound) {
		account, err = archive.Account{ID: id, Role: archive.Free}, nil // nobody to restore for
	}
	if err != nil {
		return archive.Account{}, err
	}
	p.user = user{id: id, account: account}
	return account, nil
}

// since is when the account became Premium.
func since(a archive.Account, now time.Time) time.Time {
	if a.RoleChangedAt.IsZero() {
		return now.UTC().Truncate(24 * time.Hour)
	}
	return a.RoleChangedAt.UTC()
}
