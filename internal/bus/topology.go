package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/wait"
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

// AckWait is how long a worker may be silent about a message before another worker gets
// it: the length of the lease. A living worker renews it three times in this time.
const AckWait = 30 * time.Second

// dedupeWindow is how long JetStream drops a repeated message id. SNS tries a webhook for
// up to an hour. An SQS message with a lost deletion comes back after its visibility
// timeout. After the window, or after a server restart, the catalog makes a repetition
// harmless.
const dedupeWindow = 2 * time.Hour

// provisionTime bounds the time for making all streams, consumers and buckets.
const provisionTime = time.Minute

const (
	gib = 1 << 30
	mib = 1 << 20
)

// Settings are the differences between deployments.
type Settings struct {
	// Replicas is the number of copies of every stream and bucket: 1, 3 or 5. Zero means
	// 1.
	Replicas int
}

func streams(s Settings) []jetstream.StreamConfig {
	work := func(name, description string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name:        name,
			Description: description,
			Subjects:    subjects,
			// The messages in the stream are the backlog. A full stream refuses messages
			// (DiscardNew), and they wait in SQS.
			Retention:  jetstream.WorkQueuePolicy,
			Discard:    jetstream.DiscardNew,
			MaxBytes:   2 * gib,
			Storage:    jetstream.FileStorage,
			Duplicates: dedupeWindow,
			// The server stores a batch with one sync to the disk; see [Bus.PublishAll].
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
	dead := keep(events.StreamDead, events.SubjectDead, "Messages that were given up, with the reason: `gas dead` reads, replays and drops them", 90*24*time.Hour, gib)
	dead.Subjects = deadSubjects()
	// Nobody can remove a record, or push it out: a full stream refuses the next act. An act has
	// about 1 KiB in two messages, so a million acts fit.
	audit := keep(events.StreamAudit, events.SubjectAudit, "What operators did, when and why: `gas audit` lists it", 0, gib)
	audit.Discard, audit.DenyDelete, audit.DenyPurge, audit.AllowAtomicPublish = jetstream.DiscardNew, true, true, false
	var all []jetstream.StreamConfig
	for _, q := range queues {
		all = append(all, work(q.stream, q.description, q.all()...))
	}
	return append(all,
		keep(events.StreamStatus, events.SubjectStatus, "The steps of each job, for the web pages", 7*24*time.Hour, gib),
		dead, audit)
}

// consumers returns the consumers of a work queue: one for the work, one for its lane, and one
// for each class of messages that are put aside.
func (q queue) consumers(s Settings) []jetstream.ConsumerConfig {
	durable := func(name, filter, description string) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{
			Durable:     name,
			Description: description,
			// Two consumers of a work queue must never get the same message.
			FilterSubject: filter,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       AckWait,
			// The worker counts attempts, because it can tell a failure from a hand-back.
			// The server would stop delivering and tell nobody.
			MaxDeliver:    -1,
			MaxAckPending: 10_000,
			Replicas:      max(s.Replicas, 1),
			Metadata:      map[string]string{"gas": "restore-pipeline"},
		}
	}
	all := []jetstream.ConsumerConfig{durable(q.consumer, q.filter, q.work)}
	if q.first != "" {
		all = append(all, durable(firstOf(q.consumer), q.first, q.work+", for what a user wants first"))
	}
	for _, c := range classes {
		all = append(all, durable(c.consumer(q.consumer), asidePrefix+c.name+".>", "messages that wait for "+c.name+" and then go back to "+q.consumer))
	}
	return all
}

// firstOf returns the name of the consumer of a queue's lane.
func firstOf(work string) string { return work + "-first" }

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
			// This is separate from the sessions: anybody can begin to sign in, and many
			// such attempts must not push out the users who are signed in.
			Bucket:      BucketLogins,
			Description: "Sign-ins that were begun and not finished",
			TTL:         15 * time.Minute,
			MaxBytes:    64 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketPace,
			Description: "The pace that all thaws share: how long to leave Expedited alone, how far apart calls are",
			TTL:         time.Hour,
			MaxBytes:    mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketPlans,
			Description: "The progress and the end of each pass over a plan",
			TTL:         30 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			Bucket:      BucketSweep,
			Description: "The process that sweeps, and what the last sweep found",
			TTL:         30 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
		{
			// An entry has about 250 bytes. There is room for the unfinished copies of 8
			// TiB in parts of 8 MiB. If an entry is missing, its part is copied again.
			Bucket:      BucketCopies,
			Description: "Checksums of uploaded parts, so that an interrupted copy can continue",
			TTL:         3 * 24 * time.Hour,
			MaxBytes:    256 * mib,
			Replicas:    max(s.Replicas, 1),
		},
	}
}

// bucketStream returns the stream of a bucket. It is the stream that CreateKeyValue makes
// (NATS ADR-8), but without AllowDirect. With AllowDirect, any replica answers a read,
// even one that lags behind: then a browser that has just signed in would be unknown at
// its next request. Without it, the leader answers.
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

// ProvisionAudit makes the stream in which each act of an operator is recorded, if it is missing.
// It leaves an update to [Provision], which is an act itself: a stream that gets more replicas
// has no leader for some seconds.
func ProvisionAudit(ctx context.Context, js jetstream.JetStream, s Settings) error {
	ctx, cancel := context.WithTimeout(ctx, provisionTime)
	defer cancel()
	for _, c := range streams(s) {
		if c.Name != events.StreamAudit {
			continue
		}
		_, err := js.Stream(ctx, c.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			_, err = js.CreateStream(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("provision stream %s: %w", c.Name, err)
		}
	}
	return nil
}

// Provision makes the streams, consumers and buckets, or updates the existing ones. It is
// idempotent.
func Provision(ctx context.Context, js jetstream.JetStream, s Settings) error {
	// Without this, each call would have five seconds. A server on a busy disk takes
	// longer to make and sync a dozen streams.
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
			if err := makeConsumer(ctx, js, q.stream, c); err != nil {
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

// errReplicasExceed is the server's code for a consumer with more replicas than its stream.
const errReplicasExceed jetstream.ErrorCode = 10126

// makeConsumer makes a consumer or updates it. A stream that was just given more replicas gets
// them within a few seconds; until then the server refuses its consumers as many.
func makeConsumer(ctx context.Context, js jetstream.JetStream, stream string, c jetstream.ConsumerConfig) error {
	for {
		_, err := js.CreateOrUpdateConsumer(ctx, stream, c)
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != errReplicasExceed {
			return err
		}
		if wait.For(ctx, 250*time.Millisecond) != nil {
			return err
		}
	}
}

// CheckStreams returns an error that names each stream that is missing, or that is less
// durable than the pipeline needs.
func CheckStreams(ctx context.Context, js jetstream.JetStream, names ...string) error {
	var errs []error
	for _, name := range names {
		st, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("stream %s is not there: run `gas provision` once", name))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read stream %s: %w", name, err))
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

// CheckConsumer returns an error if a consumer of a work queue is missing, gives messages
// up itself, or hands out the messages of another one. It checks the consumers of
// messages that are put aside too. The error says how to fix it.
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
