package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

type thawCmd struct {
	User    string        `arg:"" optional:"" help:"Plan every archive of this user."`
	Job     string        `help:"Request the archive of this one job." placeholder:"ID"`
	DryRun  bool          `help:"Show what it would cost, and do nothing."`
	Approve bool          `help:"Let the user's plan continue beyond the budgets, for up to its present cost."`
	Force   bool          `help:"Thaw the archives of a Free user too."`
	Again   bool          `help:"Allow one more request for the job's archive than the limits say."`
	Tier    archive.Tier  `help:"Move retrievals that are on their way to this faster tier: Expedited or Standard. S3 can do that, a vault cannot. It costs another retrieval each." placeholder:"TIER"`
	JSON    bool          `help:"Write JSON."`
	Timeout time.Duration `default:"5m" help:"How long to try."`
	actor
}

// thawReport is the result of the command.
type thawReport struct {
	User    events.UserID `json:"user"`
	Job     events.JobID  `json:"job,omitempty"`
	Role    archive.Role  `json:"role"`
	Preview *thaw.Preview `json:"plan,omitempty"`
	// PricesOf and PricesAsOf name the price list that was used.
	PricesOf   string `json:"prices_of"`
	PricesAsOf string `json:"prices_as_of"`
	// Did is a sentence. Published is the id of the event, empty if there is none.
	Did       string `json:"did"`
	Published string `json:"published,omitempty"`
}

