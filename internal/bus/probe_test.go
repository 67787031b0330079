package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestALookTellsWhetherWhatIsPublishedWouldBeStored(t *testing.T) {
	for _, c := range []struct {
		name, user string
		breaks     func(ctx context.Context, operator, b *bus.Bus) error
		good       bool
	}{
		{name: "all is well", user: "bridge", good: true},
		{name: "not permitted", user: "web"},
		{name: "the connection is closed", user: "bridge", breaks: func(_ context.Context, _, b *bus.Bus) error { b.Close(); return nil }},
		{name: "a stream is gone", user: "bridge", breaks: func(ctx context.Context, operator, _ *bus.Bus) error {
			return operator.JS.DeleteStream(ctx, events.StreamRestore)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
				operator, b := testenv.Bus(t, ns, "operator"), testenv.Bus(t, ns, c.user)
				if c.breaks != nil {
					if err := c.breaks(t.Context(), operator, b); err != nil {
						t.Fatal(err)
					}
				}
				look := bus.NewProbe(b, events.SubjectPremium, events.SubjectRestore, "dead.SQS.*")
				for range 2 {
					if err := look.Err(t.Context()); (err == nil) != c.good {
						t.Errorf("got %v, want good %v", err, c.good)
					}
				}
				for _, name := range []string{events.StreamPremium, events.StreamDead} {
					s, err := operator.JS.Stream(t.Context(), name)
					if err != nil {
						t.Fatal(err)
					}
					if n := s.CachedInfo().State.LastSeq; n != 0 {
						t.Errorf("looking stored %d messages in %s", n, name)
					}
				}
			})
		})
	}
}

func TestALookThatIsStoppedSaysNothingToTheNext(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		look := bus.NewProbe(testenv.Bus(t, ns, "bridge"), events.SubjectPremium)
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		<-ctx.Done()
		if err := look.Err(ctx); err == nil {
			t.Error("an answer, with no time to ask")
		}
		if err := look.Err(t.Context()); err != nil {
			t.Errorf("got %v from a server that is well", err)
		}
	})
}
