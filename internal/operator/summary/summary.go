// Package summary counts jobs by their state. For each state it says how many jobs there
// are, how large they are, since when they wait, and when they should be back. It does no
// I/O.
package summary

import (
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// Row counts the jobs of one state.
type Row struct {
	State archive.State `json:"state"`
	Jobs  int64         `json:"jobs"`
	// Bytes is the size of all archives with a known size. Unsized is the number of the
	// other archives.
	Bytes   int64 `json:"bytes"`
	Unsized int64 `json:"unsized,omitempty"`
	// Oldest is the time since which a job of this state waits, for the job that waits the
	// longest. A job waits since its retrieval was requested, or since it was submitted if
	// it has no retrieval.
	Oldest time.Time `json:"oldest,omitzero"`
	// ReadyBy is the time at which the last retrieval should be ready. Each retrieval counts
	// with the longest typical time of its tier. Overdue is the number of retrievals that
	// should be ready and are not.
	ReadyBy time.Time `json:"ready_by,omitzero"`
	Overdue int64     `json:"overdue,omitempty"`
	// ByTier counts the retrievals by their tier.
	ByTier map[archive.Tier]int64 `json:"by_tier,omitempty"`
}

// Two states that the catalog alone does not show.
const (
	// Queued: an announcement of its user waits for a planner.
	Queued archive.State = "queued"
	// Held: its plan waits for an approval or for another day, and nobody requests the
	// archive.
	Held archive.State = "held"
)

// Summary counts jobs. New returns one.
type Summary struct {
	now  time.Time
	rows map[archive.State]*Row
	// asked is the latest time at which a planned archive may be requested.
	asked time.Time
	// waiting has the classes of the archives that are not requested yet.
	waiting map[archive.Class]bool
	// Billed is the price of all jobs' retrievals, by the price list.
	Billed archive.MicroUSD
}

// New returns a summary as of now, with nothing counted yet.
func New(now time.Time) *Summary { return &Summary{now: now, rows: map[archive.State]*Row{}} }

// order returns the states in the order in which a job passes through them.
func order() []archive.State {
	return []archive.State{archive.Pending, archive.Errored, archive.Archived, Queued, Held, Attention, archive.Planned, archive.Requested, archive.Available, archive.Unclear}
}

// Add counts a job of a user with the role.
func (c *Summary) Add(job archive.Job, owner archive.Role) { c.add(job, job.State(owner)) }

// AddOf counts a job of the account. Archives that a plan or an operator's order brings
// back count as planned, whatever the user's role is: an operator's announcement can open
// a plan of a Free user too. announced is true if such an announcement waits for a
// planner.
func (c *Summary) AddOf(job archive.Job, owner archive.Account, announced bool) {
	state := job.State(owner.Role)
	switch {
	case state != archive.Archived:
	case owner.Plan != nil || job.Ordered:
		state = archive.Planned
	case announced:
		state = Queued
	}
	if state == archive.Planned && job.Intent == nil && !job.Ordered && owner.Plan != nil && owner.Plan.State == archive.PlanHeld {
		state = Held
	}
	c.add(job, state)
}

// AddGivenUp counts a job that the pipeline gave up.
func (c *Summary) AddGivenUp(job archive.Job) { c.add(job, Attention) }

func (c *Summary) add(job archive.Job, state archive.State) {
	r := c.rows[state]
	if r == nil {
		r = &Row{State: state}
		c.rows[state] = r
	}
	r.Jobs++
	c.Billed = c.Billed.Plus(job.Billed)
	since := job.SubmittedAt
	if job.ArchiveID != "" {
		if job.ArchiveSize < 0 {
			r.Unsized++
		} else {
			r.Bytes += job.ArchiveSize
		}
	}
	if state == archive.Requested {
		since = job.RetrievalRequestedAt
		if r.ByTier == nil {
			r.ByTier = map[archive.Tier]int64{}
		}
		r.ByTier[job.Tier]++
		if _, longest, err := job.Copy.Class.Typically(job.Tier); err == nil {
			by := since.Add(longest)
			if by.After(r.ReadyBy) {
				r.ReadyBy = by
			}
			if by.Before(c.now) {
				r.Overdue++
			}
		}
	}
	if state == archive.Planned || state == Queued {
		if c.waiting == nil {
			c.waiting = map[archive.Class]bool{}
		}
		c.waiting[job.Copy.StorageClass()] = true
	}
	if state == archive.Planned && job.History.NotBefore.After(c.asked) {
		c.asked = job.History.NotBefore
	}
	if !since.IsZero() && (r.Oldest.IsZero() || since.Before(r.Oldest)) {
		r.Oldest = since
	}
}

// Rows returns the states that have jobs, in the order in which a job passes
// through them.
func (c *Summary) Rows() []Row {
	rows := []Row{}
	for _, state := range order() {
		if r := c.rows[state]; r != nil {
			rows = append(rows, *r)
		}
	}
	return rows
}

// ReadyBy returns the latest time at which everything should be back. Requested archives
// count by their tier. Planned archives count by the slowest tier, from the time when
// they may be requested. Nobody promises this: they may be requested later. Archives of
// held plans do not count. ok is false if nothing is on its way.
func (c *Summary) ReadyBy(tiers archive.Tiers) (by time.Time, ok bool) {
	if r := c.rows[archive.Requested]; r != nil {
		by, ok = r.ReadyBy, true
	}
	for class := range c.waiting {
		for _, tier := range tiers.In(class) {
			from := c.now
			if c.asked.After(from) {
				from = c.asked
			}
			if at := from.Add(class.Longest(tier)); at.After(by) {
				by = at
			}
		}
		ok = true
	}
	return by, ok
}

// Of returns how many jobs are in the state.
func (c *Summary) Of(state archive.State) int64 {
	if r := c.rows[state]; r != nil {
		return r.Jobs
	}
	return 0
}
