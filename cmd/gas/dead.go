package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

type deadCmd struct {
	List   deadListCmd   `cmd:"" help:"List dead letters: what could not be done, and why."`
	Show   deadShowCmd   `cmd:"" help:"Show all that is known of one dead letter, and what can be done about it."`
	Replay deadReplayCmd `cmd:"" help:"Publish the payload of dead letters again, once their cause is mended."`
	Drop   deadDropCmd   `cmd:"" help:"Remove dead letters without doing anything about them."`
}

// deadFilter says which letters a command is about.
type deadFilter struct {
	Stream string `help:"Only what came from this stream: PREMIUM, THAW, RESTORE, or SQS." placeholder:"NAME"`
	User   string `help:"Only what belongs to this user." placeholder:"ID"`
	Job    string `help:"Only what is about this job." placeholder:"ID"`
	Kind   string `help:"Only of this kind: invalid, corrupt, not-found, denied, unknown, undelivered, and so on." placeholder:"KIND"`
	Cause  string `help:"Only of this cause, as show and --json tell it." placeholder:"CAUSE"`
	Reason string `help:"Only with a reason that has this in it: words, or a regular expression; small and large letters are the same." placeholder:"PATTERN"`
	Since  moment `help:"Only what was given up since: an age like 24h or 7d, or a time like 2026-11-24 or 2026-11-24T10:00:00Z." placeholder:"TIME"`
	Until  moment `help:"Only what was given up until then." placeholder:"TIME"`
	Limit  int    `help:"At most so many, the oldest first." placeholder:"N"`
}

func (f deadFilter) filter() (deadletter.Filter, error) {
	b := deadletter.Filter{
		Stream: strings.ToUpper(f.Stream), User: events.UserID(f.User), Job: events.JobID(f.Job), Kind: events.DeadKind(strings.ToLower(f.Kind)), Cause: f.Cause,
		Since: f.Since.Time, Until: f.Until.Time, Limit: f.Limit,
	}
	if f.Limit < 0 {
		return b, fmt.Errorf("--limit is %d", f.Limit)
	}
	if b.Kind != "" && !b.Kind.Known() {
		return b, fmt.Errorf("--kind: there is no kind %q", f.Kind)
	}
	if !b.Until.IsZero() && b.Until.Before(b.Since) {
		return b, errors.New("--until is before --since")
	}
	if f.Reason != "" {
		re, err := regexp.Compile("(?i)" + f.Reason)
		if err != nil {
			return b, fmt.Errorf("--reason: %w", err)
		}
		b.Reason = re
	}
	return b, nil
}

// narrow reports whether the filter leaves anything out.
func (f deadFilter) narrow() bool {
	f.Limit = 0
	return f != deadFilter{}
}

// moment is a time as an operator gives it.
type moment struct{ time.Time }

// UnmarshalText reads an age before now, a date or a time.
func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			m.Time = time.Now().AddDate(0, 0, -int(n))
			return nil
		}
	}
	if age, err := time.ParseDuration(s); err == nil && age >= 0 {
		m.Time = time.Now().Add(-age)
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			m.Time = t
			return nil
		}
	}
	return fmt.Errorf("%q is neither an age like 24h or 7d nor a time like 2026-11-24 or 2026-11-24T10:00:00Z", s)
}

// openDead connects to the dead letters as the operator. What needs AWS (whose a job
// is, an SQS queue) connects to it when it is needed: letters can be read and replayed
// while AWS cannot be reached. Close the bus.
func openDead(ctx context.Context, name string) (*bus.Bus, *deadletter.Store, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, nil, err
	}
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: "operator", PasswordFrom: cfg.OperatorPassword.Read, CAFile: cfg.NATSCAFile, Name: name})
	if err != nil {
		return nil, nil, err
	}
	sdk := sync.OnceValues(func() (aws.Config, error) { return awsclient.Load(ctx, awsclient.Options{}) })
	dead := deadletter.Open(b)
	dead.UserOf = func(ctx context.Context, job events.JobID) (events.UserID, error) {
		c, err := sdk()
		if err != nil {
			return "", err
		}
		j, err := dynamodb.New(c, wiring.Tables(cfg)).Job(ctx, job)
		return j.UserID, err
	}
	dead.Queues = map[string]func(context.Context, deadletter.QueueMessage) error{}
	for _, url := range []string{cfg.PremiumQueue, cfg.RestoreQueue} {
		if url == "" {
			continue
		}
		dead.Queues[path.Base(url)] = func(ctx context.Context, m deadletter.QueueMessage) error {
			c, err := sdk()
			if err != nil {
				return err
			}
			_, err = sqs.NewFromConfig(c).SendMessage(ctx, &sqs.SendMessageInput{
				QueueUrl: &url, MessageBody: &m.Body,
				MessageAttributes: map[string]types.MessageAttributeValue{
					events.HeaderReplayOf: {DataType: aws.String("String"), StringValue: &m.ReplayOf},
				},
			})
			return awsfault.Wrap(err, "send to queue %s", path.Base(url))
		}
	}
	return b, dead, nil
}
