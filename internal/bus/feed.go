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

// FollowStatus yields the status changes of one user that come after the
// sequence, each with its own: first those that are kept, then as they happen.
// It ends when ctx does, or after an error. A message that is no status change
// is passed over.
func (b *Bus) FollowStatus(ctx context.Context, user events.UserID, after uint64) iter.Seq2[uint64, events.StatusChanged] {
	return func(yield func(uint64, events.StatusChanged) bool) {
		for ctx.Err() == nil {
			err := b.followOnce(ctx, user, &after, yield)
			if err == nil {
				return
			}
			if ctx.Err() == nil {
				b.log.Warn("status feed interrupted", "user", user, "err", err)
				pause(ctx, time.Second)
			}
		}
	}
}

// followOnce returns nil when the reader has enough.
func (b *Bus) followOnce(ctx context.Context, user events.UserID, after *uint64, yield func(uint64, events.StatusChanged) bool) error {
	c, err := b.JS.OrderedConsumer(ctx, events.StreamStatus, jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{events.StatusSubject(user)},
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       *after + 1,
		InactiveThreshold: feedGone,
	})
	if err != nil {
		return fmt.Errorf("follow status: %w", err)
	}
	messages, err := c.Messages()
	if err != nil {
		return fmt.Errorf("follow status: %w", err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	defer messages.Stop()
	for {
		m, err := messages.Next()
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
