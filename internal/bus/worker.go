package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an output of a handler. The runtime has every output stored
// before it acks the input.
type Emit = func(context.Context, events.Event) error

// Handler handles one event. It returns nil when the work is done for good, and
// otherwise an error whose [fault.Kind] decides what becomes of the message.
// The same event may come twice, late, and while an earlier delivery of it is
// still being handled somewhere. ctx ends when the lease on the message is
// lost or the process must stop.
type Handler[E events.Event] func(ctx context.Context, e E, emit Emit) error

// Outcome is what became of one delivery.
type Outcome string

// The outcomes, as metrics label them.
const (
	Acked      Outcome = "acked"
	Retried    Outcome = "retried"
	Waited     Outcome = "waited"
	HandedBack Outcome = "handed-back"
	Dead       Outcome = "dead"
	Lost       Outcome = "lease-lost"
)

// Worker runs a handler over the messages of a durable consumer. Start as many
// as you like, in as many processes: they share the work.
type Worker[E events.Event] struct {
	Bus      *Bus
	Stream   string
	Consumer string
	Handle   Handler[E]
	// Slots is how many messages are handled at a time. No more are fetched
	// than there are free slots: a message that waits in a worker's memory
	// would lose its lease.
	Slots int
	// Observe is told of each delivery's outcome and time; it may be nil.
	Observe func(outcome Outcome, kind fault.Kind, took time.Duration)
	Logger  *slog.Logger
}

// ErrLeaseLost is the cause of a handler's context when the server may have
// given the message to another worker.
var ErrLeaseLost = errors.New("lease on the message lost")

const (
	fetchWait   = 30 * time.Second
	ackTimeout  = 5 * time.Second
	longestStop = 5 * time.Second // to say what became of a message after ctx ended
)

// Run handles messages until drain is closed, then finishes those it has and
// returns nil. When ctx ends it stops the handlers and hands their messages
// back; a hand-back burns no attempt. It returns an error if the consumer or
// the attempts bucket is not there, and says how to make them.
func (w *Worker[E]) Run(ctx context.Context, drain <-chan struct{}) error {
	r, err := w.start(ctx)
	if err != nil {
		return err
	}
	fetchCtx, stopFetching := context.WithCancel(ctx)
	defer stopFetching()
	go func() {
		select {
		case <-drain:
			stopFetching()
		case <-fetchCtx.Done():
		}
	}()

	leaseCtx, stopLeases := context.WithCancel(context.WithoutCancel(ctx))
	var leases sync.WaitGroup
	leases.Go(func() { r.renewLeases(leaseCtx) })
	defer leases.Wait()
	defer stopLeases()

	var handlers sync.WaitGroup
	defer handlers.Wait()
	for fetchCtx.Err() == nil {
		// One free slot at least; then as many as are free.
		select {
		case r.slots <- struct{}{}:
		case <-fetchCtx.Done():
			return nil
		}
		free := 1
		for free < cap(r.slots) {
			select {
			case r.slots <- struct{}{}:
				free++
				continue
			default:
			}
			break
		}
		used := 0
		err := r.fetch(fetchCtx, free, func(m jetstream.Msg) {
			used++
			handlers.Go(func() {
				defer func() { <-r.slots }()
				r.deliver(ctx, m)
			})
		})
		for ; used < free; used++ {
			<-r.slots
		}
		if err != nil && fetchCtx.Err() == nil {
			r.log.Warn("fetch", "err", err)
			pause(fetchCtx, time.Second)
		}
	}
	return nil
}

type run[E events.Event] struct {
	*Worker[E]
	consumer jetstream.Consumer
	ledger   ledger
	slots    chan struct{}
	log      *slog.Logger

	mu     sync.Mutex // guards leases
	leases map[jetstream.Msg]context.CancelCauseFunc
}

func (w *Worker[E]) start(ctx context.Context) (*run[E], error) {
	c, err := w.Bus.consumer(ctx, w.Stream, w.Consumer)
	if err != nil {
		return nil, err
	}
	kv, err := w.Bus.JS.KeyValue(ctx, BucketAttempts)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w: if it is not there, run `gas provision` once", BucketAttempts, err)
	}
	log := w.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &run[E]{
		Worker:   w,
		consumer: c,
		ledger:   ledger{kv: kv, prefix: w.Stream + "." + w.Consumer},
		slots:    make(chan struct{}, max(w.Slots, 1)),
		log:      log.With("stream", w.Stream, "consumer", w.Consumer),
		leases:   map[jetstream.Msg]context.CancelCauseFunc{},
	}, nil
}

