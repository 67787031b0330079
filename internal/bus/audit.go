package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is something in JetStream that differs from what [Provision] makes.
type Difference struct {
	// What names the thing: "stream PREMIUM", "bucket PACE", "consumer thaw-plan of
	// PREMIUM".
	What, Problem string
	// Replicas is true if the difference is only the number of servers that keep the
	// thing.
	Replicas bool
}

// Audit compares all streams, consumers and buckets with what [Provision] makes with the
// settings. It needs the operator's permissions: no service may read all of them.
func (b *Bus) Audit(ctx context.Context, s Settings) []Difference {
	s.Replicas = max(s.Replicas, 1)
	if b.Conn.ConnectedClusterName() == "" && s.Replicas > 1 {
		return []Difference{{"the server", fmt.Sprintf("is alone, and cannot keep %d copies", s.Replicas), true}}
	}
	var all []Difference
	for _, want := range streams(s) {
		all = append(all, b.auditStream(ctx, "stream "+want.Name, want)...)
	}
	for _, q := range queues {
		for _, want := range q.consumers(s) {
			all = append(all, b.auditConsumer(ctx, q.stream, want)...)
		}
	}
	for _, bucket := range buckets(s) {
		all = append(all, b.auditStream(ctx, "bucket "+bucket.Bucket, bucketStream(bucket))...)
	}
	return all
}

// field is a setting of a stream or consumer that must not change.
type field[C any] struct {
	name string
	of   func(C) any
}

// unlimited returns n as the server stores it: the server writes -1 where no limit was
// set.
func unlimited[N int | int32 | int64](n N) N {
	if n <= 0 {
		return -1
	}
	return n
}

func streamFields() []field[jetstream.StreamConfig] {
	type c = jetstream.StreamConfig
	return []field[c]{
		{"subjects", func(s c) any { return strings.Join(slices.Sorted(slices.Values(s.Subjects)), " ") }},
		{"retention", func(s c) any { return s.Retention }},
		{"discard", func(s c) any { return s.Discard }},
		{"discard_new_per_subject", func(s c) any { return s.DiscardNewPerSubject }},
		{"storage", func(s c) any { return s.Storage }},
		{"persist_mode", func(s c) any { return s.PersistMode }},
		{"no_ack", func(s c) any { return s.NoAck }},
		{"max_bytes", func(s c) any { return unlimited(s.MaxBytes) }},
		{"max_age", func(s c) any { return s.MaxAge }},
		{"max_msgs", func(s c) any { return unlimited(s.MaxMsgs) }},
		{"max_msgs_per_subject", func(s c) any { return unlimited(s.MaxMsgsPerSubject) }},
		{"max_msg_size", func(s c) any { return unlimited(s.MaxMsgSize) }},
		{"max_consumers", func(s c) any { return unlimited(s.MaxConsumers) }},
		{"duplicate_window", func(s c) any { return s.Duplicates }},
		{"allow_atomic", func(s c) any { return s.AllowAtomicPublish }},
		{"allow_rollup_hdrs", func(s c) any { return s.AllowRollup }},
		{"allow_direct", func(s c) any { return s.AllowDirect }},
		{"deny_delete", func(s c) any { return s.DenyDelete }},
		{"deny_purge", func(s c) any { return s.DenyPurge }},
		{"sealed", func(s c) any { return s.Sealed }},
		{"mirror", func(s c) any { return s.Mirror != nil }},
		{"sources", func(s c) any { return len(s.Sources) }},
		{"subject_transform", func(s c) any { return s.SubjectTransform != nil }},
	}
}

func consumerFields() []field[jetstream.ConsumerConfig] {
	type c = jetstream.ConsumerConfig
	return []field[c]{
		{"filter_subject", func(s c) any { return s.FilterSubject + strings.Join(s.FilterSubjects, " ") }},
		{"ack_policy", func(s c) any { return s.AckPolicy }},
		{"ack_wait", func(s c) any { return s.AckWait }},
		{"backoff", func(s c) any { return len(s.BackOff) }},
		{"max_deliver", func(s c) any { return s.MaxDeliver }},
		{"max_ack_pending", func(s c) any { return s.MaxAckPending }},
		{"deliver_policy", func(s c) any { return s.DeliverPolicy }},
		{"replay_policy", func(s c) any { return s.ReplayPolicy }},
		{"headers_only", func(s c) any { return s.HeadersOnly }},
		{"inactive_threshold", func(s c) any { return s.InactiveThreshold }},
		{"rate_limit_bps", func(s c) any { return s.RateLimit }},
		{"mem_storage", func(s c) any { return s.MemoryStorage }},
		{"deliver_subject", func(s c) any { return s.DeliverSubject }},
	}
}

// differ returns one difference that names all fields with other values.
func differ[C any](what string, fields []field[C], want, got C) []Difference {
	var words []string
	for _, f := range fields {
		if w, g := f.of(want), f.of(got); w != g {
			words = append(words, fmt.Sprintf("%s is %v, not %v", f.name, g, w))
		}
	}
	if len(words) == 0 {
		return nil
	}
	return []Difference{{What: what, Problem: strings.Join(words, ", ")}}
}

func (b *Bus) auditStream(ctx context.Context, what string, want jetstream.StreamConfig) []Difference {
	st, err := b.JS.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return []Difference{{What: what, Problem: "is not there"}}
	}
	if err != nil {
		return []Difference{{What: what, Problem: "cannot be read: " + err.Error()}}
	}
	info := st.CachedInfo()
	all := differ(what, streamFields(), want, info.Config)
	if got := info.Config.Replicas; got != want.Replicas {
		all = append(all, Difference{what, fmt.Sprintf("is kept by %d servers, not %d", got, want.Replicas), true})
	}
	if c := info.Cluster; c != nil && want.Replicas > 1 {
		if c.Leader == "" {
			all = append(all, Difference{What: what, Problem: "has no leader"})
		}
		for _, peer := range c.Replicas {
			if peer.Offline || !peer.Current {
				all = append(all, Difference{what, fmt.Sprintf("is not up to date on server %s", peer.Name), true})
			}
		}
	}
	return all
}

func (b *Bus) auditConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) []Difference {
	what := fmt.Sprintf("consumer %s of %s", want.Durable, stream)
	c, err := b.JS.Consumer(ctx, stream, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return []Difference{{What: what, Problem: "is not there"}}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil // it is said of the stream
	case err != nil:
		return []Difference{{What: what, Problem: "cannot be read: " + err.Error()}}
	}
	info := c.CachedInfo()
	all := differ(what, consumerFields(), want, info.Config)
	if info.Paused {
		all = append(all, Difference{What: what, Problem: fmt.Sprintf("is paused for %s", info.PauseRemaining.Round(1e9))})
	}
	// Zero means the stream's own number.
	if got := info.Config.Replicas; got != 0 && got != want.Replicas {
		all = append(all, Difference{what, fmt.Sprintf("is kept by %d servers, not %d", got, want.Replicas), true})
	}
	return all
}
