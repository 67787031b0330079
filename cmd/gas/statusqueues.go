package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

// queue is the work in a stream or in an SQS queue.
type queue struct {
	Stream string `json:"stream"`
	// Waiting is the number of messages that no worker has. InHand is the number that
	// workers have, or had and gave back. Aside is the number of messages that are put
	// aside.
	Waiting uint64    `json:"waiting"`
	InHand  uint64    `json:"in_hand"`
	Aside   uint64    `json:"put_aside,omitempty"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Note    string    `json:"note,omitempty"`
}

// queues returns the work in the streams.
func queues(ctx context.Context, b *bus.Bus) ([]queue, error) {
	var all []queue
	for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamDead} {
		st, err := b.JS.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		state := st.CachedInfo().State
		row := queue{Stream: name, Waiting: state.Msgs}
		if state.Msgs > 0 {
			row.Oldest = state.FirstTime.UTC()
		}
		if work := bus.WorkConsumers(name); len(work) > 0 {
			var of []*jetstream.ConsumerInfo
			for _, consumer := range work {
				c, err := b.JS.Consumer(ctx, name, consumer)
				switch {
				case errors.Is(err, jetstream.ErrConsumerNotFound):
					row.Note = "its consumer " + consumer + " is not there: run `gas provision`"
				case err != nil:
					return nil, fmt.Errorf("consumer %s: %w", consumer, err)
				default:
					of = append(of, c.CachedInfo())
				}
			}
			if row.Note == "" {
				row.split(state.Msgs, of...)
			}
		}
		all = append(all, row)
	}
	return all, nil
}

// split separates messages in flight and messages put aside from the waiting ones. The
// stream and the consumers were read one after the other, and work continued in between.
func (q *queue) split(msgs uint64, of ...*jetstream.ConsumerInfo) {
	q.InHand, q.Waiting = 0, 0
	for _, c := range of {
		q.InHand += uint64(c.NumAckPending)
		q.Waiting += c.NumPending
	}
	q.InHand = min(msgs, q.InHand)
	q.Waiting = min(msgs-q.InHand, q.Waiting)
	q.Aside = msgs - q.InHand - q.Waiting
}

// depths adds the work in SQS: the messages that the bridge has not received, and those
// that a redrive policy took away. If they cannot be read, the rest of the report is
// still shown.
func (r *statusReport) depths(ctx context.Context, d *deployment) {
	account := awsestate.New(d.aws)
	for _, q := range []struct{ variable, url string }{{"GAS_PREMIUM_QUEUE_URL", d.cfg.PremiumQueue}, {"GAS_RESTORE_QUEUE_URL", d.cfg.RestoreQueue}} {
		if q.url == "" {
			r.Unseen = append(r.Unseen, q.variable+" is not set: that queue is not shown")
			continue
		}
		depth, dead, err := account.Depths(ctx, q.url)
		if err != nil {
			r.Unseen = append(r.Unseen, fmt.Sprintf("%s: %v", q.variable, err))
			continue
		}
		r.Queues = append(r.Queues, queue{Stream: "SQS " + depth.Name, Waiting: uint64(depth.Waiting), InHand: uint64(depth.InHand)})
		if dead != nil {
			row := queue{Stream: "SQS " + dead.Name, Waiting: uint64(dead.Waiting), InHand: uint64(dead.InHand)}
			if dead.Waiting > 0 {
				row.Note = "was received too often: see docs/troubleshooting.md"
			}
			r.Queues = append(r.Queues, row)
		}
	}
}