// fetch passes on up to n messages as they come, and returns when it has n, or
// none came for a while.
func (r *run[E]) fetch(ctx context.Context, n int, each func(jetstream.Msg)) (err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	defer func() { r.Bus.heard(err) }()
	batch, err := r.consumer.Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		each(m)
	}
	if err := batch.Error(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// renewLeases tells the server three times per AckWait that the messages in
// hand are being worked on. The server does not answer that, so a round trip
// behind it tells whether it was heard; if it was not for too long, the
// messages may be somebody else's by now, and the work on them stops.
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

func (r *run[E]) deliver(ctx context.Context, m jetstream.Msg) {
	began := time.Now()
	meta, err := m.Metadata()
	if err != nil {
		r.log.Error("message without metadata", "subject", m.Subject(), "err", err)
		return
	}
	hctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	r.leases[m] = cancel
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.leases, m)
		r.mu.Unlock()
	}()

	if meta.NumDelivered >= suspicious {
		err = r.suspect(hctx, meta)
	}
	if err == nil {
		err = r.handle(hctx, m)
	}

	// What became of it is said even if ctx is over.
	sctx, stop := context.WithTimeout(context.WithoutCancel(ctx), longestStop)
	defer stop()
	outcome := r.settle(sctx, m, meta, err, context.Cause(hctx))
	if r.Observe != nil {
		r.Observe(outcome, fault.KindOf(err), time.Since(began))
	}
}

// suspect notes that a delivery begins, and returns an error if too many began that
// came to nothing. What could not be noted proves nothing: a server that is full for
// an hour must not condemn what it makes wait.
func (r *run[E]) suspect(ctx context.Context, meta *jetstream.MsgMetadata) error {
	a, err := r.ledger.load(ctx, meta.Sequence.Stream, meta.Timestamp)
	if err != nil {
		return nil
	}
	if a.Begun >= crashLimit {
		return fault.Errorf(fault.Invalid, "delivered %d times, and %d of them ended without an outcome: its workers die", meta.NumDelivered, a.Begun)
	}
	a.Begun++
	if err := r.ledger.save(ctx, meta.Sequence.Stream, a); err != nil {
		r.log.Debug("beginning not noted", "seq", meta.Sequence.Stream, "err", err)
	}
	return nil
}

// ended takes back the note of a delivery whose end is no outcome of the message.
func (r *run[E]) ended(ctx context.Context, meta *jetstream.MsgMetadata) {
	if meta.NumDelivered < suspicious {
		return
	}
	if a, err := r.ledger.load(ctx, meta.Sequence.Stream, meta.Timestamp); err == nil && a.Begun > 0 {
		a.Begun--
		if err := r.ledger.save(ctx, meta.Sequence.Stream, a); err != nil {
			r.log.Debug("end not noted", "seq", meta.Sequence.Stream, "err", err)
		}
	}
}

