package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// QueueMessage is a message that goes back into an SQS queue.
type QueueMessage struct {
	Body string
	// ReplayOf is the value of the attribute [events.HeaderReplayOf].
	ReplayOf string
}

// Replayed is the result of a replay.
type Replayed struct {
	// Subject is the subject of the new message, or the queue's name.
	Subject string `json:"subject"`
	// OldID is the dead letter's id. NewID is the new message's, empty for a queue,
	// because SQS gives an id of its own.
	OldID string `json:"old_id"`
	NewID string `json:"new_id,omitempty"`
	// Again is true if an earlier replay of this letter was cut short after it had
	// published the message.
	Again bool `json:"again,omitempty"`
}

// Replayable returns an error that says why the letter cannot be replayed, nil if it can.
func (d *Store) Replayable(l Letter) error {
	switch {
	case l.Kind == events.DeadKindUnreadable:
		return fault.Errorf(fault.Invalid, "dead letter %d cannot be replayed: it cannot be read", l.Seq)
	case l.Where == Gone:
		return fault.Errorf(fault.Invalid, "dead letter %d needs no replay: its message is no longer in %s, so it was done, replayed or dropped since", l.Seq, l.Stream)
	case l.Stream == events.SourceSQS:
		if d.Queues[l.Consumer] == nil {
			return fault.Errorf(fault.Invalid, "dead letter %d cannot be replayed: it came from the SQS queue %q, which is not one of this deployment's", l.Seq, l.Consumer)
		}
		return nil
	}
	stream := bus.StreamOf(l.SourceSubject)
	if stream == "" || stream != l.Stream {
		return fault.Errorf(fault.Invalid, "dead letter %d cannot be replayed: no work queue of that name takes its subject: %q of %s", l.Seq, l.SourceSubject, l.Stream)
	}
	var err error
	for _, t := range events.Types() {
		if t.Stream == stream {
			_, err = t.Decode(l.Payload)
		}
	}
	if err != nil && !errors.Is(err, events.ErrNewerVersion) {
		return fault.Errorf(fault.Invalid, "dead letter %d cannot be replayed: its payload is no event: %w", l.Seq, err)
	}
	return nil
}

// Replay publishes the letter's payload again, under a new id that is made from the
// letter's. After JetStream has stored it, Replay removes the letter, and the original
// message if its stream still has it. A replay that was cut short can be repeated: the
// stream stores the message once within its window for duplicates, and later a repetition
// does no harm. An error of kind Invalid says why the letter cannot be replayed.
func (d *Store) Replay(ctx context.Context, l Letter) (Replayed, error) {
	r := Replayed{OldID: l.MessageID()}
	if err := d.Replayable(l); err != nil {
		return r, err
	}
	var err error
	if l.Stream == events.SourceSQS {
		r.Subject = l.Consumer
		err = d.requeue(ctx, l)
	} else {
		r.Subject, r.NewID = l.SourceSubject, l.ReplayID()
		r.Again, err = d.republish(ctx, l)
	}
	if err != nil {
		return r, fmt.Errorf("replay dead letter %d: %w", l.Seq, err)
	}
	if err := d.remove(ctx, l); err != nil {
		return r, fmt.Errorf("dead letter %d was published again, and is still there: %w", l.Seq, err)
	}
	return r, nil
}

func (d *Store) requeue(ctx context.Context, l Letter) error {
	deaths, err := events.EncodeDeaths(append(l.ReplayOf, l.Death(l.Seq)))
	if err != nil {
		return fault.New(fault.Invalid, err)
	}
	return d.Queues[l.Consumer](ctx, QueueMessage{Body: string(l.Payload), ReplayOf: deaths})
}

func (d *Store) republish(ctx context.Context, l Letter) (bool, error) {
	m, err := l.DeadLetter.Replay(l.Seq)
	if err != nil {
		return false, fault.New(fault.Invalid, err)
	}
	ack, err := d.bus.PublishMessage(ctx, &nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data})
	return ack.Duplicate, err
}

// Drop removes the letter, and the original message if its stream still has it. If the
// work is overdue by the catalog, the sweep finds it again.
func (d *Store) Drop(ctx context.Context, l Letter) error {
	if err := d.remove(ctx, l); err != nil {
		return fmt.Errorf("drop dead letter %d: %w", l.Seq, err)
	}
	return nil
}

func (d *Store) remove(ctx context.Context, l Letter) error {
	if l.Where == InStream {
		if err := d.delete(ctx, l.Stream, l.SourceSeq, l.sourceAt); err != nil {
			return err
		}
	}
	if l.SourceSeq != 0 {
		// A record that stays belongs to no message, and expires in the bucket.
		if attempts, err := d.bus.Attempts(ctx, l.Stream, l.Consumer); err == nil {
			_ = attempts.Forget(ctx, l.SourceSeq)
		}
	}
	return d.delete(ctx, events.StreamDead, l.Seq, l.StoredAt)
}

// delete deletes the message that was stored at a time, or at any time if that is zero.
// It is no error if the message is gone. In a stream that was made anew, the sequence
// belongs to another message, which stays.
func (d *Store) delete(ctx context.Context, stream string, seq uint64, at time.Time) error {
	gone := func(st jetstream.Stream) bool {
		m, err := st.GetMsg(ctx, seq)
		return errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && !at.IsZero() && !m.Time.Equal(at)
	}
	st, err := d.bus.Stream(ctx, stream)
	if err == nil {
		if !at.IsZero() && gone(st) {
			return nil
		}
		err = st.DeleteMsg(ctx, seq)
	}
	if err == nil || st != nil && gone(st) {
		return nil
	}
	return fmt.Errorf("delete message %d of stream %s: %w", seq, stream, err)
}
