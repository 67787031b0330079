package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/census"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

type statusCmd struct {
	User    string        `arg:"" optional:"" help:"Tell of this user alone."`
	JSON    bool          `help:"Write JSON."`
	Timeout time.Duration `default:"5m" help:"How long to try."`
}

// statusReport is what the command found. Of all users, the jobs are those with
// an archive; of one user, all.
type statusReport struct {
	At   time.Time     `json:"at"`
	User events.UserID `json:"user,omitempty"`
	Role archive.Role  `json:"role,omitempty"`
	Jobs []census.Row  `json:"jobs"`
	// ReadyBy is when all that is on its way should be back at the latest.
	ReadyBy time.Time `json:"ready_by,omitzero"`
	// Billed is what the retrievals of these jobs cost by the price list.
	Billed archive.MicroUSD `json:"billed_micro_usd"`
	// Standing are the plans that are not over. Plans are the passes over plans of the
	// last 30 days, the latest first; of all users, only those that are not done.
	Standing []standing      `json:"standing,omitempty"`
	Plans    []thaw.Progress `json:"plans,omitempty"`
	// Stopped is what operators have stopped.
	Stopped *archive.Switches `json:"stopped,omitempty"`
	// Queues is what waits in the streams, Pace how Glacier answered of late: of all
	// users only.
	Queues []queue      `json:"queues,omitempty"`
	Pace   *thaw.Notice `json:"pace,omitempty"`
	// Moving is what is copied, and what had to be asked for again and is not on its
	// way yet, the latest news first; at most listed of them, More how many others.
	Moving []movement `json:"moving,omitempty"`
	More   int        `json:"more_moving,omitempty"`
	// Sweep is what the last sweep saw and did: of all users alone.
	Sweep *reconcile.Report `json:"sweep,omitempty"`
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
	return standing{a.ID, p.ID, p.State, p.Why, p.Since, p.OpenedAt, p.HeldBy, p.Approved}, true
}

