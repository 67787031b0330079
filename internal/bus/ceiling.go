package bus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/wait"
)

// Fill is how much of a consumer's limits is used. At a limit, work stops and nothing
// fails, so nobody would see it.
type Fill struct {
	Stream, Consumer string
	// Waiting is the number of messages that no worker has yet.
	Waiting uint64
	// InHand is the number of messages that workers have, and MaxInHand its limit; 0
	// means no limit.
	InHand, MaxInHand int
	// Pulls is the number of requests for messages that wait at the server, and MaxPulls
	// its limit.
	Pulls, MaxPulls int
}

// fillOf reads the numbers from the server's description of a consumer.
func fillOf(info *jetstream.ConsumerInfo) Fill {
	return Fill{
		Stream: info.Stream, Consumer: info.Name, Waiting: info.NumPending,
		InHand: info.NumAckPending, MaxInHand: max(info.Config.MaxAckPending, 0), Pulls: info.NumWaiting, MaxPulls: max(info.Config.MaxWaiting, 0),
	}
}

// Ceiling returns a sentence for each limit that is reached, and nothing if there is
// room.
func (f Fill) Ceiling() (reached []string) {
	if f.MaxInHand > 0 && f.InHand >= f.MaxInHand {
		reached = append(reached, fmt.Sprintf("consumer %s has %d messages in flight, which is its limit (max_ack_pending): %d others wait until one is done", f.Consumer, f.InHand, f.Waiting))
	}
	if f.MaxPulls > 0 && f.Pulls >= f.MaxPulls {
		reached = append(reached, fmt.Sprintf("consumer %s has %d workers that wait for messages, which is its limit (max_waiting): other workers get none", f.Consumer, f.Pulls))
	}
	return reached
}

// fillEvery is how often a worker checks how full its consumer is.
const fillEvery = time.Minute

// watchFill checks until ctx ends how full the worker's consumer is. It logs when a limit
// is reached and when it is no longer reached.
func (r *run[E]) watchFill(ctx context.Context) {
	var told bool
	for ctx.Err() == nil {
		lookCtx, cancel := context.WithTimeout(ctx, ackTimeout)
		info, err := r.consumer.Info(lookCtx)
		cancel()
		if err == nil {
			f := fillOf(info)
			if r.OnFill != nil {
				r.OnFill(f)
			}
			told = tell(r.log, f, told)
		}
		wait.For(ctx, fillEvery)
	}
}

// tell logs that a limit is reached, or that none is any more.
func tell(log *slog.Logger, f Fill, told bool) bool {
	reached := f.Ceiling()
	switch {
	case len(reached) > 0 && !told:
		log.Warn("a limit of the consumer is reached", "limit", reached)
	case len(reached) == 0 && told:
		log.Info("no limit of the consumer is reached any more", "in_hand", f.InHand, "waiting", f.Waiting)
	}
	return len(reached) > 0
}

// Ceilings returns a sentence for each limit that is reached: of the work queues'
// consumers, of the streams, and of the account. It needs the operator's permissions.
func (b *Bus) Ceilings(ctx context.Context) (reached []string, err error) {
	for _, q := range queues {
		for _, want := range q.consumers(Settings{}) {
			c, err := b.consumer(ctx, q.stream, want.Durable)
			if err != nil {
				return reached, err
			}
			reached = append(reached, fillOf(c.CachedInfo()).Ceiling()...)
		}
	}
	list := b.JS.ListStreams(ctx)
	for info := range list.Info() {
		c, s := info.Config, info.State
		// Where the newest messages push out the oldest, a full stream is normal.
		if c.Discard != jetstream.DiscardNew {
			continue
		}
		if c.MaxMsgs > 0 && s.Msgs >= uint64(c.MaxMsgs) {
			reached = append(reached, fmt.Sprintf("stream %s has %d messages, which is its limit", c.Name, s.Msgs))
		}
		if c.MaxBytes > 0 && s.Bytes >= uint64(c.MaxBytes) {
			reached = append(reached, fmt.Sprintf("stream %s has %d bytes, which is its limit", c.Name, s.Bytes))
		}
	}
	if err := list.Err(); err != nil {
		return reached, fmt.Errorf("read the streams: %w", err)
	}
	account, err := b.JS.AccountInfo(ctx)
	if err != nil {
		return reached, fmt.Errorf("read the account: %w", err)
	}
	for _, l := range []struct {
		what    string
		is, may int64
	}{
		{"bytes of files", int64(account.Store), account.Limits.MaxStore},
		{"bytes of memory", int64(account.Memory), account.Limits.MaxMemory},
		{"streams", int64(account.Streams), int64(account.Limits.MaxStreams)},
		{"consumers", int64(account.Consumers), int64(account.Limits.MaxConsumers)},
	} {
		if l.may > 0 && l.is >= l.may {
			reached = append(reached, fmt.Sprintf("the account has %d %s, of %d that it may have", l.is, l.what, l.may))
		}
	}
	return reached, nil
}
