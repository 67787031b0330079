package bus_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/pkg/events"
)

// TestAConsumerAtItsCeilingIsSeen fills a consumer with a limit of two messages in
// flight. One log line says that the limit is reached, and another that it no longer is.
func TestAConsumerAtItsCeilingIsSeen(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		ctx := t.Context()
		op := testenv.Bus(t, ns, "operator")
		c, err := op.JS.Consumer(ctx, events.StreamThaw, bus.ConsumerRequest)
		if err != nil {
			t.Fatal(err)
		}
		config := c.CachedInfo().Config
		config.MaxAckPending = 2
		if _, err := op.JS.UpdateConsumer(ctx, events.StreamThaw, config); err != nil {
			t.Fatal(err)
		}
		for _, id := range []events.JobID{"j1", "j2", "j3"} {
			if _, err := op.Publish(ctx, events.ThawRequested{ID: string(id), JobID: id, UserID: "u", ArchiveID: "a", UpgradedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		log := &testlog.Lines{}
		release := make(chan struct{})
		var mu sync.Mutex
		var fills []bus.Fill
		w := &bus.Worker[events.ThawRequested]{
			Bus: testenv.Bus(t, ns, "thaw"), Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 5, Logger: slog.New(slog.NewTextHandler(log, nil)),
			Handle: func(ctx context.Context, _ events.ThawRequested, _ bus.Emit) error {
				select {
				case <-release:
				case <-ctx.Done():
				}
				return nil
			},
			OnFill: func(f bus.Fill) { mu.Lock(); fills = append(fills, f); mu.Unlock() },
		}
		drain, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- w.Run(ctx, drain) }()
		time.Sleep(5 * time.Minute)
		reached, err := op.Ceilings(ctx)
		if err != nil || len(reached) != 1 || !strings.Contains(reached[0], "consumer "+bus.ConsumerRequest+" has 2 messages in flight, which is its limit (max_ack_pending): 1 others wait") {
			t.Errorf("%q, %v", reached, err)
		}
		if n := len(log.With("a limit of the consumer is reached")); n != 1 {
			t.Errorf("%d lines in five minutes, want one", n)
		}
		close(release)
		time.Sleep(5 * time.Minute)
		if n := len(log.With("no limit of the consumer is reached any more")); n != 1 {
			t.Errorf("%d lines that it is over, want one", n)
		}
		if reached, err := op.Ceilings(ctx); err != nil || len(reached) != 0 {
			t.Errorf("%q, %v", reached, err)
		}
		close(drain)
		if err := <-done; err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if last := fills[len(fills)-1]; last.InHand != 0 || last.MaxInHand != 2 || fills[2].InHand != 2 || fills[2].Waiting != 1 {
			t.Errorf("fills: %+v", fills)
		}
	})
}

// TestAFullStreamAndAFullAccountAreCeilings lowers the limits below the stored messages.
func TestAFullStreamAndAFullAccountAreCeilings(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		if _, err := op.Publish(t.Context(), events.ThawRequested{ID: "j", JobID: "j", UserID: "u", ArchiveID: "a", UpgradedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		st, err := op.JS.Stream(t.Context(), events.StreamThaw)
		if err != nil {
			t.Fatal(err)
		}
		config := st.CachedInfo().Config
		config.MaxMsgs = 1
		if _, err := op.JS.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		testenv.Reload(t, ns, "jetstream: enabled", "jetstream { max_consumers: 3 }")
		var reached []string
		eventually(t, "the operator", func() bool { reached, err = op.Ceilings(t.Context()); return err == nil })
		all := strings.Join(reached, "; ")
		if !strings.Contains(all, "stream THAW has 1 messages, which is its limit") || !strings.Contains(all, "consumers, of 3 that it may have") {
			t.Errorf("got %s", all)
		}
	})
}
