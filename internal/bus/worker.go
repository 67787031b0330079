package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/outage"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an output of a handler. The worker waits until every output is stored
// before it acks the input.
type Emit = func(context.Context, events.Event) error

// Handler handles one event. It returns nil when the work is done. Otherwise the
// [fault.Kind] of its error decides what happens to the message. The same event may come
// twice, late, and while another worker still handles an earlier delivery. ctx ends when
// the lease on the message is lost or the process must stop.
type Handler[E events.Event] func(ctx context.Context, e E, emit Emit) error

// Outcome is the result of one delivery.
type Outcome string

// The outcomes, with their labels in the metrics.
const (
	Acked      Outcome = "acked"
	Retried    Outcome = "retried"
	Waited     Outcome = "waited"
	HandedBack Outcome = "handed-back"
	Dead       Outcome = "dead"
	Lost       Outcome = "lease-lost"
)

// Outcomes returns all outcomes.
func Outcomes() []Outcome { return []Outcome{Acked, Retried, Waited, HandedBack, Dead, Lost} }

// Worker runs a handler over the messages of a durable consumer. Any number of workers in
// any number of processes share the work.
type Worker[E events.Event] struct {
	Bus      *Bus
	Stream   string
	Consumer string
	Handle   Handler[E]
	// Slots is how many messages are handled at a time. The worker fetches no more
	// messages than it has free slots: a message that waits in its memory would lose its
	// lease. A queue with a lane has one slot more, for the lane alone.
	Slots int
	// Observe receives the outcome and the time of each delivery; it may be nil.
	Observe func(outcome Outcome, kind fault.Kind, took time.Duration)
	// Door says for how long the worker must take no messages, and why; 0 means that the
	// door is open. While it is closed the worker fetches nothing, and finishes the
	// messages that it has. The worker calls it once a second, so it sees a door that
	// opens early. It may be nil.
	Door func() (closed time.Duration, why string)
	// OnCautious is called with true when the worker begins to handle one message at a
	// time, because so many failed in a row that they must have a common cause. It is
	// called with false at the end of that time. It may be nil.
	OnCautious func(bool)
	// OnFill is called every minute with the use of the consumer's limits; it may be nil.
	OnFill func(Fill)
	Logger *slog.Logger
}

// ErrLeaseLost is the cause of a handler's context when the server may have
// given the message to another worker.
var ErrLeaseLost = errors.New("lease on the message lost")

const (
	fetchWait   = 30 * time.Second
	probeWait   = 5 * time.Second
	ackTimeout  = 5 * time.Second
	longestStop = 5 * time.Second // to say what became of a message after ctx ended
)

// Run handles messages until drain is closed. Then it finishes the messages that it has,
// and returns nil. When ctx ends, it stops the handlers and gives their messages back;
// that burns no attempt. It returns an error if the consumer or the bucket ATTEMPTS is
// missing, and says how to make them.
func (w *Worker[E]) Run(ctx context.Context, drain <-chan struct{}) error {
	r, err := w.start(ctx)
	if err != nil {
		return err
	}
	fetchCtx, stopFetching := wait.Until(ctx, drain)
	defer stopFetching()

	leaseCtx, stopLeases := context.WithCancel(context.WithoutCancel(ctx))
	var leases sync.WaitGroup
	leases.Go(func() { r.renewLeases(leaseCtx) })
	leases.Go(func() { r.watchFill(leaseCtx) })
	defer leases.Wait()
	defer stopLeases()

	var handlers sync.WaitGroup
	defer handlers.Wait()
	for _, rd := range r.readers {
		handlers.Go(func() { rd.run(ctx, fetchCtx) })
	}
	if r.first != nil {
		handlers.Go(func() { r.runFirst(ctx, fetchCtx) })
	}
	for fetchCtx.Err() == nil {
		r.atDoor(fetchCtx)
		// Wait for one free slot, then take all others that are free.
		if !r.take(fetchCtx) {
			return nil
		}
		free, most := 1, cap(r.slots)
		alone := r.breaker.wait() > 0
		if alone {
			// One message at a time: wait until all others are finished, and take one
			// message.
			for ; free < cap(r.slots) && r.take(fetchCtx); free++ {
			}
			wait.For(fetchCtx, r.breaker.wait())
			most = 1
		}
		for free < most {
			select {
			case r.slots <- struct{}{}:
				free++
				continue
			default:
			}
			break
		}
		used := 0
		openCtx, done := r.whileOpen(fetchCtx)
		err := r.fetch(openCtx, r.consumer, min(free, most), fetchWait, func(m jetstream.Msg) {
			used++
			handlers.Go(func() {
				defer func() { <-r.slots }()
				r.deliver(ctx, m, alone)
			})
		})
		done()
		for ; used < free; used++ {
			<-r.slots
		}
		switch {
		case err == nil:
			r.fetching.Over(r.log, "messages can be fetched again")
		case fetchCtx.Err() == nil:
			r.fetching.Failed(r.log, "no message can be fetched", "err", err)
			wait.For(fetchCtx, time.Second)
		}
	}
	return nil
}

