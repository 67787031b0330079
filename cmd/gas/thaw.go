package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

type thawCmd struct {
	User    string        `arg:"" optional:"" help:"Plan every archive of this user."`
	Job     string        `help:"Request the archive of this one job." placeholder:"ID"`
	DryRun  bool          `help:"Tell what it would cost, and do nothing."`
	Approve bool          `help:"Let the user's plan go on whatever the budgets say, for up to what it costs now."`
	Force   bool          `help:"Thaw the archives of a Free user too."`
	JSON    bool          `help:"Write JSON."`
	Timeout time.Duration `default:"5m" help:"How long to try."`
}

// thawReport is what the command did.
type thawReport struct {
	User    events.UserID `json:"user"`
	Job     events.JobID  `json:"job,omitempty"`
	Role    archive.Role  `json:"role"`
	Preview *thaw.Preview `json:"plan,omitempty"`
	// PricesOf and PricesAsOf say by which list it was reckoned.
	PricesOf   string `json:"prices_of"`
	PricesAsOf string `json:"prices_as_of"`
	// Did is a sentence; Published is the id of the event, empty if there is none.
	Did       string `json:"did"`
	Published string `json:"published,omitempty"`
}

func (c *thawCmd) Run(ctx context.Context, std streams) error {
	switch {
	case (c.User == "") == (c.Job == ""):
		return errors.New("name a user, or a job with --job")
	case c.Job != "" && c.Approve:
		return errors.New("--approve is for the plan of a user: one job has no budget")
	case c.DryRun && c.Approve:
		return errors.New("--dry-run does nothing, --approve does: give one of them")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	d, err := deployed(ctx, "gas-thaw", config.Thaw)
	if err != nil {
		return err
	}
	defer d.close()
	var r thawReport
	if c.Job != "" {
		r, err = c.job(ctx, d)
	} else {
		r, err = c.user(ctx, d)
	}
	if err != nil {
		return err
	}
	r.PricesOf, r.PricesAsOf = d.prices.Region, d.prices.AsOf
	if d.prices.StandIn != "" {
		r.PricesOf = d.prices.StandIn
	}
	if c.JSON {
		return writeJSON(std.out, r)
	}
	return r.print(std, d.cfg.TierOrder())
}

func (c *thawCmd) user(ctx context.Context, d *deployment) (thawReport, error) {
	user := events.UserID(c.User)
	account, err := d.account(ctx, user)
	if err != nil {
		return thawReport{}, err
	}
	planner := &thaw.Planner{
		Jobs: d.catalog, Plans: d.bus.Notes(bus.BucketPlans), Tiers: d.cfg.TierOrder(), Prices: d.prices,
		AssumedSize: d.cfg.AssumedSize, Now: time.Now,
	}
	planner.Budget.User, planner.Budget.Day = d.cfg.Budgets()
	preview, err := planner.Preview(ctx, user)
	if err != nil {
		return thawReport{}, err
	}
	r := thawReport{User: user, Role: account.Role, Preview: &preview}
	if c.DryRun {
		r.Did = "nothing: this is a dry run"
		if preview.OverBudget != "" {
			r.Did += "; the plan would be held: " + preview.OverBudget
		}
		return r, nil
	}
	e := events.UserUpgraded{ID: "operator-" + rand.Text(), UserID: user, At: time.Now().UTC(), Via: "operator"}
	if c.Approve {
		return c.approve(ctx, d, r, e)
	}
	if err := c.entitled(account); err != nil {
		return r, err
	}
	if _, err := d.bus.Publish(ctx, e); err != nil {
		return r, err
	}
	r.Published, r.Did = e.ID, "asked thaw to plan it"
	if preview.OverBudget != "" {
		r.Did += "; it will be held: " + preview.OverBudget
	}
	return r, nil
}

// approve lets the user's held plan go on; one that is not held is made, with its
// budget approved.
func (c *thawCmd) approve(ctx context.Context, d *deployment, r thawReport, e events.UserUpgraded) (thawReport, error) {
	holds, key := d.bus.Notes(bus.BucketHolds), thaw.HoldKey(r.User)
	note, revision, err := holds.Get(ctx, key)
	var held thaw.Plan
	switch {
	case fault.Is(err, fault.NotFound):
		if !c.Force && r.Role != archive.Premium {
			return r, fmt.Errorf("user %q has no plan that is held, and is %s: --force thaws the archives all the same", r.User, r.Role)
		}
		e.ApprovedMicroUSD = int64(r.Preview.AtMost)
		r.Did = "asked thaw to plan it: no plan was held"
	case err != nil:
		return r, err
	default:
		if held, err = thaw.DecodePlan(note); err != nil {
			return r, err
		}
		e = held.Approve(max(held.Cost, r.Preview.AtMost), time.Now())
		r.Did = "approved the plan that was held since " + showTime(held.UpdatedAt)
	}
	r.Did += fmt.Sprintf(", for up to %s", archive.MicroUSD(e.ApprovedMicroUSD))
	if _, err := d.bus.Publish(ctx, e); err != nil {
		return r, err
	}
	r.Published = e.ID
	if revision == 0 {
		return r, nil
	}
	// The hold itself goes when the plan has been carried out. That it is approved is
	// for `gas status` to show; the planner may have been faster.
	held.ApprovedAt = time.Now().UTC()
	if note, err = json.Marshal(held); err == nil {
		err = holds.Swap(ctx, key, note, revision)
	}
	if fault.Is(err, fault.Conflict) {
		err = nil
	}
	return r, err
}

func (c *thawCmd) entitled(a archive.Account) error {
	if a.Role == archive.Premium || c.Force {
		return nil
	}
	return fmt.Errorf("user %q is %s and keeps the archives in the vault: --force thaws them all the same", a.ID, a.Role)
}

func (c *thawCmd) job(ctx context.Context, d *deployment) (thawReport, error) {
	job, err := d.catalog.Job(ctx, events.JobID(c.Job))
	if fault.Is(err, fault.NotFound) {
		return thawReport{}, fmt.Errorf("unknown job %q: not in the catalog", c.Job)
	}
	if err != nil {
		return thawReport{}, err
	}
	account, err := d.account(ctx, job.UserID)
	if err != nil {
		return thawReport{}, err
	}
	r := thawReport{User: job.UserID, Job: job.ID, Role: account.Role}
	switch {
	case job.ArchiveID == "":
		r.Did = "nothing: the result is not archived"
		return r, nil
	case job.RetrievalID != "":
		r.Did = fmt.Sprintf("nothing: its retrieval was requested at %s in %s", showTime(job.RetrievalRequestedAt), job.Tier)
		return r, nil
	}
	var p thaw.Preview
	p.Add(job.ArchiveSize, d.cfg.AssumedSize)
	p.InTier = map[archive.Tier]archive.MicroUSD{}
	for _, tier := range []archive.Tier{archive.Expedited, archive.Standard, archive.Bulk} {
		p.InTier[tier] = p.In(d.prices, tier)
	}
	p.AtMost = p.Estimate.AtMost(d.prices, d.cfg.TierOrder())
	r.Preview = &p
	if c.DryRun {
		r.Did = "nothing: this is a dry run"
		return r, nil
	}
	if err := c.entitled(account); err != nil {
		return r, err
	}
	e := events.ThawRequested{ID: "operator-" + rand.Text(), JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID, UpgradedAt: time.Now().UTC()}
	if _, err := d.bus.Publish(ctx, e); err != nil {
		return r, err
	}
	r.Published, r.Did = e.ID, "asked thaw to request it"
	return r, nil
}

func (r thawReport) print(std streams, order archive.Tiers) error {
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	if r.Job != "" {
		fmt.Fprintf(w, "job\t%s\n", r.Job)
	}
	fmt.Fprintf(w, "user\t%s (%s)\n", r.User, r.Role)
	if p := r.Preview; p != nil {
		fmt.Fprintf(w, "to request\t%d archives, %s\n", p.Archives, showBytes(p.Bytes))
		if p.Unsized > 0 {
			fmt.Fprintf(w, "\t%d of them are of unknown size, which was assumed\n", p.Unsized)
		}
		if p.Thawing > 0 {
			fmt.Fprintf(w, "on their way\t%d archives\n", p.Thawing)
		}
		for _, tier := range []archive.Tier{archive.Expedited, archive.Standard, archive.Bulk} {
			use := "not in GAS_TIERS"
			if i := slices.Index(order, tier); i == 0 {
				use = "asked for first"
			} else if i > 0 {
				use = "if " + string(order[i-1]) + " has no capacity"
			}
			fmt.Fprintf(w, "all %s\t%s, %s\n", tier, p.InTier[tier], use)
		}
		fmt.Fprintf(w, "prices\t%s, as of %s\n", r.PricesOf, r.PricesAsOf)
	}
	fmt.Fprintf(w, "done\t%s\n", r.Did)
	return w.Flush()
}
