package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// reader brings back the messages of one class when they are due. It holds one at a time
// until then; while there are many that are due already it takes more, up to mostBack.
type reader[E events.Event] struct {
	r        *run[E]
	class    class
	consumer jetstream.Consumer
	clock    clock
}

const (
	mostBack = 64
	// longestLook is the longest that a reader asks for a message at once: the server's
	// word that it is there comes six times as often.
	longestLook = 5 * time.Minute
	// clockGood is for how long it is believed how far the server's clock is from ours.
	clockGood = time.Minute
)

// run reads until drain ends, and lets go of what is not due then.
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
			rd.r.log.Warn("fetch what was put aside", "class", rd.class.name, "err", err)
			pause(drain, 5*time.Second)
		}
	}
}

// held is a message in hand, whose lease is renewed.
type held struct {
	jetstream.Msg
	ctx     context.Context
	release func()
}

// back brings the messages back, each when it is due, and reports whether all were due
// when they came.
func (rd *reader[E]) back(ctx, drain context.Context, got []held) bool {
	type move struct {
		held
		future
		err error
	}
	var sent []move
	behind := len(got) > 0
	flush := func() {
		// What was published is acked even if the process stops.
		fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishWait)
		defer cancel()
		for _, s := range sent {
			if s.err == nil {
				_, s.err = s.wait(fctx)
			}
			if s.err == nil {
				rd.r.confirm(fctx, s.Msg)
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
					rd.r.log.Debug("let go", "err", err)
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

// send publishes the message where it waits on, or where it came from.
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

// stuck sees to a message that could not be brought back. If the stream has no room, it is
// worked on where it lies: a stream that is full of what waits would never have room again.
func (rd *reader[E]) stuck(ctx context.Context, m held, err error) {
	r := rd.r
	log := r.log.With("subject", m.Subject(), "class", rd.class.name)
	if !fault.Is(err, fault.Throttled) {
		log.Warn("not brought back", "err", err)
		r.nak(log, m, 5*time.Second)
		return
	}
	// Beside the slots, one of each class at most: the slots may all wait for a message.
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
		// Its attempts are counted when there is room to note them.
		outcome = Waited
		log.Warn("waits where it is, there is no room", "err", herr)
		r.nak(log, m, max(min(rd.class.wait, time.Minute), fault.DelayOf(herr)))
	}
	r.observed(outcome, fault.KindOf(herr), time.Since(began))
}

// ask has the server tell its time, if that was long ago.
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
		rd.clock.asked = began // what is known has to do
		return
	}
	rd.clock.set(info, began)
}

// clock tells how old messages are, which the server has timed by its own clock.
type clock struct {
	ahead time.Duration // of ours to the server's
	asked time.Time
}

// set takes the time from what the server said; began is when it was asked. Clocks that
// agree within the time that the answer took are taken to agree.
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

// left returns how long a message has to wait that was stored then and waits that long in
// all: never longer than that, whatever the clocks say.
func (c *clock) left(now, stored time.Time, wait time.Duration) time.Duration {
	age := now.Round(0).Sub(stored) - c.ahead
	if age < 0 {
		// It cannot be older than new. What follows it is as much younger as the server's
		// clock says, so that a wrong clock holds up the first of many, and not each.
		c.ahead += age
		age = 0
	}
	return max(wait-age, 0)
}
