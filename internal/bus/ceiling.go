package bus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Fill is how much of what a consumer allows is used. Behind a limit that is reached work
// stands still, and nothing fails: only who looks knows.
type Fill struct {
	Stream, Consumer string
	// Waiting are the messages that nobody has yet.
	Waiting uint64
	// InHand are those that workers have, of MaxInHand at the most; 0 is no limit.
	InHand, MaxInHand int
	// Pulls are the requests for messages that stand at the server, of MaxPulls at the most.
	Pulls, MaxPulls int
}

// fillOf reads what the server says of a consumer.
func fillOf(info *jetstream.ConsumerInfo) Fill {
	return Fill{
		Stream: info.Stream, Consumer: info.Name, Waiting: info.NumPending,
		InHand: info.NumAckPending, MaxInHand: max(info.Config.MaxAckPending, 0), Pulls: info.NumWaiting, MaxPulls: max(info.Config.MaxWaiting, 0),
	}
}

// Ceiling returns a sentence for each limit that is reached; none if there is room.
func (f Fill) Ceiling() (reached []string) {
	if f.MaxInHand > 0 && f.InHand >= f.MaxInHand {
		reached = append(reached, fmt.Sprintf("consumer %s has %d messages in hand, which is all that it may have: %d others wait until one is done (max_ack_pending)", f.Consumer, f.InHand, f.Waiting))
	}
	if f.MaxPulls > 0 && f.Pulls >= f.MaxPulls {
		reached = append(reached, fmt.Sprintf("consumer %s has %d workers that wait for messages, which is all that it may have: others get none (max_waiting)", f.Consumer, f.Pulls))
	}
	return reached
}

// fillEvery is how often a worker looks how full its consumer is.
const fillEvery = time.Minute

// watchFill looks how full the worker's consumer is until ctx ends. It tells of a limit when it
// is reached and when it is not any more, and not in between.
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
		pause(ctx, fillEvery)
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

// Ceilings returns a sentence for each limit that is reached: of the consumers that hand out work,
// of the streams, and of the account. It takes the operator's permissions.
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
		// Where the oldest make room for the newest, full is the usual state.
		if c.Discard != jetstream.DiscardNew {
			continue
		}
		if c.MaxMsgs > 0 && s.Msgs >= uint64(c.MaxMsgs) {
			reached = append(reached, fmt.Sprintf("stream %s has %d messages, which is all that it takes", c.Name, s.Msgs))
		}
		if c.MaxBytes > 0 && s.Bytes >= uint64(c.MaxBytes) {
			reached = append(reached, fmt.Sprintf("stream %s has %d bytes, which is all that it takes", c.Name, s.Bytes))
		}
	}
	if err := list.Err(); err != nil {
		return reached, fmt.Errorf("look at the streams: %w", err)
	}
	account, err := b.JS.AccountInfo(ctx)
	if err != nil {
		return reached, fmt.Errorf("look at the account: %w", err)
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
