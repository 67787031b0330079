package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// hold renews the lease on a message until release is called. The context that it returns
// ends with ctx, or when the lease is lost; then its cause is [ErrLeaseLost].
func (r *run[E]) hold(ctx context.Context, m jetstream.Msg) (held context.Context, release func()) {
	held, cancel := context.WithCancelCause(ctx)
	r.mu.Lock()
	r.leases[m] = cancel
	r.mu.Unlock()
	return held, func() {
		r.mu.Lock()
		delete(r.leases, m)
		r.mu.Unlock()
		cancel(nil)
	}
}

// renewLeases tells the server three times per AckWait that this worker still has its
// messages. The server does not answer that, so a round trip after it shows whether the
// server got it. If the server got nothing for too long, another worker may have the
// messages, and the work on them stops.
func (r *run[E]) renewLeases(ctx context.Context) {
	tick := time.NewTicker(AckWait / 3)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		held := make([]jetstream.Msg, 0, len(r.leases))
		for m := range r.leases {
			held = append(held, m)
		}
		r.mu.Unlock()
		if len(held) == 0 {
			heard = time.Now()
			continue
		}
		var err error
		for _, m := range held {
			err = errors.Join(err, m.InProgress())
		}
		flushCtx, cancel := context.WithTimeout(ctx, AckWait/6)
		err = errors.Join(err, r.Bus.Conn.FlushWithContext(flushCtx))
		cancel()
		if err == nil {
			heard = time.Now()
		} else if time.Since(heard) > AckWait*2/3 {
			r.log.Warn("leases lost: the server was not heard", "messages", len(held), "err", err)
			r.mu.Lock()
			for _, m := range held {
				if cancel, ok := r.leases[m]; ok {
					cancel(ErrLeaseLost)
				}
			}
			r.mu.Unlock()
		}
	}
}
