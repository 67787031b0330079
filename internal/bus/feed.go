package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// LastStatus returns the sequence of the last status change, 0 if there is none.
func (b *Bus) LastStatus(ctx context.Context) (uint64, error) {
	st, err := b.JS.Stream(ctx, events.StreamStatus)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", events.StreamStatus, err)
	}
	return st.CachedInfo().State.LastSeq, nil
}

// feedGone is how long the server keeps a feed's consumer whose reader is gone.
const feedGone = 5 * time.Minute

// LastStatusOf returns the last status change of the user's job; ok is false if
// none is kept. It asks the stream's leader.
func (b *Bus) LastStatusOf(ctx context.Context, user events.UserID, job events.JobID) (e events.StatusChanged, ok bool, err error) {
	st, err := b.stream(ctx, events.StreamStatus)
	if err != nil {
		return e, false, err
	}
	m, err := st.GetLastMsgForSubject(ctx, events.StatusChanged{UserID: user, JobID: job}.Subject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("last status of %q: %w", job, err)
	}
	e, err = events.Decode[events.StatusChanged](m.Data)
	return e, err == nil, err
}

// StatusesOf yields the kept status changes of one user after the sequence and
// up to the other. An error ends it. It makes no consumer, and one call for each
// change: it is for the few that a browser missed.
func (b *Bus) StatusesOf(ctx context.Context, user events.UserID, after, upto uint64) iter.Seq2[SeqStatus, error] {
	return func(yield func(SeqStatus, error) bool) {
		st, err := b.stream(ctx, events.StreamStatus)
		if err != nil {
			yield(SeqStatus{}, err)
			return
		}
		for after < upto {
			m, err := st.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(events.StatusSubject(user)))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(SeqStatus{}, fmt.Errorf("status changes of %q: %w", user, err))
				return
			}
			if after = m.Sequence; after > upto {
				return
			}
			e, err := events.Decode[events.StatusChanged](m.Data)
			if err != nil {
				continue
			}
			if !yield(SeqStatus{after, e}, nil) {
				return
			}
		}
	}
}

// SeqStatus is a status change with its sequence in the stream.
type SeqStatus struct {
	Seq uint64
	events.StatusChanged
}

// FollowStatuses yields the status changes of all users that come after the
// sequence, as [Bus.FollowStatus] does for one.
func (b *Bus) FollowStatuses(ctx context.Context, after uint64) iter.Seq2[uint64, events.StatusChanged] {
	return b.follow(ctx, events.SubjectStatus, after)
}

// FollowStatus yields the status changes of one user that come after the
// sequence, each with its own: first those that are kept, then as they happen.
// It ends when ctx does, or after an error. A message that is no status change
// is passed over.
func (b *Bus) FollowStatus(ctx context.Context, user events.UserID, after uint64) iter.Seq2[uint64, events.StatusChanged] {
	return b.follow(ctx, events.StatusSubject(user), after)
}

func (b *Bus) follow(ctx context.Context, subject string, after uint64) iter.Seq2[uint64, events.StatusChanged] {
	return func(yield func(uint64, events.StatusChanged) bool) {
		for ctx.Err() == nil {
			err := b.followOnce(ctx, subject, &after, yield)
			if err == nil {
				return
			}
			if ctx.Err() == nil {
				b.log.Warn("status feed interrupted", "subject", subject, "err", err)
				pause(ctx, time.Second)
			}
		}
	}
}

// followOnce returns nil when the reader has enough.
func (b *Bus) followOnce(ctx context.Context, subject string, after *uint64, yield func(uint64, events.StatusChanged) bool) error {
	c, err := b.JS.OrderedConsumer(ctx, events.StreamStatus, jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{subject},
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       *after + 1,
		InactiveThreshold: feedGone,
		// The client would try for ever, out of the context's reach. We begin anew.
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
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("follow status: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			continue
		}
		*after = meta.Sequence.Stream
		e, err := events.Decode[events.StatusChanged](m.Data())
		if err != nil {
			continue
		}
		if !yield(*after, e) {
			return nil
		}
	}
}
