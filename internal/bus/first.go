package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/wait"
)

// runFirst handles what users want first: the messages of the queue's lane, one at a time, in a
// slot of its own. So a message of the lane waits for no other message of the queue. A message of
// the lane that has to wait is put aside like others, and comes back into the lane.
func (r *run[E]) runFirst(ctx, drain context.Context) {
	for drain.Err() == nil {
		r.atDoor(drain)
		pause := r.breaker.wait()
		if pause > 0 {
			wait.For(drain, pause)
		}
		openCtx, done := r.whileOpen(drain)
		err := r.fetch(openCtx, r.first, 1, fetchWait, func(m jetstream.Msg) { r.deliver(ctx, m, pause > 0) })
		done()
		if err != nil && drain.Err() == nil {
			r.fetching.Failed(r.log, "no message can be fetched", "lane", firstOf(r.Consumer), "err", err)
			wait.For(drain, time.Second)
		}
	}
}
