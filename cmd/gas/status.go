package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

type statusCmd struct {
	User    string        `arg:"" optional:"" help:"Show only this user."`
	NoBill  bool          `help:"Do not add up what all retrievals cost: that reads the whole job table."`
	JSON    bool          `help:"Write JSON."`
	Timeout time.Duration `default:"5m" help:"How long to try."`
}

// statusReport is the result of the command. For all users it has the jobs with an
// archive; for one user it has all jobs.
type statusReport struct {
	At   time.Time     `json:"at"`
	User events.UserID `json:"user,omitempty"`
	Role archive.Role  `json:"role,omitempty"`
	Jobs []summary.Row `json:"jobs"`
	// ReadyBy is the latest time at which all archives on their way should be back. It
	// assumes that the Unasked archives are requested now. It does not include archives
	// of held plans.
	ReadyBy time.Time `json:"ready_by,omitzero"`
	Unasked int64     `json:"not_asked_for,omitempty"`
	Held    int64     `json:"held,omitempty"`
	// Billed is the price of all retrievals, also of files that are already back; nil if
	// it was not added up.
	Billed *archive.MicroUSD `json:"billed_micro_usd,omitempty"`
	// Standing are the plans that are open or held. Plans are the passes over plans of
	// the last 30 days, the latest first; for all users, only the unfinished ones.
	Standing []standing      `json:"standing,omitempty"`
	Plans    []thaw.Progress `json:"plans,omitempty"`
	// Stopped has the pauses of operators.
	Stopped *archive.Switches `json:"stopped,omitempty"`
	// Queues is the work in the streams and in SQS. Unseen says why some of the queues
	// are missing. Pace is how Glacier answered a short time ago. They are only in the
	// report on all users.
	Queues []queue  `json:"queues,omitempty"`
	Unseen []string `json:"unseen,omitempty"`
	// Reached are the limits of JetStream behind which work stands still, each in a sentence.
	Reached []string         `json:"limits_reached,omitempty"`
	Pace    *thaw.SharedPace `json:"pace,omitempty"`
	// Attention has the jobs that the pipeline gave up, at most listed; MoreAttention is the
	// number of others. The site tells their users that they need attention.
	Attention     []givenUp `json:"need_attention,omitempty"`
	MoreAttention int       `json:"more_need_attention,omitempty"`
	// Moving has the copies in progress, and the archives that must be requested again
	// and are not yet. The latest news come first. It has at most listed entries; More is
	// the number of others.
	Moving []movement `json:"moving,omitempty"`
	More   int        `json:"more_moving,omitempty"`
	// Sweep is the report of the last sweep. It is only in the report on all users.
	Sweep *reconcile.Report `json:"sweep,omitempty"`
}

// givenUp is a job that the pipeline gave up, with the dead letter that says so.
type givenUp struct {
	Job  events.JobID  `json:"job"`
	User events.UserID `json:"user"`
	// Letter is the number of the letter; 0 if the catalog alone says it.
	Letter uint64          `json:"letter,omitempty"`
	Kind   events.DeadKind `json:"kind,omitempty"`
	Why    string          `json:"why,omitempty"`
}

// standing is a plan that is open or held.
type standing struct {
	User     events.UserID      `json:"user"`
	ID       string             `json:"plan"`
	State    archive.PlanState  `json:"state"`
	Why      archive.PlanReason `json:"why"`
	Since    time.Time          `json:"since,omitzero"`
	OpenedAt time.Time          `json:"opened_at"`
	HeldBy   string             `json:"held_by,omitempty"`
	Approved archive.MicroUSD   `json:"approved_micro_usd,omitempty"`
}

func standingOf(a archive.Account) (standing, bool) {
	p := a.Plan
	if p == nil {
		return standing{}, false
	}
	return standing{a.ID, p.ID, p.State, p.Why, p.UpgradedAt, p.OpenedAt, p.HeldBy, p.Approved}, true
}

func (c *statusCmd) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	d, err := deployed(ctx, "gas-status")
	if err != nil {
		return err
	}
	defer d.close()
	r := statusReport{At: time.Now().UTC().Truncate(time.Second), User: events.UserID(c.User)}
	if c.User != "" {
		err = r.ofUser(ctx, d)
	} else {
		err = r.ofAll(ctx, d, !c.NoBill)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(std.out, r)
	}
	return r.print(std.out)
}

