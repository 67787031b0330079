package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

type provisionCmd struct {
	NATS provisionNATSCmd `cmd:"" name:"nats" default:"withargs" help:"Make the JetStream streams, consumers and buckets, or update them. This is what provision does without a name."`
	AWS  provisionAWSCmd  `cmd:"" name:"aws" help:"Make what is missing in AWS, and repair what exists: tables, indexes, vault, buckets, topics, queues, subscriptions, policies. It deletes nothing, and asks before it changes what exists."`
}

type provisionNATSCmd struct {
	AWS     bool          `name:"aws" help:"First do provision aws --yes."`
	Timeout time.Duration `default:"30s" help:"How long to try; with --aws for each change there, and ten times as long for tables."`
	actor
}

func (c *provisionNATSCmd) Run(ctx context.Context, std streams, line commandLine) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	if c.AWS {
		if err := (&provisionAWSCmd{Yes: true, Timeout: c.Timeout}).Run(ctx, std); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	b, err := operatorBus(ctx, cfg, "gas-provision")
	if err != nil {
		return err
	}
	defer b.Close()
	settings := bus.Settings{Replicas: cfg.Replicas}
	// The record needs its stream.
	if err := bus.ProvisionAudit(ctx, b.JS, settings); err != nil {
		return err
	}
	if err := recorded(ctx, b, c.act(line, events.ActProvision, "", ""), func(ctx context.Context) (string, error) {
		if err := bus.Provision(ctx, b.JS, settings); err != nil {
			return "", err
		}
		return "streams, consumers and buckets are right", nil
	}); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "streams, consumers and buckets are right at %s\n", cfg.NATSURL)
	return nil
}

type provisionAWSCmd struct {
	DryRun   bool          `help:"Print what would be done, and do nothing."`
	Yes      bool          `short:"y" help:"Change what exists without asking."`
	JSON     bool          `help:"Print one JSON object."`
	Roles    bool          `help:"Print the IAM policy of each service and of the operator, as JSON, and do nothing."`
	Role     string        `placeholder:"NAME" help:"The same, of one role: bridge, thaw, restore, web, operator, canary or provision."`
	Template bool          `help:"Print a CloudFormation template that makes everything, with the roles, and do nothing."`
	Timeout  time.Duration `default:"30s" help:"How long to try, for each change, and ten times as long for tables."`
}

// provisioned is the report of the command.
type provisioned struct {
	Changes []awsestate.Change `json:"changes"`
	// Faults are for an operator to repair.
	Faults []estate.Fault `json:"faults"`
	Done   bool           `json:"done"`
	// Settings are the variables with which the services find what there is.
	Settings map[string]string `json:"settings"`
}

func (c *provisionAWSCmd) Run(ctx context.Context, std streams) error {
	if c.Template {
		_, err := io.WriteString(std.out, estate.Template())
		return err
	}
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	if err := cfg.Check(config.Restore); err != nil { // the names of tables and vault
		return err
	}
	sdk, err := awsclient.Load(ctx, awsclient.Options{})
	if err != nil {
		return err
	}
	account := awsestate.New(sdk)
	at, err := c.place(ctx, cfg, account, sdk.Region)
	if err != nil {
		return err
	}
	if c.Roles || c.Role != "" {
		return c.roles(std.out, at)
	}
	catalog := dynamodb.New(sdk, wiring.Tables(cfg))
	plan, err := c.plan(ctx, account, catalog, at)
	if err != nil {
		return err
	}
	if !c.JSON {
		printPlan(std.out, plan)
	}
	done := len(plan.Changes) == 0
	if !c.DryRun && !done {
		if err := c.allowed(std.err, plan); err != nil {
			return err
		}
		if err := c.carryOut(ctx, std, plan); err != nil {
			return err
		}
		done = true
	}
	return c.report(ctx, std, account, sdk, at, provisioned{Changes: plan.Changes, Faults: plan.Faults, Done: done})
}

// try calls f with n times the time limit.
func (c *provisionAWSCmd) try(ctx context.Context, n time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, n*c.Timeout)
	defer cancel()
	return f(ctx)
}

// place says where everything goes. Topics and queues that are not configured get their
// names from the estate.
func (c *provisionAWSCmd) place(ctx context.Context, cfg config.Config, account *awsestate.Account, region string) (at estate.Place, err error) {
	configured := wiring.Place(cfg)
	at = configured
	if err := c.try(ctx, 1, func(ctx context.Context) (err error) {
		at.Partition, at.Account, err = account.Identity(ctx)
		return err
	}); err != nil {
		return at, err
	}
	at.Region = region
	if configured.Account != "" && (configured.Account != at.Account || configured.Region != region) {
		return at, fmt.Errorf("the configuration names topic %s, and these credentials are of account %s in region %s: take the credentials and the region (AWS_REGION) of the topic", cfg.PremiumTopic, at.Account, region)
	}
	channels := estate.Channels()
	at.PremiumTopic, at.PremiumQueue = cmp.Or(at.PremiumTopic, channels[0].LocalName()), cmp.Or(at.PremiumQueue, channels[0].LocalName())
	at.RestoreTopic, at.RestoreQueue = cmp.Or(at.RestoreTopic, channels[1].LocalName()), cmp.Or(at.RestoreQueue, channels[1].LocalName())
	return at, nil
}

