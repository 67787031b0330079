package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/sns"
	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

type checkCmd struct {
	For     []string      `help:"Check what these services need: bridge, thaw, restore, web; all if not given." placeholder:"SERVICE"`
	Timeout time.Duration `default:"5s" help:"How long to wait for each answer."`
	JSON    bool          `help:"Write JSON."`
	surveyFlags
}

func (c *checkCmd) Run(ctx context.Context, std streams) error {
	if c.Catalog {
		return c.survey(ctx, std, c.JSON)
	}
	needs := []config.Need{config.Bridge, config.Thaw, config.Restore, config.Web}
	if len(c.For) > 0 {
		needs = nil
		for _, name := range c.For {
			switch n := config.Need(name); n {
			case config.Bridge, config.Thaw, config.Restore, config.Web:
				needs = append(needs, n)
			default:
				return fmt.Errorf("--for: %q is none of bridge, thaw, restore, web", name)
			}
		}
	}
	bad := 0
	report := func(what string, err error) {
		if err == nil {
			fmt.Fprintf(std.out, "ok    %s\n", what)
			return
		}
		bad++
		fmt.Fprintf(std.out, "FAIL  %s: %s\n", what, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	cfg, err := config.Load(needs...)
	faults := flatten(err)
	for _, f := range faults {
		report("configuration", f)
	}
	if len(faults) == 0 {
		report("configuration", nil)
	}
	c.reach(ctx, cfg, needs, report)
	if bad > 0 {
		fmt.Fprintf(std.err, "gas: %d faults\n", bad)
		return errReported
	}
	return nil
}

// flatten returns the errors that were joined, each one a fault of its own.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// reach tries everything that the configuration names.
func (c *checkCmd) reach(ctx context.Context, cfg config.Config, needs []config.Need, report func(string, error)) {
	try := func(what string, f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		report(what, f(ctx))
	}
	has := func(which ...config.Need) bool {
		for _, n := range needs {
			for _, w := range which {
				if n == w {
					return true
				}
			}
		}
		return false
	}
	passwords := map[config.Need]config.Secret{
		config.Bridge: cfg.BridgePassword, config.Thaw: cfg.ThawPassword,
		config.Restore: cfg.RestorePassword, config.Web: cfg.WebPassword,
	}
	for _, n := range needs {
		try("nats as "+string(n)+" at "+cfg.NATSURL, func(ctx context.Context) error {
			return c.reachNATS(ctx, cfg, n, passwords[n])
		})
	}
	if has(config.Thaw) {
		try("nats as sweep at "+cfg.NATSURL, func(ctx context.Context) error {
			b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: "sweep", Password: cfg.SweepPassword.Reveal(), CAFile: cfg.NATSCAFile, Name: "gas-check"})
			if err != nil {
				return err
			}
			defer b.Close()
			_, err = b.Waiting(ctx, events.ThawRequested{UserID: "check", JobID: "check"})
			return errors.Join(err, b.CheckNotes(ctx, bus.BucketSweep))
		})
	}
	sdk, err := awsclient.Load(ctx, awsclient.Options{})
	report("aws configuration", err)
	if err != nil {
		return
	}
	if _, err := sdk.Credentials.Retrieve(ctx); err != nil {
		report("aws credentials", err)
		return
	}
	if has(config.Thaw, config.Restore, config.Web) {
		try("tables "+cfg.JobTable+", "+cfg.AccountTable+" and "+cfg.PlanTable, dynamodb.New(sdk, wiring.Tables(cfg)).Check)
	}
	if has(config.Thaw, config.Restore) {
		try("vault "+cfg.Vault, glacier.New(sdk, cfg.Vault, cfg.RestoreTopic).Check)
	}
	if has(config.Restore, config.Web) {
		try("bucket "+cfg.Bucket, func(ctx context.Context) error { return s3.New(sdk).Check(ctx, cfg.Bucket) })
	}
	topics := sns.New(sdk, cfg.PremiumTopic)
	if has(config.Bridge, config.Web) && cfg.PremiumTopic != "" {
		try("topic "+cfg.PremiumTopic, func(ctx context.Context) error { return topics.Check(ctx, cfg.PremiumTopic) })
	}
	if has(config.Bridge, config.Thaw) && cfg.RestoreTopic != "" {
		try("topic "+cfg.RestoreTopic, func(ctx context.Context) error { return topics.Check(ctx, cfg.RestoreTopic) })
	}
	if has(config.Bridge) {
		for _, url := range []string{cfg.PremiumQueue, cfg.RestoreQueue} {
			if url != "" {
				try("queue "+url, sqs.New(sdk, url).Check)
			}
		}
	}
	if has(config.Web) {
		try("sign-in provider "+cfg.OIDCIssuer, func(ctx context.Context) error {
			_, err := oidc.NewProvider(ctx, cfg.OIDCIssuer)
			return err
		})
	}
}

func (c *checkCmd) reachNATS(ctx context.Context, cfg config.Config, n config.Need, password config.Secret) error {
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: string(n), Password: password.Reveal(), CAFile: cfg.NATSCAFile, Name: "gas-check"})
	if err != nil {
		return err
	}
	defer b.Close()
	switch n {
	case config.Bridge:
		return errors.Join(
			bus.CheckStreams(ctx, b.JS, events.StreamPremium, events.StreamRestore, events.StreamDead),
			bus.CheckBackstop(ctx, b.JS))
	case config.Thaw:
		return errors.Join(
			b.CheckConsumer(ctx, events.StreamPremium, bus.ConsumerPlan),
			b.CheckConsumer(ctx, events.StreamThaw, bus.ConsumerRequest),
			b.CheckNotes(ctx, bus.BucketPace), b.CheckNotes(ctx, bus.BucketPlans))
	case config.Restore:
		return b.CheckConsumer(ctx, events.StreamRestore, bus.ConsumerRestore)
	default:
		_, err := b.OpenKeep(ctx, bus.BucketSessions)
		return err
	}
}
