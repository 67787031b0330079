package bus

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// settle acks the message, gives it back with a delay, puts it aside, or dead-letters it.
func (r *run[E]) settle(ctx context.Context, m jetstream.Msg, meta *jetstream.MsgMetadata, err, cause error) Outcome {
	seq := meta.Sequence.Stream
	log := r.log.With("subject", m.Subject(), "seq", seq, "delivery", meta.NumDelivered)
	if err == nil {
		ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		if err := m.DoubleAck(ackCtx); err != nil {
			// The work is done, and the message will be delivered again. The next handler
			// sees that the work is done.
			log.Warn("ack not confirmed", "err", err)
		}
		r.trying.Worked(r.log, "messages are handled without failures again")
		if meta.NumDelivered > 1 {
			if err := r.attempts.Forget(ctx, seq); err != nil {
				log.Debug("forget attempts", "err", err)
			}
		}
		return Acked
	}
	if errors.Is(cause, ErrLeaseLost) {
		log.Warn("lease lost, another worker has the message", "err", err)
		return Lost
	}
	if cause != nil {
		// The process stops. That is not a failure of the message.
		log.Info("handed back", "cause", cause)
		if err := m.NakWithDelay(100 * time.Millisecond); err != nil {
			log.Warn("hand back", "err", err)
		}
		r.ended(ctx, meta, noted(m.Headers()).Attempt)
		return HandedBack
	}

	kind := fault.KindOf(err)
	rule := policy[kind]
	a, lerr := r.attempts.load(ctx, seq, meta.Timestamp, noted(m.Headers()).Attempt)
	if lerr != nil {
		// The count is unknown. A message must not be given up without it.
		r.trying.Failed(log, "messages fail, and will be tried again: their attempts are unknown", "err", lerr)
		r.nak(log, m, rule.delay(int(meta.NumDelivered), fault.DelayOf(err)))
		return Retried
	}
	now := time.Now().UTC()
	if a.FirstAt.IsZero() {
		a.FirstAt = now
	}
	a.LastAt, a.Kind, a.Cause, a.Reason, a.Subject = now, kind.String(), fault.CauseOf(err), err.Error(), m.Subject()
	count := &a.Failures
	if rule.free {
		count = &a.Waits
	}
	*count++
	a.Begun = max(a.Begun-1, 0)
	if rule.attempts > 0 && a.Failures >= rule.attempts && !rule.free {
		if err := r.deadLetter(ctx, log, m, meta, a); err != nil {
			log.Error("dead letter not written, the message stays", "err", err)
			// The worker lives, so this delivery must not count as one that killed its
			// worker.
			r.ended(ctx, meta, noted(m.Headers()).Attempt)
			r.nak(log, m, rule.delay(a.Failures, 10*time.Second))
			return Retried
		}
		log.Error("given up", "kind", kind, "attempts", a.Failures, "err", err)
		return Dead
	}
	delay := rule.delay(*count, fault.DelayOf(err))
	told := func(how string) Outcome {
		if rule.free {
			log.Debug("waits", "how", how, "delay", delay.Round(time.Millisecond), "why", err)
			return Waited
		}
		args := []any{"kind", kind, "attempts", a.Failures, "how", how, "delay", delay.Round(time.Millisecond), "err", err}
		switch kind {
		case fault.Transient, fault.Throttled, fault.Denied: // others fail for the same reason
			r.trying.Failed(log, "messages fail, and will be tried again", args...)
		default:
			log.Warn("will be tried again", args...)
		}
		return Retried
	}
	if delay >= classes[0].wait {
		perr := r.putAside(ctx, m, meta, a, delay)
		if perr == nil {
			return told("put aside")
		}
		// The message waits as a delayed nak and keeps its place among the pending ones.
		// That is better than no wait.
		r.trying.Failed(log, "messages fail, and cannot be put aside", "err", perr)
	}
	if err := r.attempts.save(ctx, seq, a); err != nil {
		r.trying.Failed(log, "messages fail, and will be tried again: their attempts are not saved", "err", err)
		// Without this, the delay would never grow.
		delay = rule.delay(max(*count, int(meta.NumDelivered)), fault.DelayOf(err))
	}
	r.nak(log, m, delay)
	return told("held")
}

func (r *run[E]) nak(log *slog.Logger, m jetstream.Msg, delay time.Duration) {
	if err := m.NakWithDelay(delay); err != nil {
		r.trying.Failed(log, "messages fail, and cannot be given back: they come when their lease ends", "err", err)
	}
}

// LetterHeader returns the part of a message's header that a dead letter keeps. The
// attempts are in the letter itself, and a replay counts from zero.
func LetterHeader(h map[string][]string) map[string][]string {
	h = maps.Clone(h)
	delete(h, events.HeaderAttempts)
	return h
}
