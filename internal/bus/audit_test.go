package bus_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestTheAuditFindsNothingAfterProvisionAndEachChangeByItsName(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "operator")
		ctx := t.Context()
		if got := b.Audit(ctx, bus.Settings{}); len(got) > 0 {
			t.Fatalf("after provision it finds %+v", got)
		}
		stream := func(name string, change func(*jetstream.StreamConfig)) func() error {
			return func() error {
				st, err := b.JS.Stream(ctx, name)
				if err != nil {
					return err
				}
				c := st.CachedInfo().Config
				change(&c)
				_, err = b.JS.UpdateStream(ctx, c)
				return err
			}
		}
		anew := func(name string, change func(*jetstream.StreamConfig)) func() error {
			return func() error {
				st, err := b.JS.Stream(ctx, name)
				if err != nil {
					return err
				}
				c := st.CachedInfo().Config
				if err := b.JS.DeleteStream(ctx, name); err != nil {
					return err
				}
				change(&c)
				_, err = b.JS.CreateStream(ctx, c)
				return err
			}
		}
		consumer := func(change func(*jetstream.ConsumerConfig)) func() error {
			return func() error {
				c, err := b.JS.Consumer(ctx, "THAW", bus.ConsumerRequest)
				if err != nil {
					return err
				}
				conf := c.CachedInfo().Config
				change(&conf)
				_, err = b.JS.UpdateConsumer(ctx, "THAW", conf)
				return err
			}
		}
		for _, change := range []struct {
			what, field string
			do          func() error
		}{
			{"stream PREMIUM", "max_bytes", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 })},
			{"stream PREMIUM", "max_msgs", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 })},
			{"stream PREMIUM", "max_msgs_per_subject", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 })},
			{"stream PREMIUM", "max_msg_size", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 })},
			{"stream PREMIUM", "duplicate_window", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute })},
			{"stream PREMIUM", "discard", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld })},
			{"stream PREMIUM", "no_ack", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false })},
			{"stream PREMIUM", "allow_atomic", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })},
			{"stream PREMIUM", "max_age", stream("PREMIUM", func(c *jetstream.StreamConfig) { c.MaxAge = 3 * time.Hour })},
			{"stream THAW", "subjects", stream("THAW", func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more.*") })},
			{"stream THAW", "subject_transform", stream("THAW", func(c *jetstream.StreamConfig) {
				c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "thaw.>", Destination: "thawed.>"}
			})},
			{"stream RESTORE", "storage", anew("RESTORE", func(c *jetstream.StreamConfig) { c.Storage, c.MaxBytes = jetstream.MemoryStorage, 1<<20 })},
			{"stream RESTORE", "retention", anew("RESTORE", func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy })},
			{"stream RESTORE", "deny_purge", anew("RESTORE", func(c *jetstream.StreamConfig) { c.DenyPurge = true })},
			{"stream DEAD", "is not there", func() error { return b.JS.DeleteStream(ctx, "DEAD") }},
			{"bucket SESSIONS", "allow_direct", stream("KV_SESSIONS", func(c *jetstream.StreamConfig) { c.AllowDirect = true })},
			{"bucket PACE", "is not there", func() error { return b.JS.DeleteStream(ctx, "KV_PACE") }},
			{"consumer thaw-request of THAW", "max_deliver", consumer(func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 })},
			{"consumer thaw-request of THAW", "max_ack_pending", consumer(func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1 })},
			{"consumer thaw-request of THAW", "ack_wait", consumer(func(c *jetstream.ConsumerConfig) { c.AckWait = time.Second })},
			{"consumer thaw-request of THAW", "headers_only", consumer(func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true })},
			{"consumer thaw-request of THAW", "is paused", func() error {
				_, err := b.JS.PauseConsumer(ctx, "THAW", bus.ConsumerRequest, time.Now().Add(time.Hour))
				return err
			}},
			{"consumer thaw-plan of PREMIUM", "is not there", func() error { return b.JS.DeleteConsumer(ctx, "PREMIUM", bus.ConsumerPlan) }},
			{"consumer thaw-request-aside-15s of THAW", "is not there", func() error { return b.JS.DeleteConsumer(ctx, "THAW", bus.ConsumerRequest+"-aside-15s") }},
		} {
			if err := change.do(); err != nil {
				t.Errorf("%s, %s: %v", change.what, change.field, err)
				continue
			}
			got := b.Audit(ctx, bus.Settings{})
			if !slices.ContainsFunc(got, func(d bus.Difference) bool { return d.What == change.what && strings.Contains(d.Problem, change.field) }) {
				t.Errorf("%s of %s: the audit finds %+v", change.field, change.what, got)
			}
			if err := anewAll(t, b); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.Audit(ctx, bus.Settings{Replicas: 3}); len(got) != 1 || !got[0].Replicas {
			t.Errorf("three replicas of one server: %+v", got)
		}
	})
}

// anewAll deletes all streams that an operator may delete and makes them anew, because some
// changes cannot be undone.
func anewAll(t *testing.T, b *bus.Bus) error {
	for info := range b.JS.StreamNames(t.Context()).Name() {
		if info == events.StreamAudit {
			continue
		}
		if err := b.JS.DeleteStream(t.Context(), info); err != nil {
			return err
		}
	}
	return bus.Provision(t.Context(), b.JS, bus.Settings{})
}
