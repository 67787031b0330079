package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/pkg/events"
)

// desk has what a sweep reads, in memory, and notes what the sweep writes. Each answer can be
// one that the real parts give at one moment only. The tests in package reconcile_test have the
// real parts.
type desk struct {
	*testenv.Life
	jobs     map[events.JobID]archive.Job
	due      []events.JobID
	accounts map[events.UserID]archive.Account
	plans    []events.UserID
	pages    map[string][]archive.Job // of a user and of the audit, by the cursor
	next     map[string]string        // the cursor after a cursor
	glacier  map[events.RetrievalID]archive.Retrieval
	list     []archive.Retrieval // yielded in pages of one
	waiting  map[string]bool     // by subject
	dead     map[string]bool
	deadErr  error
	told     []events.StatusChanged
	values   map[string]string // of the bucket
	answers  map[string]error  // of calls, by their names
	late     time.Duration     // that a page of archives takes

	mu        sync.Mutex // guards all above while calls are made, and what follows
	published []events.Event
	writes    []string
	lines     testlog.Lines
	turns     int // of the list
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newDesk(life *testenv.Life) *desk {
	return &desk{
		Life: life, jobs: map[events.JobID]archive.Job{}, accounts: map[events.UserID]archive.Account{}, pages: map[string][]archive.Job{}, next: map[string]string{},
		glacier: map[events.RetrievalID]archive.Retrieval{}, waiting: map[string]bool{}, dead: map[string]bool{}, values: map[string]string{}, answers: map[string]error{},
	}
}

// sweeper returns a sweeper at the desk, at noon.
func (d *desk) sweeper() *Sweeper {
	began := time.Now()
	return &Sweeper{Catalog: d, Vault: d, Streams: d, KV: bucketOf{d}, Calls: 1_000_000_000, Log: slog.New(slog.NewTextHandler(&d.lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: func() time.Time { return noon.Add(time.Since(began)) }}
}

// do makes the call called name. about tells it from other calls with the name: which one comes
// first is not the same each time.
func (d *desk) do(name string, about any, f func()) error {
	return d.Call(fmt.Sprintf("%s(%v)", name, about), func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if err := d.answers[name]; err != nil {
			return err
		}
		f()
		return nil
	})
}

func (d *desk) note(format string, args ...any) {
	d.writes = append(d.writes, fmt.Sprintf(format, args...))
}

// read is note for a call that is made without the lock.
func (d *desk) read(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(format, args...)
}

// at says how long after noon a time is.
func at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Sub(noon).String()
}

func (d *desk) DueJobs(_ context.Context, by time.Time) iter.Seq2[events.JobID, error] {
	return func(yield func(events.JobID, error) bool) {
		if err := d.do("DueJobs", "", func() {}); err != nil {
			yield("", err)
			return
		}
		for _, id := range d.due {
			if !yield(id, nil) {
				return
			}
		}
	}
}

func (d *desk) DuePlans(_ context.Context, by time.Time) iter.Seq2[events.UserID, error] {
	return func(yield func(events.UserID, error) bool) {
		if err := d.do("DuePlans", "", func() {}); err != nil {
			yield("", err)
			return
		}
		for _, id := range d.plans {
			if !yield(id, nil) {
				return
			}
		}
	}
}

func (d *desk) JobsOf(_ context.Context, ids []events.JobID) (jobs map[events.JobID]archive.Job, err error) {
	err = d.do("JobsOf", ids, func() {
		jobs = map[events.JobID]archive.Job{}
		for _, id := range ids {
			if job, there := d.jobs[id]; there {
				jobs[id] = job
			}
		}
	})
	return jobs, err
}

func (d *desk) AccountsOf(_ context.Context, ids []events.UserID) (accounts map[events.UserID]archive.Account, err error) {
	err = d.do("AccountsOf", ids, func() {
		accounts = map[events.UserID]archive.Account{}
		for _, id := range ids {
			if a, there := d.accounts[id]; there {
				accounts[id] = a
			}
		}
	})
	return accounts, err
}

func (d *desk) page(name, key string) (jobs []archive.Job, next string, err error) {
	d.mu.Lock()
	late := d.late
	d.mu.Unlock()
	time.Sleep(late)
	err = d.do(name, key, func() { jobs, next = d.pages[key], d.next[key] })
	if err == nil && jobs == nil && strings.HasSuffix(key, "odd") {
		err = fault.Errorf(fault.Invalid, "a cursor that is none")
	}
	return jobs, next, err
}

func (d *desk) ArchivedPage(_ context.Context, user events.UserID, cursor string) ([]archive.Job, string, error) {
	d.read("read %s from %q", user, cursor)
	return d.page("ArchivedPage", string(user)+"/"+cursor)
}

func (d *desk) ArchivedScan(_ context.Context, cursor string) ([]archive.Job, string, error) {
	d.read("scan from %q", cursor)
	return d.page("ArchivedScan", "/"+cursor)
}

func (d *desk) Nudged(_ context.Context, job archive.Job, again time.Time, inOrder bool) error {
	return d.do("Nudged", job.ID, func() { d.note("nudged %s until %s, in order: %t", job.ID, at(again), inOrder) })
}

func (d *desk) ClearLeftovers(_ context.Context, job archive.Job) error {
	return d.do("ClearLeftovers", job.ID, func() { d.note("cleared %s", job.ID) })
}

func (d *desk) OpenPlan(_ context.Context, a archive.Account, p archive.Plan) error {
	return d.do("OpenPlan", a.ID, func() {
		d.note("opened for %s, %s, upgraded %s, due %s", a.ID, p.Why, at(p.UpgradedAt), at(p.Due))
	})
}

func (d *desk) PlanLooked(_ context.Context, user events.UserID, plan string, emptySince, due time.Time) error {
	return d.do("PlanLooked", plan, func() { d.note("checked %s, empty since %s, due %s", plan, at(emptySince), at(due)) })
}

func (d *desk) ClosePlan(_ context.Context, user events.UserID, plan archive.Plan, closed time.Time) error {
	return d.do("ClosePlan", plan.ID, func() { d.note("closed %s at %s", plan.ID, at(closed)) })
}

func (d *desk) Describe(_ context.Context, job archive.Job) (r archive.Retrieval, err error) {
	there := false
	err = d.do("Describe", job.RetrievalID, func() { r, there = d.glacier[job.RetrievalID] })
	if err == nil && !there {
		err = fault.Errorf(fault.NotFound, "no such retrieval")
	}
	return r, err
}

func (d *desk) Retrievals(ctx context.Context, _ []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	return func(yield func(archive.Retrieval, error) bool) {
		if err := d.do("Retrievals", "", func() {}); err != nil {
			yield(archive.Retrieval{}, err)
			return
		}
		for _, r := range d.list {
			d.turns++
			if err := turn(ctx); err != nil {
				yield(archive.Retrieval{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (d *desk) Waiting(_ context.Context, e events.Event) (waits bool, err error) {
	err = d.do("Waiting", e.Subject(), func() { waits = d.waiting[e.Subject()] })
	return waits, err
}

func (d *desk) Dead(_ context.Context, e events.Event) (bool, error) {
	return d.dead[e.Subject()], d.deadErr
}

func (d *desk) Publish(_ context.Context, e events.Event) error {
	return d.do("Publish", e.Subject(), func() { d.published = append(d.published, e) })
}

func (d *desk) LatestStatuses(_ context.Context, user events.UserID) iter.Seq2[events.StatusChanged, error] {
	return func(yield func(events.StatusChanged, error) bool) {
		if err := d.do("LatestStatuses", user, func() {}); err != nil {
			yield(events.StatusChanged{}, err)
			return
		}
		for _, e := range d.told {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// bucketOf is the bucket on the desk.
type bucketOf struct{ d *desk }

func (b bucketOf) Get(_ context.Context, key string) (value []byte, revision uint64, err error) {
	err = b.d.do("Get", key, func() { value = []byte(b.d.values[key]) })
	if err == nil && len(value) == 0 {
		err = fault.Errorf(fault.NotFound, "no value")
	}
	return value, 1, err
}

func (b bucketOf) Put(_ context.Context, key string, value []byte) error {
	return b.d.do("Put", key, func() { b.d.values[key] = string(value) })
}

func (b bucketOf) Swap(context.Context, string, []byte, uint64) error {
	return fault.Errorf(fault.Invalid, "a sweep swaps nothing")
}

// swept makes a sweep, in simulated time.
func (d *desk) swept(t *testing.T, change func(*Sweeper)) (r Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := d.sweeper()
		if change != nil {
			change(s)
		}
		r, err = s.Sweep(t.Context())
	})
	return r, err
}

// job is a job of user u with an archive, changed.
func job(id events.JobID, change func(*archive.Job)) archive.Job {
	j := archive.Job{ID: id, UserID: "u", ArchiveID: events.ArchiveID("archive-" + id), ArchiveSize: 6, Status: "COMPLETED"}
	if change != nil {
		change(&j)
	}
	return j
}

// on puts jobs into the catalog, and those that are due into the index.
func (d *desk) on(jobs ...archive.Job) {
	for _, j := range jobs {
		d.jobs[j.ID] = j
		if !j.Due.IsZero() {
			d.due = append(d.due, j.ID)
		}
	}
}

// overdue is due for an hour, with this retrieval.
func overdue(j *archive.Job, r events.RetrievalID) {
	j.RetrievalID, j.Tier, j.RetrievalRequestedAt, j.Due = r, archive.Standard, noon.Add(-6*time.Hour), noon.Add(-time.Hour)
}

// briefly says what was published.
func (d *desk) briefly() (said []string) {
	for _, e := range d.published {
		switch e := e.(type) {
		case events.RetrievalCompleted:
			said = append(said, fmt.Sprintf("completed %s %s %s of %s: %s %s", e.ID, e.Status, e.Reason, e.ArchiveID, e.Tier, e.TreeHash))
		case events.ThawRequested:
			said = append(said, fmt.Sprintf("thaw %s %s of %s for %q", e.ID, e.JobID, e.ArchiveID, e.Plan))
		case events.UserUpgraded:
			said = append(said, fmt.Sprintf("upgraded %s via %s for %s", cmp.Or(e.UserID, "nobody"), e.Via, e.Plan))
		case events.StatusChanged:
			said = append(said, fmt.Sprintf("told %s %s as %s", e.JobID, e.State, e.Step))
		}
	}
	return said
}

// same fails unless the lists are the same.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got  %s\n want %s", what, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}
