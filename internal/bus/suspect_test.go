package bus_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// deliver takes a message n times and gives it back, without a reason.
func deliver(t *testing.T, ns *server.Server, n int) {
	t.Helper()
	c, err := testenv.Bus(t, ns, "thaw").JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		m, err := c.Next()
		if err == nil {
			err = m.Nak()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// room sets the size of a bucket's stream in bytes.
func room(t *testing.T, ns *server.Server, bucket string, bytes int64) {
	t.Helper()
	js := testenv.Bus(t, ns, "operator").JS
	st, err := js.Stream(t.Context(), "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = bytes
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsDeliveredOftenWhileTheServerIsFullIsHandledInTheEnd(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		bustest.Publish(t, ns, bustest.Task("j1"))
		deliver(t, ns, 60)
		room(t, ns, bus.BucketAttempts, 1)
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return nil })
		r.Expect(t, bus.Acked)
		if all := letters(t, ns); len(all) > 0 {
			t.Errorf("%d dead letters, the first because %q", len(all), all[0].Reason)
		}
	})
}

func TestAMessageThatKillsItsWorkersIsGivenUp(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		w := &bus.Worker[events.ThawRequested]{Bus: testenv.Bus(t, ns, "thaw"), Stream: events.StreamThaw, Consumer: bus.ConsumerRequest}
		for delivery := range uint64(25) {
			if err := bus.Die(t.Context(), w, 1, 25+delivery); err != nil {
				t.Fatalf("delivery %d: %v", 25+delivery, err)
			}
		}
		if err := bus.Die(t.Context(), w, 1, 50); !fault.Is(err, fault.Invalid) {
			t.Errorf("after 25 deaths: %v, want a fault of kind invalid", err)
		}
		if err := bus.Die(t.Context(), w, 2, 50); err != nil {
			t.Errorf("another message: %v", err)
		}
	})
}
