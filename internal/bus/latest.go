package bus

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// latestWait is how long one status change may take to arrive.
const latestWait = 5 * time.Second

// LatestStatuses yields the last stored status change of each job: of one user, or of all
// users if user is empty. An error ends the sequence. The server sends no other changes.
func (b *Bus) LatestStatuses(ctx context.Context, user events.UserID) iter.Seq2[events.StatusChanged, error] {
	subject := events.SubjectStatus
	if user != "" {
		subject = events.StatusSubject(user)
	}
	return func(yield func(events.StatusChanged, error) bool) {
		c, err := b.JS.OrderedConsumer(ctx, events.StreamStatus, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{subject},
			DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
		})
		if err != nil {
			yield(events.StatusChanged{}, fmt.Errorf("latest status changes: %w", err))
			return
		}
		if info := c.CachedInfo(); info != nil {
			// A stream has room for a limited number of consumers. The server would keep
			// this one for minutes after its reader is gone.
			defer func() {
				done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				_ = b.JS.DeleteConsumer(done, events.StreamStatus, info.Name)
			}()
			if info.NumPending == 0 {
				return
			}
		}
		messages, err := c.Messages()
		if err != nil {
			yield(events.StatusChanged{}, fmt.Errorf("latest status changes: %w", err))
			return
		}
		defer messages.Stop()
		for {
			next, cancel := context.WithTimeout(ctx, latestWait)
			m, err := messages.Next(jetstream.NextContext(next))
			cancel()
			if err != nil {
				yield(events.StatusChanged{}, fmt.Errorf("latest status changes: %w", err))
				return
			}
			meta, err := m.Metadata()
			if err != nil {
				yield(events.StatusChanged{}, fmt.Errorf("latest status changes: %w", err))
				return
			}
			// A message that is no status change is skipped.
			if e, err := events.Decode[events.StatusChanged](m.Data()); err == nil && !yield(e, nil) {
				return
			}
			if meta.NumPending == 0 {
				return
			}
		}
	}
}