// queue is what waits in a stream.
type queue struct {
	Stream  string `json:"stream"`
	Waiting uint64 `json:"waiting"`
	// InHand is how many workers have, or had and handed back.
	InHand int       `json:"in_hand"`
	Oldest time.Time `json:"oldest,omitzero"`
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
		err = r.ofAll(ctx, d)
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
	all := census.New(r.At)
	for cursor := ""; ; {
		jobs, next, err := d.catalog.Jobs(ctx, r.User, cursor, 1000)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			all.Add(job, account.Role)
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

func (r *statusReport) ofAll(ctx context.Context, d *deployment) error {
	all := census.New(r.At)
	roles := map[events.UserID]archive.Role{}
	for job, err := range d.catalog.AllArchived(ctx) {
		if err != nil {
			return err
		}
		role, known := roles[job.UserID]
		if !known {
			account, err := d.catalog.Account(ctx, job.UserID)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			role = account.Role
			roles[job.UserID] = role
		}
		all.Add(job, role)
	}
	r.take(d, all)
	if err := r.follow(ctx, d); err != nil {
		return err
	}
	var err error
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
	if note, _, err := d.bus.Notes(bus.BucketSweep).Get(ctx, reconcile.ReportKey); err == nil {
		swept, err := reconcile.DecodeReport(note)
		if err != nil {
			return err
		}
		r.Sweep = &swept
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	note, _, err := d.bus.Notes(bus.BucketPace).Get(ctx, thaw.BoardKey)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Pace, err = thaw.DecodeNotice(note)
	return err
}

// stops reads what operators have stopped.
func (r *statusReport) stops(ctx context.Context, d *deployment) error {
	s, err := d.catalog.Switches(ctx)
	if err == nil && s.Any() {
		r.Stopped = &s
	}
	return err
}

func (r *statusReport) take(d *deployment, all *census.Census) {
	r.Jobs, r.Billed = all.Rows(), all.Billed
	r.ReadyBy, _ = all.ReadyBy(d.cfg.TierOrder())
}

// plans returns the plans of a bucket, the latest first.
func plans(ctx context.Context, d *deployment, bucket, filter string) ([]thaw.Progress, error) {
	var all []thaw.Progress
	for note, err := range d.bus.Notes(bucket).List(ctx, filter) {
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

func queues(ctx context.Context, b *bus.Bus) ([]queue, error) {
	var all []queue
	for _, q := range []struct{ stream, consumer string }{
		{events.StreamPremium, bus.ConsumerPlan}, {events.StreamThaw, bus.ConsumerRequest},
		{events.StreamRestore, bus.ConsumerRestore}, {events.StreamDead, ""},
	} {
		st, err := b.JS.Stream(ctx, q.stream)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", q.stream, err)
		}
		state := st.CachedInfo().State
		row := queue{Stream: q.stream, Waiting: state.Msgs}
		if state.Msgs > 0 {
			row.Oldest = state.FirstTime.UTC()
		}
		if q.consumer != "" {
			c, err := b.JS.Consumer(ctx, q.stream, q.consumer)
			switch {
			case errors.Is(err, jetstream.ErrConsumerNotFound):
			case err != nil:
				return nil, fmt.Errorf("consumer %s: %w", q.consumer, err)
			default:
				row.InHand = c.CachedInfo().NumAckPending
			}
		}
		all = append(all, row)
	}
	return all, nil
}

func (r statusReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if r.User != "" {
		fmt.Fprintf(w, "user %s, %s\n\n", r.User, r.Role)
	}
	fmt.Fprintln(w, "STATE\tJOBS\tSIZE\tOLDEST\tREADY BY\t")
	for _, row := range r.Jobs {
		size, note := "-", ""
		if row.State == archive.Archived || row.State == archive.Planned || row.State == archive.Requested {
			size = showBytes(row.Bytes)
			if row.Unsized > 0 {
				size += "+"
				note = fmt.Sprintf("%d of unknown size", row.Unsized)
			}
		}
		for _, tier := range []archive.Tier{archive.Expedited, archive.Standard, archive.Bulk} {
			if n := row.ByTier[tier]; n > 0 {
				note += fmt.Sprintf("  %d %s", n, tier)
			}
		}
		if row.Overdue > 0 {
			note += fmt.Sprintf("  %d overdue", row.Overdue)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", row.State, row.Jobs, size, showTime(row.Oldest), showTime(row.ReadyBy), note)
	}
	if len(r.Jobs) == 0 {
		fmt.Fprintln(w, "none\t0\t-\t-\t-\t")
	}
	fmt.Fprintf(w, "\nall back by\t%s\nbilled\t%s\n", showTime(r.ReadyBy), r.Billed)
	if len(r.Moving) > 0 {
		fmt.Fprintln(w, "\nJOB\tUSER\tSTATE\tCOPIED\tAT\tWHY")
		for _, m := range r.Moving {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Job, m.User, m.State, m.progress(), showTime(m.At), m.Why)
		}
		if r.More > 0 {
			fmt.Fprintf(w, "and %d others\n", r.More)
		}
	}
	if len(r.Queues) > 0 {
		fmt.Fprintln(w, "\nQUEUE\tWAITING\tIN HAND\tOLDEST\t")
		for _, q := range r.Queues {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t\n", q.Stream, q.Waiting, q.InHand, showTime(q.Oldest))
		}
	}
	if len(r.Standing) > 0 {
		fmt.Fprintln(w, "\nUSER\tPLAN\tSTATE\tOPENED\tBY\tWHY")
		for _, p := range r.Standing {
			why := p.HeldBy
			if p.Approved > 0 {
				why = strings.TrimPrefix(why+"; approved for "+p.Approved.String(), "; ")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p.User, p.ID, p.State, showTime(p.OpenedAt), p.Why, why)
		}
	}
	if s := r.Stopped; s != nil {
		fmt.Fprintln(w, "\nSTOPPED\tSINCE\tWHY")
		if s.All != nil {
			fmt.Fprintf(w, "everything\t%s\t%s\n", showTime(s.All.At), s.All.Reason)
		}
		for _, user := range slices.Sorted(maps.Keys(s.Users)) {
			fmt.Fprintf(w, "user %s\t%s\t%s\n", user, showTime(s.Users[user].At), s.Users[user].Reason)
		}
		for _, tier := range slices.Sorted(maps.Keys(s.Tiers)) {
			fmt.Fprintf(w, "tier %s\t%s\t%s\n", tier, showTime(s.Tiers[tier].At), s.Tiers[tier].Reason)
		}
	}
	if len(r.Plans) > 0 {
		fmt.Fprintln(w, "\nPLAN\tOUTCOME\tPLANNED\tTHAWING\tAT\tWHY")
		for _, p := range r.Plans {
			name := p.ID
			if r.User == "" {
				name = string(p.User)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", name, p.Outcome, p.Planned, p.Thawing, showTime(p.UpdatedAt), p.Reason)
		}
	}
	if sw := r.Sweep; sw != nil {
		fmt.Fprintf(w, "\nlast sweep\t%s, %d plans and %d that were overdue in %s", showTime(sw.At), sw.Plans, sw.Due, sw.Took.Round(time.Millisecond))
		for _, rule := range reconcile.Rules() {
			if n := sw.Found[rule.Finding]; n > 0 && rule.Action != reconcile.Leave {
				fmt.Fprintf(w, ", %d %s", n, rule.Finding)
			}
		}
		fmt.Fprintln(w)
		if sw.Error != "" {
			fmt.Fprintf(w, "it was cut short\t%s\n", sw.Error)
		}
	}
	if n := r.Pace; n != nil {
		if n.RestUntil.After(r.At) {
			fmt.Fprintf(w, "\nExpedited had no capacity %d times in a row and is left alone until %s\n", n.Refusals, showTime(n.RestUntil))
		}
		if r.At.Sub(n.SlowedAt) < time.Minute {
			fmt.Fprintf(w, "\nGlacier throttled at %s\n", showTime(n.SlowedAt))
		}
	}
	return w.Flush()
}
