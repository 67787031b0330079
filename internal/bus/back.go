package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// reader brings back the messages of one class when they are due. It holds one message
// until that time. While many are due already, it takes more at a time, up to mostBack.
type reader[E events.Event] struct {
	r        *run[E]
	class    class
	consumer jetstream.Consumer
	clock    clock
}

const (
	mostBack = 64
	// longestLook is the longest time of one request for a message. The server's
	// heartbeats come six times as often.
	longestLook = 5 * time.Minute
	// clockGood is how long the measured difference between the server's clock and ours
	// is used.
	clockGood = time.Minute
)

// run reads until drain ends, and gives back the messages that are not due by then.
func (rd *reader[E]) run(ctx, drain context.Context) {
	behind := false
	rd.clock.set(rd.consumer.CachedInfo(), time.Now())
	for drain.Err() == nil {
		var got []held
		take := func(m jetstream.Msg) {
			mctx, release := rd.r.hold(ctx, m)
			got = append(got, held{m, mctx, release})
		}
		var err error
		if behind {
			err = rd.r.pass(drain, rd.consumer, take)(rd.consumer.FetchNoWait(mostBack))
		} else {
			err = rd.r.fetch(drain, rd.consumer, 1, min(max(rd.class.wait, fetchWait), longestLook), take)
		}
		behind = rd.back(ctx, drain, got)
		if err != nil && drain.Err() == nil {
			rd.r.bringing.Failed(rd.r.log, "messages that were put aside cannot be brought back", "class", rd.class.name, "err", err)
			wait.For(drain, 5*time.Second)
		}
	}
}

// held is a message that the reader has and that it keeps the lease of.
type held struct {
	jetstream.Msg
	ctx     context.Context
	release func()
}

// back brings the messages back, each when it is due. It reports whether all were already
// due when they came.
func (rd *reader[E]) back(ctx, drain context.Context, got []held) bool {
	type move struct {
		held
		future
		err error
	}
	var sent []move
	behind := len(got) > 0
	flush := func() {
		// A published message must be acked even while the process stops.
		fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishWait)
		defer cancel()
		for _, s := range sent {
			if s.err == nil {
				_, s.err = s.wait(fctx)
			}
			if s.err == nil {
				rd.r.confirm(fctx, s.Msg)
				rd.r.bringing.Worked(rd.r.log, "messages that were put aside come back again")
			} else {
				rd.stuck(ctx, s.held, s.err)
			}
			s.release()
		}
		sent = sent[:0]
	}
	defer flush()
	for i, m := range got {
		meta, err := m.Metadata()
		if err != nil {
			rd.r.log.Error("message without metadata", "subject", m.Subject(), "err", err)
			m.release()
			continue
		}
		rd.ask(ctx)
		if left := rd.clock.left(time.Now(), meta.Timestamp, rd.class.wait); left > 0 {
			behind = false
			flush()
			t := time.NewTimer(left)
			select {
			case <-t.C:
			case <-m.ctx.Done(): // the lease is lost, or the process stops
			case <-drain.Done():
			}
			t.Stop()
		}
		if drain.Err() != nil {
			for _, m := range got[i:] {
				if err := m.Nak(); err != nil {
					rd.r.log.Debug("not given back", "err", err)
				}
				m.release()
			}
			return false
		}
		if m.ctx.Err() != nil {
			m.release()
			continue
		}
		s := move{held: m}
		s.future, s.err = rd.send(m, meta)
		sent = append(sent, s)
	}
	return behind
}

// send publishes the message to its next aside class, or to its own subject.
func (rd *reader[E]) send(m jetstream.Msg, meta *jetstream.MsgMetadata) (future, error) {
	n, subject := noted(m.Headers()), WorkSubject(m.Subject())
	if next, ok := classFor(n.Left); ok {
		n.Left -= next.wait
		subject = asidePrefix + next.name + "." + subject
	}
	to, err := move(m, meta, subject, n)
	if err != nil {
		return future{}, err
	}
	return rd.r.Bus.send(to)
}

// stuck handles a message that could not be brought back. If the stream has no room, the
// worker handles the message where it is. Otherwise a stream full of waiting messages
// would never have room again.
func (rd *reader[E]) stuck(ctx context.Context, m held, err error) {
	r := rd.r
	log := r.log.With("subject", m.Subject(), "class", rd.class.name)
	if !fault.Is(err, fault.Throttled) {
		r.bringing.Failed(log, "messages that were put aside cannot be brought back", "err", err)
		r.nak(log, m, 5*time.Second)
		return
	}
	// This comes in addition to the slots, with one message of each class at most: all
	// slots may be waiting for a message.
	began := time.Now()
	herr := r.handle(m.ctx, m)
	sctx, stop := context.WithTimeout(context.WithoutCancel(ctx), longestStop)
	defer stop()
	outcome := Acked
	switch {
	case herr == nil:
		r.confirm(sctx, m)
	case errors.Is(context.Cause(m.ctx), ErrLeaseLost):
		outcome = Lost
	case m.ctx.Err() != nil:
		outcome = HandedBack
		r.nak(log, m, 100*time.Millisecond)
	default:
		// Its attempts will be counted when there is room to store them.
		outcome = Waited
		log.Warn("waits where it is, there is no room", "err", herr)
		r.nak(log, m, max(min(rd.class.wait, time.Minute), fault.DelayOf(herr)))
	}
	r.observed(outcome, fault.KindOf(herr), time.Since(began))
}

// ask reads the server's time, if the last answer is old.
func (rd *reader[E]) ask(ctx context.Context) {
	began := time.Now()
	if began.Sub(rd.clock.asked) < clockGood {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	info, err := rd.consumer.Info(ctx)
	rd.r.Bus.heard(err)
	if err != nil {
		rd.r.log.Debug("ask the server's time", "err", err)
		rd.clock.asked = began // the last known difference must do
		return
	}
	rd.clock.set(info, began)
}

// clock says how old messages are. The server has stamped them by its own clock.
type clock struct {
	ahead time.Duration // of ours to the server's
	asked time.Time
}

// set computes the difference between the two clocks from an answer of the server; began
// is the time of the request. If the clocks agree within the time that the answer took,
// the difference counts as zero.
func (c *clock) set(info *jetstream.ConsumerInfo, began time.Time) {
	now := time.Now()
	c.ahead, c.asked = 0, now
	if info == nil || info.TimeStamp.IsZero() {
		return
	}
	switch ts := info.TimeStamp; {
	case ts.Before(began):
		c.ahead = began.Sub(ts)
	case ts.After(now):
		c.ahead = now.Sub(ts)
	}
}

// left returns how long a message must still wait that was stored at this time and waits
// this long in all. The result is never longer than wait, whatever the clocks say.
func (c *clock) left(now, stored time.Time, wait time.Duration) time.Duration {
	age := now.Round(0).Sub(stored) - c.ahead
	if age < 0 {
		// It cannot be older than new. The later messages are as much younger as the
		// server's clock says. So a wrong clock delays the first of many messages, and
		// not each of them.
		c.ahead += age
		age = 0
	}
	return max(wait-age, 0)
}
