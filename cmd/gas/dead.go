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
	List   deadListCmd   `cmd:"" help:"List dead letters with their reasons."`
	Show   deadShowCmd   `cmd:"" help:"Show everything about one dead letter, and how to fix its cause."`
	Replay deadReplayCmd `cmd:"" help:"Publish the payload of dead letters again, after their cause is fixed."`
	Drop   deadDropCmd   `cmd:"" help:"Remove dead letters without a replay."`
}

// deadFilter selects letters.
type deadFilter struct {
	Stream string `help:"Only letters from this stream: PREMIUM, THAW, RESTORE, or SQS." placeholder:"NAME"`
	User   string `help:"Only letters of this user." placeholder:"ID"`
	Job    string `help:"Only letters of this job." placeholder:"ID"`
	Kind   string `help:"Only letters of this kind: invalid, corrupt, not-found, denied, unknown, undelivered, and so on." placeholder:"KIND"`
	Cause  string `help:"Only letters of this cause; show and --json print it." placeholder:"CAUSE"`
	Reason string `help:"Only letters with a reason that contains this: words, or a regular expression; upper and lower case are the same." placeholder:"PATTERN"`
	Since  moment `help:"Only letters since this time: an age like 24h or 7d, or a time like 2026-11-24 or 2026-11-24T10:00:00Z." placeholder:"TIME"`
	Until  moment `help:"Only letters until this time." placeholder:"TIME"`
	Limit  int    `help:"At most this many letters, the oldest first." placeholder:"N"`
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

// narrow reports whether the filter excludes any letter.
func (f deadFilter) narrow() bool {
	f.Limit = 0
	return f != deadFilter{}
}

// moment is a time that an operator gives.
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

// openDead connects to the dead letters as the operator. It connects to AWS only when
// that is needed, to find the user of a job or to send to an SQS queue. So letters can be
// read and replayed while AWS cannot be reached. The caller must close the bus.
func openDead(ctx context.Context, name string) (*bus.Bus, *deadletter.Store, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, nil, err
	}
	b, err := operatorBus(ctx, cfg, name)
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
