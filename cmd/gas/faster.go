package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// fasterReport is the result of `gas thaw --tier`.
type fasterReport struct {
	User events.UserID `json:"user"`
	Tier archive.Tier  `json:"tier"`
	// Jobs counts the archives by what became of them.
	Jobs   map[thaw.Move]int `json:"jobs"`
	Cost   archive.MicroUSD  `json:"cost_micro_usd"`
	DryRun bool              `json:"dry_run,omitempty"`
}

// faster moves the retrievals of a user, or of one job, to a faster tier. It stops at the
// first error, and prints what was done until then.
func (c *thawCmd) faster(ctx context.Context, d *deployment, std streams, line commandLine) error {
	f := &thaw.Faster{
		Catalog: d.catalog, Store: wiring.Store(d.cfg, d.aws), Prices: d.prices, AssumedSize: d.cfg.AssumedSize, Now: time.Now,
	}
	if user, day := d.cfg.Budgets(); user > 0 || day > 0 {
		f.Budgets = d.catalog
	}
	r := fasterReport{User: events.UserID(c.User), Tier: c.Tier, Jobs: map[thaw.Move]int{}, DryRun: c.DryRun}
	one := func(id events.JobID) error {
		job, err := d.catalog.Job(ctx, id)
		switch {
		case fault.Is(err, fault.NotFound):
			return fmt.Errorf("unknown job %q: not in the catalog", id)
		case err != nil:
			return err
		case job.ArchiveID == "":
			return nil // it is back
		}
		r.User = job.UserID
		move, cost := f.Preview(job, c.Tier)
		if !c.DryRun {
			move, cost, err = f.Move(ctx, job, c.Tier)
		}
		if r.Cost = r.Cost.Plus(cost); move != "" {
			r.Jobs[move]++
		}
		if err != nil || move != thaw.Moved || c.DryRun {
			return err
		}
		now := time.Now().UTC()
		by := now.Add(job.Copy.Class.Longest(c.Tier))
		_, err = d.bus.Publish(ctx, events.StatusChanged{
			JobID: job.ID, UserID: job.UserID, State: archive.Requested, At: now, Tier: c.Tier.Told(), Class: string(job.Copy.Class),
			ReadyBy: &by, Step: string(job.RetrievalID) + " in " + string(c.Tier),
		})
		return err
	}
	if err := c.known(ctx, d, &r); err != nil {
		return err
	}
	err := error(nil)
	if c.DryRun {
		err = c.eachJob(ctx, d, one)
	} else {
		err = recorded(ctx, d.bus, c.act(line, events.ActFaster, r.User, events.JobID(c.Job)), func(ctx context.Context) (string, error) {
			err := c.eachJob(ctx, d, one)
			return fmt.Sprintf("moved %s to %s for %s", count(r.Jobs[thaw.Moved], "archive"), r.Tier, r.Cost), err
		})
	}
	if c.JSON {
		if werr := writeJSON(std.out, r); err == nil {
			err = werr
		}
		return err
	}
	if werr := r.print(std); err == nil {
		err = werr
	}
	return err
}

// known finds the user of the command's job, or checks that its user is known.
func (c *thawCmd) known(ctx context.Context, d *deployment, r *fasterReport) error {
	if c.Job == "" {
		_, err := d.account(ctx, r.User)
		return err
	}
	job, err := d.catalog.Job(ctx, events.JobID(c.Job))
	if fault.Is(err, fault.NotFound) {
		return fmt.Errorf("unknown job %q: not in the catalog", c.Job)
	}
	r.User = job.UserID
	return err
}

// eachJob calls one with the job of --job, or with each archived job of the user.
func (c *thawCmd) eachJob(ctx context.Context, d *deployment, one func(events.JobID) error) error {
	if c.Job != "" {
		return one(events.JobID(c.Job))
	}
	for cursor := ""; ; {
		jobs, next, err := d.catalog.ArchivedPage(ctx, events.UserID(c.User), cursor)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if err := one(job.ID); err != nil {
				return err
			}
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

func (r fasterReport) print(std streams) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "user\t%s\n", r.User)
	for _, line := range []struct {
		move thaw.Move
		why  string
	}{
		{thaw.Moved, "moved to " + string(r.Tier)},
		{thaw.AsFast, "in " + string(r.Tier) + " or a faster tier already; or S3 refuses, because the copy was requested for another number of days"},
		{thaw.CopyThere, "no longer on their way: the output is there"},
		{thaw.Fixed, "cannot be moved: a vault moves none, and not every class has every tier"},
		{thaw.NotRequested, "not requested yet: GAS_TIERS says in which tier they will be"},
	} {
		if n := r.Jobs[line.move]; n > 0 {
			fmt.Fprintf(w, "%d archives\t%s\n", n, line.why)
		}
	}
	if len(r.Jobs) == 0 {
		fmt.Fprintln(w, "0 archives\tnothing is archived")
	}
	fmt.Fprintf(w, "cost\t%s\n", r.Cost)
	if r.DryRun {
		fmt.Fprintln(w, "done\tnothing: this is a dry run")
	}
	return w.Flush()
}
