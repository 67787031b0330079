package bus_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// growing answers like a server with streams that were just given more replicas: for a while it
// refuses their consumers as many.
type growing struct {
	jetstream.JetStream
	refusals int
}

func (g *growing) CreateOrUpdateConsumer(ctx context.Context, stream string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	if g.refusals > 0 {
		g.refusals--
		return nil, &jetstream.APIError{Code: 400, ErrorCode: 10126, Description: "consumer config replica count exceeds parent stream"}
	}
	return g.JetStream.CreateOrUpdateConsumer(ctx, stream, c)
}

func TestProvisionWaitsForStreamsThatGetMoreReplicas(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		g := &growing{op.JS, 3}
		if err := bus.Provision(t.Context(), g, bus.Settings{}); err != nil || g.refusals != 0 {
			t.Errorf("%v, and %d refusals are left", err, g.refusals)
		}
		// Another refusal is an error at once.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := bus.Provision(ctx, &growing{op.JS, 1}, bus.Settings{}); err == nil {
			t.Error("no error, although the time was over")
		}
	})
}