// handle decodes the message and runs the handler; a panic of the handler is an
// error like any other.
func (r *run[E]) handle(ctx context.Context, m jetstream.Msg) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			r.log.Error("handler panicked", "subject", m.Subject(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	e, err := events.Decode[E](m.Data())
	switch {
	case errors.Is(err, events.ErrNewerVersion):
		// In the middle of a rolling update a newer worker is next.
		return fault.After(fault.Unknown, 30*time.Second, err)
	case err != nil:
		return fault.New(fault.Invalid, err)
	}
	out := stream{bus: r.Bus}
	err = r.Handle(ctx, e, out.emit)
	if ferr := out.flush(ctx); err == nil {
		err = ferr
	}
	return err
}

// settle tells the server what becomes of the message.
func (r *run[E]) settle(ctx context.Context, m jetstream.Msg, meta *jetstream.MsgMetadata, err, cause error) Outcome {
	seq := meta.Sequence.Stream
	log := r.log.With("subject", m.Subject(), "seq", seq, "delivery", meta.NumDelivered)
	if err == nil {
		ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		if err := m.DoubleAck(ackCtx); err != nil {
			// It is done and will be delivered again: the next handler sees that.
			log.Warn("ack not confirmed", "err", err)
		}
		if meta.NumDelivered > 1 {
			if err := r.ledger.forget(ctx, seq); err != nil {
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
		// The process stops. An interruption is not a failure.
		log.Info("handed back", "cause", cause)
		if err := m.NakWithDelay(100 * time.Millisecond); err != nil {
			log.Warn("hand back", "err", err)
		}
		r.ended(ctx, meta)
		return HandedBack
	}

	kind := fault.KindOf(err)
	rule := policy[kind]
	a, lerr := r.ledger.load(ctx, seq, meta.Timestamp)
	if lerr != nil {
		// The count is unknown: nothing is given up on a guess.
		log.Warn("attempts unknown", "err", lerr)
		r.nak(log, m, rule.delay(int(meta.NumDelivered), fault.DelayOf(err)))
		return Retried
	}
	now := time.Now().UTC()
	if a.FirstAt.IsZero() {
		a.FirstAt = now
	}
	a.LastAt, a.Kind, a.Reason, a.Subject = now, kind.String(), err.Error(), m.Subject()
	count := &a.Failures
	if rule.free {
		count = &a.Waits
	}
	*count++
	a.Begun = max(a.Begun-1, 0)
	if rule.attempts > 0 && a.Failures >= rule.attempts && !rule.free {
		if err := r.bury(ctx, log, m, meta, a); err != nil {
			log.Error("dead letter not written, the message stays", "err", err)
			r.nak(log, m, rule.delay(a.Failures, 10*time.Second))
			return Retried
		}
		log.Error("given up", "kind", kind, "attempts", a.Failures, "err", err)
		return Dead
	}
	n := *count
	if err := r.ledger.save(ctx, seq, a); err != nil {
		log.Warn("attempts not saved", "err", err)
		n = max(n, int(meta.NumDelivered)) // or the delay would never grow
	}
	delay := rule.delay(n, fault.DelayOf(err))
	r.nak(log, m, delay)
	if rule.free {
		log.Debug("waits", "delay", delay.Round(time.Millisecond), "why", err)
		return Waited
	}
	log.Warn("will be tried again", "kind", kind, "attempts", a.Failures, "delay", delay.Round(time.Millisecond), "err", err)
	return Retried
}

func (r *run[E]) nak(log *slog.Logger, m jetstream.Msg, delay time.Duration) {
	if err := m.NakWithDelay(delay); err != nil {
		log.Warn("nak", "err", err) // it comes back when its lease ends
	}
}

// bury stores the dead letter, and only then ends the message.
func (r *run[E]) bury(ctx context.Context, log *slog.Logger, m jetstream.Msg, meta *jetstream.MsgMetadata, a attempt) error {
	letter := events.DeadLetter{
		ID:            letterID(meta.Sequence.Stream, meta.Timestamp),
		Stream:        r.Stream,
		Consumer:      r.Consumer,
		SourceSubject: m.Subject(),
		Header:        m.Headers(),
		Payload:       m.Data(),
		Reason:        a.Reason,
		Kind:          a.Kind,
		Attempts:      max(a.Failures, 1),
		FirstAt:       a.FirstAt,
		LastAt:        a.LastAt,
	}.Again()
	if _, err := r.Bus.Publish(ctx, letter); err != nil {
		return err
	}
	ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := m.DoubleAck(ackCtx); err != nil {
		// It is delivered once more, with its attempts used up: the same letter again.
		log.Warn("ack of a dead message not confirmed", "err", err)
		return nil
	}
	if err := r.ledger.forget(ctx, meta.Sequence.Stream); err != nil {
		log.Debug("forget attempts", "err", err)
	}
	return nil
}

// letterID names the message of a stream that was stored at a time: the same for
// each of its dead letters, and another for what has its number in a stream that
// was made anew.
func letterID(seq uint64, at time.Time) string {
	return strconv.FormatUint(seq, 10) + "-" + strconv.FormatInt(at.UnixNano(), 36)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
