package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/wiring"
)

type provisionCmd struct {
	AWS     bool          `name:"aws" help:"Make what is missing in AWS: tables, indexes, vault, bucket, topics, queues, subscriptions and policies. It deletes nothing, and changes nothing that is right."`
	Timeout time.Duration `default:"30s" help:"How long to try; with --aws for each part, and ten times as long for tables."`
}

func (c *provisionCmd) Run(ctx context.Context, std streams) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	if c.AWS {
		if err := c.provisionAWS(ctx, cfg, std.out); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: "operator", PasswordFrom: cfg.OperatorPassword.Read, CAFile: cfg.NATSCAFile, Name: "gas-provision"})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := bus.Provision(ctx, b.JS, bus.Settings{Replicas: cfg.Replicas}); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "streams, consumers and buckets are right at %s\n", cfg.NATSURL)
	return nil
}

// provisionAWS makes what is missing, and prints the settings for it.
func (c *provisionCmd) provisionAWS(ctx context.Context, cfg config.Config, out io.Writer) error {
	if err := cfg.Check(config.Restore); err != nil { // the names of tables and vault
		return err
	}
	sdk, err := awsclient.Load(ctx, awsclient.Options{})
	if err != nil {
		return err
	}
	try := func(n time.Duration, f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, n*c.Timeout)
		defer cancel()
		return f(ctx)
	}
	account := awsestate.New(sdk)
	if err := try(10, dynamodb.New(sdk, wiring.Tables(cfg)).CreateTables); err != nil {
		return err
	}
	fmt.Fprintf(out, "tables %s, %s and %s are there\n", cfg.JobTable, cfg.AccountTable, cfg.PlanTable)
	if cfg.Vault != "" { // else all archives are in an S3 class
		if err := try(1, func(ctx context.Context) error { return account.MakeVault(ctx, cfg.Vault) }); err != nil {
			return err
		}
		fmt.Fprintf(out, "vault %s is there\n", cfg.Vault)
	}
	if err := try(1, func(ctx context.Context) error { return account.MakeBucket(ctx, cfg.Bucket) }); err != nil {
		return err
	}
	fmt.Fprintf(out, "bucket %s is there\n", cfg.Bucket)
	set := map[string][2]string{estate.Premium: {cfg.PremiumTopic, cfg.PremiumQueue}, estate.Restore: {cfg.RestoreTopic, cfg.RestoreQueue}}
	for _, channel := range estate.Channels() {
		err := try(1, func(ctx context.Context) error {
			was := set[channel.Name]
			topic, queue := channel.LocalName(), channel.LocalName()
			if was[0] != "" {
				if parts := strings.Split(was[0], ":"); len(parts) < 6 || parts[3] != sdk.Region {
					return fmt.Errorf("provision %s: topic %s is not in region %s (AWS_REGION)", channel.Name, was[0], sdk.Region)
				}
				topic = was[0][strings.LastIndexByte(was[0], ':')+1:]
			}
			if was[1] != "" {
				queue = path.Base(was[1])
			}
			arn, url, err := account.MakeChannel(ctx, channel, topic, queue)
			if err != nil {
				return err
			}
			if cmp.Or(was[0], arn) != arn || cmp.Or(was[1], url) != url {
				return fmt.Errorf("provision %s: %s and %s are set, and these credentials make %s and %s: take the credentials and the region of the account", channel.Name, was[0], was[1], arn, url)
			}
			name := strings.ToUpper(channel.Name)
			fmt.Fprintf(out, "GAS_%s_TOPIC_ARN=%s\nGAS_%s_QUEUE_URL=%s\n", name, arn, name, url)
			if channel.Name != estate.Restore || cfg.ArchiveBucket == "" {
				return nil
			}
			if err := account.MakeArchiveBucket(ctx, cfg.ArchiveBucket, arn); err != nil {
				return err
			}
			fmt.Fprintf(out, "bucket %s is there, keeps versions, and tells the restore topic about temporary copies\n", cfg.ArchiveBucket)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
