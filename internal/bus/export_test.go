package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// Die is a worker that gets a message's delivery and dies: the error is what it would
// have given the message up for.
func Die[E events.Event](ctx context.Context, w *Worker[E], message, delivery uint64) error {
	r, err := w.start(ctx)
	if err != nil {
		return err
	}
	return r.suspect(ctx, &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: message}, NumDelivered: delivery})
}