func (r *statusReport) ofUser(ctx context.Context, d *deployment) error {
	account, err := d.account(ctx, r.User)
	if err != nil {
		return err
	}
	r.Role = account.Role
	announced, err := d.bus.Announced(ctx, r.User)
	if err != nil {
		return err
	}
	all := summary.New(r.At)
	letters, err := lettersOf(ctx, d)
	if err != nil {
		return err
	}
	for cursor := ""; ; {
		jobs, next, err := d.catalog.Jobs(ctx, r.User, cursor, 1000)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if err := r.add(all, job, account, announced.Has(r.User), letters); err != nil {
				return err
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	r.take(d, all)
	if err := r.follow(ctx, d); err != nil {
		return err
	}
	if s, ok := standingOf(account); ok {
		r.Standing = append(r.Standing, s)
	}
	if err := r.stops(ctx, d); err != nil {
		return err
	}
	r.Plans, err = plans(ctx, d, bus.BucketPlans, thaw.PlanPrefix(r.User)+"*")
	return err
}

func (r *statusReport) ofAll(ctx context.Context, d *deployment, bill bool) error {
	all := summary.New(r.At)
	announced, err := d.bus.Announced(ctx, "")
	if err != nil {
		return err
	}
	letters, err := lettersOf(ctx, d)
	if err != nil {
		return err
	}
	accounts := map[events.UserID]archive.Account{}
	for job, err := range d.catalog.AllArchived(ctx) {
		if err != nil {
			return err
		}
		account, known := accounts[job.UserID]
		if !known {
			if account, err = d.catalog.Account(ctx, job.UserID); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			accounts[job.UserID] = account
		}
		if err := r.add(all, job, account, announced.Has(job.UserID), letters); err != nil {
			return err
		}
	}
	r.take(d, all)
	r.Billed = nil // the index has only archives in the vault, and no files that are back
	if bill {
		billed, err := d.catalog.Billed(ctx)
		if err != nil {
			return err
		}
		r.Billed = &billed
	}
	if err := r.follow(ctx, d); err != nil {
		return err
	}
	for user, err := range d.catalog.DuePlans(ctx, r.At.Add(100*365*24*time.Hour)) {
		if err != nil {
			return err
		}
		account, err := d.catalog.Account(ctx, user)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if s, ok := standingOf(account); ok {
			r.Standing = append(r.Standing, s)
		}
	}
	if err := r.stops(ctx, d); err != nil {
		return err
	}
	if r.Plans, err = plans(ctx, d, bus.BucketPlans, "plan.*.*"); err != nil {
		return err
	}
	r.Plans = slices.DeleteFunc(r.Plans, func(p thaw.Progress) bool { return p.Outcome != thaw.Planning })
	if r.Queues, err = queues(ctx, d.bus); err != nil {
		return err
	}
	r.depths(ctx, d)
	if r.Reached, err = d.bus.Ceilings(ctx); err != nil {
		return err
	}
	if note, _, err := d.bus.KV(bus.BucketSweep).Get(ctx, reconcile.ReportKey); err == nil {
		swept, err := reconcile.DecodeReport(note)
		if err != nil {
			return err
		}
		r.Sweep = &swept
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	note, _, err := d.bus.KV(bus.BucketPace).Get(ctx, thaw.SharedPaceKey)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Pace, err = thaw.DecodeSharedPace(note)
	return err
}

// numbered is a dead letter with its number.
type numbered struct {
	events.DeadLetter
	seq uint64
}

// lettersOf returns a function that finds the dead letter of a piece of work. Most work has
// none, so it reads the list of all subjects first.
func lettersOf(ctx context.Context, d *deployment) (func(events.Event) (numbered, bool, error), error) {
	subjects, err := d.bus.LetterSubjects(ctx)
	if err != nil {
		return nil, err
	}
	return func(e events.Event) (numbered, bool, error) {
		subject, err := bus.LetterSubject(e)
		if err != nil || subjects[subject] == 0 {
			return numbered{}, false, err
		}
		seq, letter, ok, err := d.bus.LetterOf(ctx, e)
		return numbered{letter, seq}, ok, err
	}, nil
}

// add counts a job, and lists it if the pipeline gave it up.
func (r *statusReport) add(all *summary.Summary, job archive.Job, owner archive.Account, announced bool, letters func(events.Event) (numbered, bool, error)) error {
	var found numbered
	_, yes, err := summary.GivenUp(job, owner, func(e events.Event) (letter events.DeadLetter, ok bool, err error) {
		found, ok, err = letters(e)
		return found.DeadLetter, ok, err
	})
	if err != nil || !yes {
		all.AddOf(job, owner, announced)
		return err
	}
	all.AddGivenUp(job)
	if len(r.Attention) == listed {
		r.MoreAttention++
		return nil
	}
	why := cmp.Or(found.Cause, found.Reason)
	if found.seq == 0 {
		_, spent := job.History.Spent()
		why = cmp.Or(job.Doubt(), spent)
	}
	r.Attention = append(r.Attention, givenUp{job.ID, job.UserID, found.seq, found.Kind, why})
	return nil
}

// stops reads the pauses.
func (r *statusReport) stops(ctx context.Context, d *deployment) error {
	s, err := d.catalog.Switches(ctx)
	if err == nil && s.Any() {
		r.Stopped = &s
	}
	return err
}

func (r *statusReport) take(d *deployment, all *summary.Summary) {
	r.Jobs, r.Billed = all.Rows(), &all.Billed
	r.Unasked, r.Held = all.Of(archive.Planned)+all.Of(summary.Queued), all.Of(summary.Held)
	r.ReadyBy, _ = all.ReadyBy(d.cfg.TierOrder())
}

// plans returns the plans of a bucket, the latest first.
func plans(ctx context.Context, d *deployment, bucket, filter string) ([]thaw.Progress, error) {
	var all []thaw.Progress
	for note, err := range d.bus.KV(bucket).List(ctx, filter) {
		if err != nil {
			return nil, err
		}
		p, err := thaw.DecodeProgress(note)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b thaw.Progress) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	return all, nil
}