func (c *provisionAWSCmd) plan(ctx context.Context, account *awsestate.Account, catalog *dynamodb.Catalog, at estate.Place) (plan awsestate.Plan, err error) {
	err = c.try(ctx, 10, func(ctx context.Context) (err error) { plan, err = account.Plan(ctx, catalog, at); return err })
	return plan, err
}

// roles prints the policies.
func (c *provisionAWSCmd) roles(w io.Writer, at estate.Place) error {
	if c.Role != "" {
		role, ok := estate.RoleOf(c.Role)
		if !ok {
			return fmt.Errorf("--role: there is no role %q", c.Role)
		}
		_, err := fmt.Fprintln(w, estate.Document(role.Permits(at)))
		return err
	}
	all := map[string]any{}
	for _, role := range estate.Roles() {
		all[role.Name] = raw(estate.Document(role.Permits(at)))
	}
	return writeJSON(w, all)
}

// raw is text that is JSON already.
type raw string

// MarshalJSON implements [json.Marshaler].
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func printPlan(w io.Writer, plan awsestate.Plan) {
	for _, change := range plan.Changes {
		mark := "+"
		if change.Existing {
			mark = "~"
		}
		fmt.Fprintf(w, "%s %s: %s\n", mark, change.On, change.Do)
	}
	for _, f := range plan.Faults {
		fmt.Fprintf(w, "! %s\n  to fix it: %s\n", f.Problem, f.Fix)
	}
	if len(plan.Changes) == 0 {
		fmt.Fprintln(w, "all is there: there is nothing to make or to change")
	}
}

// allowed asks whether existing things may be changed.
func (c *provisionAWSCmd) allowed(w io.Writer, plan awsestate.Plan) error {
	n := 0
	for _, change := range plan.Changes {
		if change.Existing {
			n++
		}
	}
	if n == 0 || c.Yes {
		return nil
	}
	fmt.Fprintf(w, "Change %d existing things (marked ~), and make the others? Write yes: ", n)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	fmt.Fprintln(w)
	if err != nil {
		return errors.New("nobody answered, and nothing was done: give --yes, or look first with --dry-run")
	}
	return errors.New("nothing was done")
}

func (c *provisionAWSCmd) carryOut(ctx context.Context, std streams, plan awsestate.Plan) error {
	for i, change := range plan.Changes {
		n := time.Duration(1)
		if strings.HasPrefix(change.On, "table ") {
			n = 10
		}
		if err := c.try(ctx, n, change.Run); err != nil {
			return fmt.Errorf("%s: %s: %w (%d of %d changes are done; run it again to continue)", change.On, change.Do, err, i, len(plan.Changes))
		}
		if !c.JSON {
			fmt.Fprintf(std.out, "done: %s: %s\n", change.On, change.Do)
		}
	}
	return nil
}

// report prints the settings, and fails if something is left for an operator.
func (c *provisionAWSCmd) report(ctx context.Context, std streams, account *awsestate.Account, sdk aws.Config, at estate.Place, r provisioned) error {
	r.Settings = map[string]string{
		"AWS_REGION": sdk.Region, "GAS_JOB_TABLE": at.Tables.Jobs, "GAS_ACCOUNT_TABLE": at.Tables.Accounts, "GAS_PLAN_TABLE": at.Tables.Plans,
		"GAS_VAULT": at.Vault, "GAS_RESULTS_BUCKET": at.Results, "GAS_ARCHIVE_BUCKET": at.Archives,
		"GAS_PREMIUM_TOPIC_ARN": at.ARN(estate.PremiumTopic), "GAS_RESTORE_TOPIC_ARN": at.ARN(estate.RestoreTopic),
	}
	for name, queue := range map[string]string{"GAS_PREMIUM_QUEUE_URL": at.PremiumQueue, "GAS_RESTORE_QUEUE_URL": at.RestoreQueue} {
		if err := c.try(ctx, 1, func(ctx context.Context) (err error) { r.Settings[name], err = account.URL(ctx, queue); return err }); err != nil {
			return err
		}
	}
	if r.Changes == nil {
		r.Changes = []awsestate.Change{}
	}
	if r.Faults == nil {
		r.Faults = []estate.Fault{}
	}
	if c.JSON {
		if err := writeJSON(std.out, r); err != nil {
			return err
		}
	} else if r.Done {
		fmt.Fprintln(std.out, "\nThe services find it with")
		names := []string{}
		for name, value := range r.Settings {
			if value != "" || name == "GAS_VAULT" { // no vault is a setting too
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(std.out, "%s=%s\n", name, r.Settings[name])
		}
	}
	if len(r.Faults) > 0 {
		return fmt.Errorf("%d things are left for you to fix", len(r.Faults))
	}
	return nil
}
