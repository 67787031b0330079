package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// The durable consumers, one for each kind of work. Replicas of a service share one.
const (
	ConsumerPlan    = "thaw-plan"
	ConsumerRequest = "thaw-request"
	ConsumerRestore = "restore"
)

// The key-value buckets.
const (
	BucketAttempts = "ATTEMPTS"
	BucketSessions = "SESSIONS"
	BucketLogins   = "LOGINS"
	BucketPace     = "PACE"
	BucketPlans    = "PLANS"
	BucketSweep    = "SWEEP"
	BucketCopies   = "COPIES"
)

// AckWait is how long a worker may be silent about a message before another
// worker gets it: the lease. A living worker renews it three times as often.
const AckWait = 30 * time.Second

// dedupeWindow is how long JetStream drops a repeated message id. SNS tries a
// webhook for up to an hour; an SQS message whose deletion was lost comes back
// after its visibility timeout. Past the window, or after a server restart, the
// catalog makes a repetition harmless.
const dedupeWindow = 2 * time.Hour

// provisionTime is how long making all streams, consumers and buckets may take.
const provisionTime = time.Minute

const (
	gib = 1 << 30
	mib = 1 << 20
)

// Settings are what differs between deployments.
type Settings struct {
	// Replicas of every stream and bucket: 1, 3 or 5. Zero is 1.
	Replicas int
}

func streams(s Settings) []jetstream.StreamConfig {
	work := func(name, description string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name:        name,
			Description: description,
			Subjects:    subjects,
			// What the stream holds is the backlog. Full, it refuses (DiscardNew),
			// and the messages wait in SQS.
			Retention:  jetstream.WorkQueuePolicy,
			Discard:    jetstream.DiscardNew,
			MaxBytes:   2 * gib,
			Storage:    jetstream.FileStorage,
			Duplicates: dedupeWindow,
			// A batch is stored with one sync to the disk; see [Bus.PublishAll].
			AllowAtomicPublish: true,
			Replicas:           max(s.Replicas, 1),
			Metadata:           map[string]string{"gas": "restore-pipeline"},
		}
	}
	keep := func(name, subject, description string, age time.Duration, bytes int64) jetstream.StreamConfig {
		c := work(name, description, subject)
		c.Retention, c.Discard, c.MaxAge, c.MaxBytes = jetstream.LimitsPolicy, jetstream.DiscardOld, age, bytes
		return c
	}
	dead := keep(events.StreamDead, events.SubjectDead, "What could not be done, with the reason: `gas dead` reads, replays and drops", 90*24*time.Hour, gib)
	dead.Subjects = deadSubjects()
	var all []jetstream.StreamConfig
	for _, q := range queues {
		all = append(all, work(q.stream, q.description, append(slices.Clone(q.subjects), asidePrefix+"*."+q.filter)...))
	}
	return append(all,
		keep(events.StreamStatus, events.SubjectStatus, "What happened to each job: read by the web pages", 7*24*time.Hour, gib),
		dead)
}

// consumers returns those of a work queue: that of the work, and one for each class of
// what is put aside.
func (q queue) consumers(s Settings) []jetstream.ConsumerConfig {
	durable := func(name, filter, description string) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{
			Durable:     name,
			Description: description,
			// The consumers of a work queue must not have a message in common.
			FilterSubject: filter,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       AckWait,
			// Attempts are counted by the worker, which knows a failure from a
			// hand-back; the server would stop delivering without telling anybody.
			MaxDeliver:    -1,
			MaxAckPending: 10_000,
			Replicas:      max(s.Replicas, 1),
			Metadata:      map[string]string{"gas": "restore-pipeline"},
		}
	}
	all := []jetstream.ConsumerConfig{durable(q.consumer, q.filter, q.work)}
	for _, c := range classes {
		all = append(all, durable(c.consumer(q.consumer), asidePrefix+c.name+".>", "what waits for "+c.name+", and then goes back to "+q.consumer))
	}
	return all
}

func buckets(s Settings) []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		{
			Bucket:      BucketAttempts,
			Description: "Failed attempts of messages that are still tried, by stream, consumer and sequence",
			TTL:         14 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketSessions,
			Description: "Web sessions",
			TTL:         12 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			// Apart from the sessions: anybody can begin to sign in, and filling this
			// must not push out who has.
			Bucket:      BucketLogins,
			Description: "Sign-ins that were begun and not finished",
			TTL:         15 * time.Minute,
			MaxBytes:    64 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketPace,
			Description: "How Glacier answers, for all thaws to go by: how long to leave Expedited alone, how far apart calls are",
			TTL:         time.Hour,
			MaxBytes:    mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketPlans,
			Description: "How far the passes over plans are and how they ended",
			TTL:         30 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketSweep,
			Description: "Who sweeps, what the last sweep found, and what was done about which archive",
			TTL:         30 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			// A note is about 250 bytes: room for unfinished copies of 8 TiB in parts of
			// 8 MiB. Without a note a part is copied again.
			Bucket:      BucketCopies,
			Description: "Checksums of parts that are up, for copies that were interrupted to go on from",
			TTL:         3 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
	}
}

