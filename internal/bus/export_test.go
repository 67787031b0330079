package bus

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Die lets a worker get a delivery of a message and die. It returns the error for which the
// worker would have given the message up.
func Die[E events.Event](ctx context.Context, w *Worker[E], message, delivery uint64) error {
	r, err := w.start(ctx)
	if err != nil {
		return err
	}
	return r.suspect(ctx, &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: message}, NumDelivered: delivery}, Attempt{})
}

// Quicken gives the classes of messages aside other waits, until the end of the test.
func Quicken(t interface{ Cleanup(func()) }, waits ...time.Duration) {
	was := classes
	classes = slices.Clone(classes)
	for i, w := range waits {
		classes[i].wait = w
	}
	t.Cleanup(func() { classes = was })
}

// Move does the first half of a worker's move of m to subject: it publishes the message, and
// dies before the ack.
func Move(ctx context.Context, b *Bus, m jetstream.Msg, subject string) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	to, err := move(m, meta, subject, noted(m.Headers()))
	if err != nil {
		return err
	}
	_, err = b.JS.PublishMsg(ctx, to)
	return err
}

// Clock returns the function with which a reader calculates how long a message still waits.
// The reader knows that its clock is ahead of the server's.
func Clock(ahead time.Duration) func(now, stored time.Time, wait time.Duration) time.Duration {
	c := &clock{ahead: ahead}
	return c.left
}

// Breaker is a breaker that a test tells the outcomes of messages.
type Breaker struct{ b breaker }

// Note records an outcome, and returns the pause before the next message.
func (b *Breaker) Note(id string, o Outcome, kind fault.Kind) time.Duration {
	return b.NoteOf("", id, o, kind)
}

// NoteOf is Note for the work of an owner.
func (b *Breaker) NoteOf(owner, id string, o Outcome, kind fault.Kind) time.Duration {
	var err error
	if o != Acked {
		err = fault.Of(owner, fault.Errorf(kind, "it failed"))
	}
	b.b.note(id, b.b.wait() > 0, o, err)
	return b.b.wait()
}

// Delay returns how long a message waits after n failures or waits.
func Delay(kind fault.Kind, n int, atLeast time.Duration) time.Duration {
	return policy[kind].delay(n, atLeast)
}
