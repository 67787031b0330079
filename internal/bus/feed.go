package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// ErrAnew means that a position belongs to an earlier stream of the same name: the stream
// was deleted and made anew, or lost its end.
var ErrAnew = errors.New("the stream was made anew")

// LastStatus returns the position of the last status change, or the stream's beginning if
// there is none. It asks the server each time.
func (b *Bus) LastStatus(ctx context.Context) (events.Position, error) {
	st, err := b.JS.Stream(ctx, events.StreamStatus)
	if err != nil {
		return events.Position{}, fault.Errorf(fault.Transient, "stream %s: %w", events.StreamStatus, err)
	}
	info := st.CachedInfo()
	return events.Position{Incarnation: events.Incarnation(info.Created), Seq: info.State.LastSeq}, nil
}

// feedGone is how long the server keeps the consumer of a feed after its reader is gone.
const feedGone = 5 * time.Minute

// LastStatusOf returns the last status change of the user's job; ok is false if the
// stream has none. It asks the stream's leader.
func (b *Bus) LastStatusOf(ctx context.Context, user events.UserID, job events.JobID) (e events.StatusChanged, ok bool, err error) {
	st, err := b.Stream(ctx, events.StreamStatus)
	if err != nil {
		return e, false, fault.New(fault.Transient, err)
	}
	m, err := st.GetLastMsgForSubject(ctx, events.StatusChanged{UserID: user, JobID: job}.Subject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fault.Errorf(fault.Transient, "last status of %q: %w", job, err)
	}
	e, err = events.Decode[events.StatusChanged](m.Data)
	return e, err == nil, err
}

// StatusesOf yields the stored status changes of one user after one position and up to
// the other. Both positions must be in the same stream. An error ends the sequence; it is
// [ErrAnew] if the stream is another one by now. It makes no consumer, and one call for
// each change: it is for the few changes that a browser missed.
func (b *Bus) StatusesOf(ctx context.Context, user events.UserID, after, upto events.Position) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		at, err := b.LastStatus(ctx)
		if err == nil && (after.Incarnation != at.Incarnation || upto.Incarnation != at.Incarnation) {
			err = fmt.Errorf("status changes of %q: %w", user, ErrAnew)
		}
		if err != nil {
			yield(Status{}, err)
			return
		}
		st, err := b.Stream(ctx, events.StreamStatus)
		if err != nil {
			yield(Status{}, fault.New(fault.Transient, err))
			return
		}
		for after.Seq < upto.Seq {
			m, err := st.GetMsg(ctx, after.Seq+1, jetstream.WithGetMsgSubject(events.StatusSubject(user)))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(Status{}, fault.Errorf(fault.Transient, "status changes of %q: %w", user, err))
				return
			}
			if after.Seq = m.Sequence; after.Seq > upto.Seq {
				return
			}
			e, err := events.Decode[events.StatusChanged](m.Data)
			if err != nil {
				continue
			}
			if !yield(Status{after, e}, nil) {
				return
			}
		}
	}
}

// Status is a status change with its position in the stream.
type Status struct {
	Position events.Position
	events.StatusChanged
}

// FollowStatuses yields the status changes of all users after the position, in the same
// way as [Bus.FollowStatus].
func (b *Bus) FollowStatuses(ctx context.Context, after events.Position) iter.Seq2[Status, error] {
	return b.follow(ctx, events.SubjectStatus, after)
}

// FollowStatus yields the status changes of one user after the position: first the stored
// ones, then each new one. It continues after an interruption. It ends when ctx ends, or
// with [ErrAnew] when the stream was made anew. It skips a message that is no status
// change.
func (b *Bus) FollowStatus(ctx context.Context, user events.UserID, after events.Position) iter.Seq2[Status, error] {
	return b.follow(ctx, events.StatusSubject(user), after)
}

func (b *Bus) follow(ctx context.Context, subject string, after events.Position) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		for ctx.Err() == nil {
			err := b.followOnce(ctx, subject, &after, yield)
			switch {
			case err == nil || ctx.Err() != nil:
				return
			case errors.Is(err, ErrAnew):
				yield(Status{}, fmt.Errorf("follow status: %w", err))
				return
			case errors.Is(err, errReset):
				b.log.Debug("status feed begins anew", "subject", subject, "after", after.String())
			default:
				b.feeding.Failed(b.log, "status feed interrupted", "subject", subject, "err", err)
				wait.For(ctx, time.Second)
			}
		}
	}
}

// feedLook is how often a silent feed checks its consumer.
const feedLook = 3 * time.Second

// errReset means that the client made another consumer in place of one that was gone.
var errReset = errors.New("another consumer")

// followOnce returns nil when the reader has enough.
func (b *Bus) followOnce(ctx context.Context, subject string, after *events.Position, yield func(Status, error) bool) error {
	at, err := b.LastStatus(ctx)
	if err != nil {
		return fmt.Errorf("follow status: %w", err)
	}
	if after.Incarnation == "" {
		after.Incarnation = at.Incarnation
	}
	if after.Incarnation != at.Incarnation || after.Seq > at.Seq {
		return ErrAnew
	}
	c, err := b.JS.OrderedConsumer(ctx, events.StreamStatus, jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{subject},
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after.Seq + 1,
		InactiveThreshold: feedGone,
		// The client would try for ever, and the context could not end it. We begin anew
		// ourselves.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return fmt.Errorf("follow status: %w", err)
	}
	messages, err := c.Messages()
	if err != nil {
		return fmt.Errorf("follow status: %w", err)
	}
	defer messages.Stop()
	// The client replaces a lost consumer with another one, even if the stream is gone
	// too. On the new stream it would wait at the position of the old one, and say
	// nothing. And the consumer that it made just now belongs to the stream that we saw
	// only if that stream still exists.
	name := c.CachedInfo().Name
	if at, err = b.LastStatus(ctx); err != nil {
		return fmt.Errorf("follow status: %w", err)
	}
	if at.Incarnation != after.Incarnation {
		return ErrAnew
	}
	for {
		next, cancel := context.WithTimeout(ctx, feedLook)
		m, err := messages.Next(jetstream.NextContext(next))
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if c.CachedInfo().Name != name {
				return errReset
			}
			continue
		case err != nil:
			return fmt.Errorf("follow status: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			continue
		}
		if meta.Consumer != name {
			return errReset
		}
		after.Seq = meta.Sequence.Stream
		e, err := events.Decode[events.StatusChanged](m.Data())
		if err != nil {
			continue
		}
		if !yield(Status{*after, e}, nil) {
			return nil
		}
	}
}
