package bus

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Die is a worker that gets a message's delivery and dies: the error is what it would
// have given the message up for.
func Die[E events.Event](ctx context.Context, w *Worker[E], message, delivery uint64) error {
	r, err := w.start(ctx)
	if err != nil {
		return err
	}
	return r.suspect(ctx, &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: message}, NumDelivered: delivery}, Attempt{})
}

// Quicken gives the classes of what is put aside other waits, until the test is over.
func Quicken(t interface{ Cleanup(func()) }, waits ...time.Duration) {
	was := classes
	classes = slices.Clone(classes)
	for i, w := range waits {
		classes[i].wait = w
	}
	t.Cleanup(func() { classes = was })
}

// Move publishes what a worker does when it moves m to subject, and dies then, before the ack.
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

// Clock is the clock of a reader, which knows by how much it is ahead of the server's.
func Clock(ahead time.Duration) func(now, stored time.Time, wait time.Duration) time.Duration {
	c := &clock{ahead: ahead}
	return c.left
}

// Breaker is a breaker, and what it makes of the outcomes of messages.
type Breaker struct{ b breaker }

// Note tells it of an outcome, and returns the pause before the next message.
func (b *Breaker) Note(id string, o Outcome, kind fault.Kind) time.Duration {
	return b.NoteOf("", id, o, kind)
}

// NoteOf does so, of work that is the owner's.
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