// take takes a slot; it returns false if ctx ended first.
func (r *run[E]) take(ctx context.Context) bool {
	select {
	case r.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

type run[E events.Event] struct {
	*Worker[E]
	consumer jetstream.Consumer
	first    jetstream.Consumer // of the lane; nil if the queue has none
	readers  []*reader[E]       // of what is put aside, one for each class
	attempts Attempts
	slots    chan struct{}
	breaker  breaker
	log      *slog.Logger
	// The trouble of all messages together: an outage has one line, not one for each message.
	fetching, bringing, trying outage.Log

	mu     sync.Mutex // guards leases
	leases map[jetstream.Msg]context.CancelCauseFunc
}

func (w *Worker[E]) start(ctx context.Context) (*run[E], error) {
	// All lookups together get one minute. While leaders change, an answer may be late,
	// and somebody would have to restart a worker that gave up.
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	c, err := found(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return w.Bus.consumer(ctx, w.Stream, w.Consumer)
	})
	if err != nil {
		return nil, err
	}
	kv, err := found(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return w.Bus.JS.KeyValue(ctx, BucketAttempts) })
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w: if it is not there, run `gas provision` once", BucketAttempts, err)
	}
	log := w.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &run[E]{
		Worker:   w,
		consumer: c,
		attempts: Attempts{kv: kv, prefix: w.Stream + "." + w.Consumer},
		slots:    make(chan struct{}, max(w.Slots, 1)),
		log:      log.With("stream", w.Stream, "consumer", w.Consumer),
		leases:   map[jetstream.Msg]context.CancelCauseFunc{},
	}
	if queueOfStream(w.Stream).first != "" {
		r.first, err = found(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return w.Bus.consumer(ctx, w.Stream, firstOf(w.Consumer))
		})
		if err != nil {
			return nil, err
		}
	}
	for _, cl := range classes {
		c, err := found(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return w.Bus.consumer(ctx, w.Stream, cl.consumer(w.Consumer))
		})
		if err != nil {
			return nil, err
		}
		r.readers = append(r.readers, &reader[E]{r: r, class: cl, consumer: c})
	}
	return r, nil
}

// startTime bounds the time of a worker's start.
const startTime = time.Minute

// found repeats the lookup until the server has answered. The answer may be that the
// thing does not exist.
func found[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	for {
		tryCtx, cancel := context.WithTimeout(ctx, ackTimeout)
		v, err := look(tryCtx)
		cancel()
		if _, answered := errors.AsType[*jetstream.APIError](err); err == nil || answered && !late(err) || ctx.Err() != nil {
			return v, err
		}
		wait.For(ctx, 500*time.Millisecond)
	}
}

// late reports whether the answer only says that the server cannot answer now.
func late(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code >= 500
}

// fetch passes on up to n messages of a consumer as they come. It returns after n
// messages, or when none came for some time.
func (r *run[E]) fetch(ctx context.Context, c jetstream.Consumer, n int, wait time.Duration, each func(jetstream.Msg)) error {
	if r.Bus.pulls.fail(c.CachedInfo().Name) {
		wait = min(wait, probeWait) // so that it is soon known whether it works again
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// The server sends heartbeats this often. With a wait of 30 s that is every 5 s.
	return r.pass(ctx, c, each)(c.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(wait/6)))
}

// pass passes on the messages of a batch as they come. The end of ctx is no error.
func (r *run[E]) pass(ctx context.Context, c jetstream.Consumer, each func(jetstream.Msg)) func(jetstream.MessageBatch, error) error {
	return func(batch jetstream.MessageBatch, err error) error {
		if err == nil {
			for m := range batch.Messages() {
				each(m)
			}
			if err = batch.Error(); err != nil && ctx.Err() != nil {
				err = nil
			}
		}
		r.Bus.heard(err)
		r.Bus.pulls.heard(c.CachedInfo().Name, err)
		return err
	}
}