func (c *thawCmd) Run(ctx context.Context, std streams, line commandLine) error {
	switch {
	case (c.User == "") == (c.Job == ""):
		return errors.New("name a user, or a job with --job")
	case c.Job != "" && c.Approve:
		return errors.New("--approve is for the plan of a user: one job has no budget")
	case c.Again && c.Job == "":
		return errors.New("--again is for one job: name it with --job")
	case c.DryRun && c.Approve:
		return errors.New("--dry-run does nothing, --approve does: give one of them")
	case c.Tier != "" && (c.Approve || c.Again || c.Force):
		return errors.New("--tier is for retrievals that are on their way: leave out --approve, --again and --force")
	case c.Tier != "" && c.Tier != archive.Expedited && c.Tier != archive.Standard:
		return fmt.Errorf("--tier is %q: want %s or %s", c.Tier, archive.Expedited, archive.Standard)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	d, err := deployed(ctx, "gas-thaw", config.Thaw)
	if err != nil {
		return err
	}
	defer d.close()
	if c.Tier != "" {
		return c.faster(ctx, d, std, line)
	}
	var r thawReport
	if c.Job != "" {
		r, err = c.job(ctx, d, line)
	} else {
		r, err = c.user(ctx, d, line)
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

func (c *thawCmd) user(ctx context.Context, d *deployment, line commandLine) (thawReport, error) {
	user := events.UserID(c.User)
	account, err := d.account(ctx, user)
	if err != nil {
		return thawReport{}, err
	}
	planner := &thaw.Planner{
		Jobs: d.catalog, Budgets: d.catalog, Tiers: d.cfg.TierOrder(), Prices: d.prices, AssumedSize: d.cfg.AssumedSize, Now: time.Now,
	}
	planner.Limits.User, planner.Limits.Day = d.cfg.Budgets()
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
	if account.Plan == nil {
		if err := c.entitled(account); err != nil {
			return r, err
		}
	}
	kind := events.ActThaw
	if c.Approve {
		kind = events.ActApprove
	}
	err = recorded(ctx, d.bus, c.act(line, kind, user, ""), func(ctx context.Context) (string, error) {
		err := c.carryOut(ctx, d, account, preview, &r)
		return r.Did, err
	})
	return r, err
}

// carryOut publishes the user's plan, and approves it if that is wanted. It opens a plan if
// there is none.
func (c *thawCmd) carryOut(ctx context.Context, d *deployment, account archive.Account, preview thaw.Preview, r *thawReport) error {
	account, err := c.planned(ctx, d, account)
	if err != nil {
		return err
	}
	user, plan := account.ID, account.Plan
	e := events.UserUpgraded{ID: "operator-" + rand.Text(), UserID: user, UpgradedAt: time.Now().UTC(), Via: events.ViaOperator, Plan: plan.ID}
	did := "asked thaw to carry out plan " + plan.ID
	switch {
	case c.Approve:
		if err := d.catalog.ResumePlan(ctx, user, plan.ID, max(plan.Approved, preview.AtMost), time.Now()); err != nil {
			return err
		}
		did = fmt.Sprintf("approved plan %s for up to %s", plan.ID, preview.AtMost)
		if plan.State == archive.PlanHeld {
			did += ", which was held: " + plan.HeldBy
		}
		r.Did = did
	case preview.OverBudget != "":
		did += "; it will be held: " + preview.OverBudget
	}
	// If this message gets lost, the sweep still finds the plan.
	if _, err := d.bus.Publish(ctx, e); err != nil {
		return err
	}
	r.Published, r.Did = e.ID, did
	return nil
}

// planned returns the account with its open or held plan, or with a new one.
func (c *thawCmd) planned(ctx context.Context, d *deployment, a archive.Account) (archive.Account, error) {
	if a.Plan != nil {
		return a, nil
	}
	now := time.Now().UTC()
	plan := archive.Plan{ID: "operator-" + rand.Text(), UpgradedAt: a.RoleChangedAt, Why: archive.Operator, State: archive.PlanOpen, OpenedAt: now, Due: now}
	if err := d.catalog.OpenPlan(ctx, a, plan); err != nil && !fault.Is(err, fault.Conflict) {
		return a, err
	}
	again, err := d.account(ctx, a.ID)
	if err == nil && again.Plan == nil {
		err = fmt.Errorf("the account of %q changed meanwhile: try again", a.ID)
	}
	return again, err
}

func (c *thawCmd) entitled(a archive.Account) error {
	if a.Role == archive.Premium || c.Force {
		return nil
	}
	return fmt.Errorf("user %q is %s and keeps the archives in the vault: --force thaws them all the same", a.ID, a.Role)
}

func (c *thawCmd) job(ctx context.Context, d *deployment, line commandLine) (thawReport, error) {
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
	p.Add(job, d.cfg.AssumedSize)
	p.InTier = map[archive.Tier]archive.MicroUSD{}
	for _, tier := range archive.AllTiers() {
		p.InTier[tier] = p.In(d.prices, tier)
	}
	p.AtMost, p.Early = p.Estimate.AtMost(d.prices, d.cfg.TierOrder()), p.EarlyAtMost(d.prices)
	r.Preview = &p
	if c.DryRun {
		r.Did = "nothing: this is a dry run"
		return r, nil
	}
	if err := c.entitled(account); err != nil {
		return r, err
	}
	more := 0
	if c.Again {
		more = 1
	}
	if cause, why := job.History.Spent(); cause != "" && !c.Again {
		return r, fmt.Errorf("%s: fix the reason, and give --again for one more try", why)
	}
	err = recorded(ctx, d.bus, c.act(line, events.ActThaw, job.UserID, job.ID), func(ctx context.Context) (string, error) {
		// If the message below gets lost, the order is still in the catalog.
		if err := d.catalog.Order(ctx, job, more, time.Now()); err != nil {
			return "", err
		}
		e := events.ThawRequested{ID: "operator-" + rand.Text(), JobID: job.ID, UserID: job.UserID, ArchiveID: job.ArchiveID}
		if _, err := d.bus.Publish(ctx, e); err != nil {
			return "ordered it", err
		}
		r.Published, r.Did = e.ID, "asked thaw to request it"
		return r.Did, nil
	})
	return r, err
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
		for _, tier := range archive.AllTiers() {
			use := "not in GAS_TIERS"
			if i := slices.Index(order, tier); i == 0 {
				use = "requested first"
			} else if i > 0 {
				use = "if " + string(order[i-1]) + " has no capacity"
			}
			fmt.Fprintf(w, "all %s\t%s, %s\n", tier, p.InTier[tier], use)
		}
		fmt.Fprintf(w, "early deletion\tup to %s more, if the archives are new\n", p.Early)
		fmt.Fprintf(w, "prices\t%s, as of %s\n", r.PricesOf, r.PricesAsOf)
	}
	fmt.Fprintf(w, "done\t%s\n", r.Did)
	return w.Flush()
}
