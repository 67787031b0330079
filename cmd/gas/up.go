package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/pkg/events"
)

type upCmd struct {
	Dir       string        `default:".gas" help:"Directory that keeps all state; a later run continues where this one stopped." type:"path"`
	EnvFile   string        `help:"Write every address, name and credential to this file as KEY=VALUE lines." placeholder:"FILE" type:"path"`
	Only      []string      `help:"Start only these parts: aws, nats, idp, services." placeholder:"PART"`
	TierDelay time.Duration `default:"5s" help:"How long an Expedited retrieval takes; Standard takes 3 to 5 times, Bulk 5 to 12 times as long. 0 is AWS's own pace of minutes and hours."`
	Store     stack.Store   `enum:"vault,s3,both" default:"both" help:"Where the archives are: in a Glacier vault, in S3's cold storage classes, or in both. It counts when the files are made, in the first run."`
	Workers   int           `default:"1" help:"How many thaws and restores run."`
	IAM       bool          `name:"iam" help:"Give each service a role of its own at the AWS stand-in, which may do what the service must and no more. The environment file then has the operator's key, and FILE.ROLE the key of each role."`
	Files     int           `default:"12" help:"How many archived files the first user has."`
	Size      string        `default:"0" help:"Size of each of them, such as 64KiB or 100MiB; 0 is a mix."`
	Verbose   bool          `short:"v" help:"Log more."`

	AWSAddr     string `name:"aws-addr" default:"127.0.0.1:4566" help:"Where the AWS stand-in listens; port 0 takes a free one, here and below."`
	NATSAddr    string `name:"nats-addr" default:"127.0.0.1:4222" help:"Where NATS listens."`
	IDPAddr     string `name:"idp-addr" default:"127.0.0.1:8082" help:"Where the sign-in provider listens."`
	WebAddr     string `name:"web-addr" default:"127.0.0.1:8080" help:"Where the web site listens."`
	WebhookAddr string `name:"webhook-addr" default:"127.0.0.1:8081" help:"Where the bridge takes SNS's calls."`
}

// upGrace is how long a stop waits for work that has begun.
const upGrace = 10 * time.Second

func (c *upCmd) Run(ctx context.Context, std streams) error {
	size, err := parseSize(c.Size)
	if err != nil {
		return err
	}
	if c.Files < 0 || c.Workers < 1 || c.TierDelay < 0 {
		return errors.New("--files, --workers and --tier-delay must not be negative, and --workers at least 1")
	}
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := daemon.Logger(std.err, "text", level)
	stopper, ctx := daemon.NewStopper(ctx)
	defer stopper.OnSignal(log, upGrace)()

	people := stack.People(c.Files, size)
	s, err := stack.Start(ctx, stack.Options{
		Dir: c.Dir, Only: c.Only, Store: c.Store, ExpeditedDelay: c.TierDelay, Workers: c.Workers, IAM: c.IAM, Log: log,
		AWSAddr: c.AWSAddr, NATSAddr: c.NATSAddr, IDPAddr: c.IDPAddr, WebAddr: c.WebAddr, WebhookAddr: c.WebhookAddr,
	}, people)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.EnvFile != "" {
		if err := s.WriteEnvFile(c.EnvFile); err != nil {
			return err
		}
	}
	c.welcome(std, s, people)
	idle := daemon.Part{Name: "up", Run: func(ctx context.Context, drain <-chan struct{}) error {
		select {
		case <-drain:
		case <-ctx.Done():
		}
		return nil
	}}
	return daemon.Run(ctx, stopper, upGrace, append(s.Parts, idle)...)
}

// welcome prints what runs and how to use it, and nothing about parts that do not run.
func (c *upCmd) welcome(std streams, s *stack.Stack, people []stack.Person) {
	w := std.out
	what := "The annotation service is up"
	if !s.Has(stack.Services) {
		what = "Without the services, this is up"
	}
	endpoint := ""
	if s.AWS != nil {
		endpoint = s.AWS.Endpoint()
	}
	fmt.Fprintf(w, "\n%s; its state is in %s.\n\n", what, c.Dir)
	for _, line := range []struct{ part, name, at string }{
		{stack.Services, "Web site", s.Config.WebBaseURL},
		{stack.IDP, "Sign-in", s.Config.OIDCIssuer},
		{stack.AWS, "AWS stand-in", endpoint},
		{stack.NATS, "NATS", s.Config.NATSURL},
	} {
		if s.Has(line.part) {
			fmt.Fprintf(w, "  %-15s %s\n", line.name, line.at)
		}
	}
	if s.Has(stack.IDP) {
		fmt.Fprintf(w, "\nSign in as\n\n")
		for _, p := range people {
			fmt.Fprintf(w, "  %-8s %-16s %s\n", p.ID, p.Name, s.Note(p))
		}
	}
	if s.Has(stack.AWS) || s.Has(stack.NATS) {
		fmt.Fprintf(w, "\nLook inside, in another shell\n\n  %s\n", c.environment(s))
	}
	if s.Has(stack.AWS) {
		fmt.Fprintf(w, "  aws glacier list-jobs --account-id - --vault-name %s\n", s.Config.Vault)
		fmt.Fprintf(w, "  aws s3 ls --recursive s3://%s\n", s.Config.Bucket)
		fmt.Fprintf(w, "  aws dynamodb scan --table-name %s --max-items 3\n", s.Config.JobTable)
		if upgrade, err := (events.UpgradeMessage{UserID: "moss"}).Encode(); err == nil {
			fmt.Fprintf(w, "  aws sns publish --topic-arn %s --message '%s'\n", s.Config.PremiumTopic, upgrade)
		}
	}
	if s.Has(stack.NATS) {
		fmt.Fprintf(w, "  nats stream ls\n  nats consumer report THAW\n  nats stream view DEAD\n")
	}
	fmt.Fprintf(w, "\nCtrl-C stops it.\n\n")
}

// environment returns the command with which aws and nats find the stack.
func (c *upCmd) environment(s *stack.Stack) string {
	if c.EnvFile != "" {
		return fmt.Sprintf("set -a; . %s; set +a", c.EnvFile)
	}
	var words []string
	for _, v := range s.Environment() {
		if strings.HasPrefix(v.Name, "AWS_") || s.Has(stack.NATS) && strings.HasPrefix(v.Name, "NATS_") {
			words = append(words, v.Name+"="+v.Value)
		}
	}
	return "export " + strings.Join(words, " ")
}