// deliver handles a message and settles it. alone is true if the message was fetched under
// caution, see [breaker.note].
func (r *run[E]) deliver(ctx context.Context, m jetstream.Msg, alone bool) {
	began := time.Now()
	meta, err := m.Metadata()
	if err != nil {
		r.log.Error("message without metadata", "subject", m.Subject(), "err", err)
		return
	}
	before := noted(m.Headers())
	if before.Left >= leastLeft && meta.NumDelivered == 1 {
		// The classes in which it waited were together shorter than its delay. The
		// difference is less than the shortest class.
		r.nak(r.log.With("subject", m.Subject(), "seq", meta.Sequence.Stream), m, min(before.Left, classes[0].wait))
		return
	}
	hctx, release := r.hold(ctx, m)
	defer release()

	if meta.NumDelivered >= suspicious {
		err = r.suspect(hctx, meta, before.Attempt)
	}
	if err == nil {
		err = r.handle(hctx, m)
	}

	// The outcome must be reported even after ctx has ended.
	sctx, stop := context.WithTimeout(context.WithoutCancel(ctx), longestStop)
	defer stop()
	outcome := r.settle(sctx, m, meta, err, context.Cause(hctx))
	r.judge(messageID(m, meta), alone, outcome, err)
	r.observed(outcome, fault.KindOf(err), time.Since(began))
}

// messageID returns the id of a message. The id stays the same while the message is put
// aside and brought back.
func messageID(m jetstream.Msg, meta *jetstream.MsgMetadata) string {
	if id := m.Headers().Get(events.HeaderID); id != "" {
		return id
	}
	return LetterID(meta.Sequence.Stream, meta.Timestamp)
}

func (r *run[E]) observed(outcome Outcome, kind fault.Kind, took time.Duration) {
	if r.Observe != nil {
		r.Observe(outcome, kind, took)
	}
}

// suspect records that a delivery begins. It returns an error if too many deliveries
// began and had no outcome. A beginning that could not be recorded does not count: a
// server that is full for an hour must not condemn the messages that wait for it.
func (r *run[E]) suspect(ctx context.Context, meta *jetstream.MsgMetadata, before Attempt) error {
	a, err := r.attempts.load(ctx, meta.Sequence.Stream, meta.Timestamp, before)
	if err != nil {
		return nil
	}
	if a.Begun >= crashLimit {
		return fault.Because(fault.Invalid, causeKills, fmt.Errorf("delivered %d times, and %d of them ended without an outcome: its workers die", meta.NumDelivered, a.Begun))
	}
	a.Begun++
	if err := r.attempts.save(ctx, meta.Sequence.Stream, a); err != nil {
		r.log.Debug("beginning not noted", "seq", meta.Sequence.Stream, "err", err)
	}
	return nil
}

// ended removes the record of a delivery that ended without an outcome of the message.
func (r *run[E]) ended(ctx context.Context, meta *jetstream.MsgMetadata, before Attempt) {
	if meta.NumDelivered < suspicious {
		return
	}
	if a, err := r.attempts.load(ctx, meta.Sequence.Stream, meta.Timestamp, before); err == nil && a.Begun > 0 {
		a.Begun--
		if err := r.attempts.save(ctx, meta.Sequence.Stream, a); err != nil {
			r.log.Debug("end not noted", "seq", meta.Sequence.Stream, "err", err)
		}
	}
}

// handle decodes the message and runs the handler. A panic of the handler becomes an
// error.
func (r *run[E]) handle(ctx context.Context, m jetstream.Msg) (err error) {
	ctx, step := trace.Start(trace.In(ctx, m.Headers().Get(events.HeaderTrace)), r.Consumer, r.Consumer+" "+WorkSubject(m.Subject()))
	defer func() { step.Done(err) }()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			r.log.Error("handler panicked", "subject", m.Subject(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	e, err := events.Decode[E](m.Data())
	switch {
	case errors.Is(err, events.ErrNewerVersion):
		// During a rolling update, a newer worker may get the message next.
		return fault.After(fault.Unknown, 30*time.Second, err)
	case err != nil:
		return fault.Because(fault.Invalid, causeNoEvent, err)
	}
	out := stream{bus: r.Bus}
	err = r.Handle(ctx, e, out.emit)
	if ferr := out.flush(ctx); err == nil {
		err = ferr
	}
	return err
}