// bucketStream returns the stream under a bucket. It is the one that
// CreateKeyValue makes (NATS ADR-8), but for AllowDirect: with it, any replica
// answers a read, one that lags too, and a browser that was just signed in would
// not be known on its next request. Without it the leader answers.
func bucketStream(b jetstream.KeyValueConfig) jetstream.StreamConfig {
	duplicates := 2 * time.Minute
	if b.TTL > 0 {
		duplicates = min(duplicates, b.TTL)
	}
	return jetstream.StreamConfig{
		Name:              "KV_" + b.Bucket,
		Description:       b.Description,
		Subjects:          []string{"$KV." + b.Bucket + ".>"},
		MaxMsgsPerSubject: 1,
		MaxBytes:          b.MaxBytes,
		MaxAge:            b.TTL,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		Duplicates:        duplicates,
		Replicas:          b.Replicas,
		Metadata:          map[string]string{"gas": "restore-pipeline"},
	}
}

// Provision makes the streams, consumers and buckets, or brings those that are
// there up to date. It is idempotent.
func Provision(ctx context.Context, js jetstream.JetStream, s Settings) error {
	// Each call would be given five seconds: a busy disk, on which a server makes a
	// dozen streams and syncs each, takes longer.
	ctx, cancel := context.WithTimeout(ctx, provisionTime)
	defer cancel()
	var errs []error
	for _, c := range streams(s) {
		if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("provision stream %s: %w", c.Name, err))
		}
	}
	for _, q := range queues {
		for _, c := range q.consumers(s) {
			if _, err := js.CreateOrUpdateConsumer(ctx, q.stream, c); err != nil {
				errs = append(errs, fmt.Errorf("provision consumer %s of %s: %w", c.Durable, q.stream, err))
			}
		}
	}
	for _, b := range buckets(s) {
		if _, err := js.CreateOrUpdateStream(ctx, bucketStream(b)); err != nil {
			errs = append(errs, fmt.Errorf("provision bucket %s: %w", b.Bucket, err))
		}
	}
	return errors.Join(errs...)
}

// CheckStreams returns an error that names each of the streams that is missing
// or less durable than the pipeline's promises need.
func CheckStreams(ctx context.Context, js jetstream.JetStream, names ...string) error {
	var errs []error
	for _, name := range names {
		st, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("stream %s is not there: run `gas provision` once", name))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("look at stream %s: %w", name, err))
			continue
		}
		c := st.CachedInfo().Config
		var weak []string
		if c.Storage != jetstream.FileStorage {
			weak = append(weak, "it is not stored in files")
		}
		if c.PersistMode == jetstream.AsyncPersistMode {
			weak = append(weak, "it acknowledges before it has written")
		}
		if c.NoAck {
			weak = append(weak, "it does not acknowledge")
		}
		if c.Retention == jetstream.WorkQueuePolicy && c.Discard != jetstream.DiscardNew {
			weak = append(weak, "it drops old work when it is full")
		}
		if len(weak) > 0 {
			errs = append(errs, fmt.Errorf("stream %s would lose messages: %s: run `gas provision`", name, strings.Join(weak, ", ")))
		}
	}
	return errors.Join(errs...)
}

// CheckConsumer returns an error if a work queue's consumer, or one of those of what was
// put aside from it, is not there, gives messages up by itself, or hands out what is not
// its own, and says how to mend it.
func (b *Bus) CheckConsumer(ctx context.Context, stream, name string) error {
	var errs []error
	for _, q := range queues {
		if q.stream != stream || q.consumer != name {
			continue
		}
		for _, want := range q.consumers(Settings{}) {
			c, err := b.consumer(ctx, stream, want.Durable)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			got := c.CachedInfo().Config
			if n := got.MaxDeliver; n > 0 {
				errs = append(errs, fmt.Errorf("consumer %s of stream %s gives a message up after %d deliveries (MaxDeliver): run `gas provision`", want.Durable, stream, n))
			}
			if got.FilterSubject != want.FilterSubject {
				errs = append(errs, fmt.Errorf("consumer %s of stream %s hands out %q, not %q: run `gas provision`", want.Durable, stream, got.FilterSubject, want.FilterSubject))
			}
		}
	}
	return errors.Join(errs...)
}

func (b *Bus) consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	c, err := b.JS.Consumer(ctx, stream, name)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of stream %s: %w: if it is not there, run `gas provision` once", name, stream, err)
	}
	return c, nil
}
