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
	// Door says for how long there is no use in taking messages, and why; 0 is open. While
	// it is closed nothing is fetched, and what is in hand is finished. It is asked once a
	// second at most, whatever it says, so that one that opens early is noticed. It may be nil.
	Door func() (closed time.Duration, why string)
	// OnCautious is told when the worker begins to handle one message at a time, because so
	// many failed in a row that they must have a cause in common, and when that is over. It
	// may be nil.
	OnCautious func(bool)
	// OnFill is told every minute how much of what the consumer allows is used; it may be nil.
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
	leases.Go(func() { r.watchFill(leaseCtx) })
	defer leases.Wait()
	defer stopLeases()

	var handlers sync.WaitGroup
	defer handlers.Wait()
	for _, rd := range r.readers {
		handlers.Go(func() { rd.run(ctx, fetchCtx) })
	}
	for fetchCtx.Err() == nil {
		r.atDoor(fetchCtx)
		// One free slot at least; then as many as are free.
		if !r.take(fetchCtx) {
			return nil
		}
		free, most := 1, cap(r.slots)
		if d := r.breaker.wait(); d > 0 {
			// Alone: when all others are finished, and one message then.
			for ; free < cap(r.slots) && r.take(fetchCtx); free++ {
			}
			pause(fetchCtx, r.breaker.wait())
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
				r.deliver(ctx, m)
			})
		})
		done()
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

// take takes a slot; false if ctx ended first.
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
	readers  []*reader[E] // of what is put aside, one for each class
	attempts Attempts
	slots    chan struct{}
	breaker  breaker
	log      *slog.Logger

	mu     sync.Mutex // guards leases
	leases map[jetstream.Msg]context.CancelCauseFunc
}

func (w *Worker[E]) start(ctx context.Context) (*run[E], error) {
	// All of them within one minute: where leaders change, the answers of one look may be
	// late, and a worker that stopped for that would have to be started again.
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

// startTime is how long a worker may take to find what it needs.
const startTime = time.Minute

// found looks until the server has answered. That something is not there is an answer.
func found[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	for {
		tryCtx, cancel := context.WithTimeout(ctx, ackTimeout)
		v, err := look(tryCtx)
		cancel()
		if _, answered := errors.AsType[*jetstream.APIError](err); err == nil || answered && !late(err) || ctx.Err() != nil {
			return v, err
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// late reports whether an answer is that of a server which cannot answer now, and not of
// what was asked for.
func late(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code >= 500
}

// fetch passes on up to n messages of a consumer as they come, and returns when it has n,
// or none came for a while.
func (r *run[E]) fetch(ctx context.Context, c jetstream.Consumer, n int, wait time.Duration, each func(jetstream.Msg)) error {
	if r.Bus.pulls.fail(c.CachedInfo().Name) {
		wait = min(wait, probeWait) // so that it is soon known whether it works again
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// The server says this often that it is there; 30 s are told of every 5.
	return r.pass(ctx, c, each)(c.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(wait/6)))
}

// pass passes on the messages of a batch of a consumer as they come. What ended with ctx is
// no error.
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

func (r *run[E]) deliver(ctx context.Context, m jetstream.Msg) {
	began := time.Now()
	meta, err := m.Metadata()
	if err != nil {
		r.log.Error("message without metadata", "subject", m.Subject(), "err", err)
		return
	}
	before := noted(m.Headers())
	if before.Left >= leastLeft && meta.NumDelivered == 1 {
		// The classes that it waited in were shorter than its delay, by less than the
		// shortest of them.
		r.nak(r.log.With("subject", m.Subject(), "seq", meta.Sequence.Stream), m, min(before.Left, classes[0].wait))
		return
	}
	alone := r.breaker.wait() > 0
	hctx, release := r.hold(ctx, m)
	defer release()

	if meta.NumDelivered >= suspicious {
		err = r.suspect(hctx, meta, before.Attempt)
	}
	if err == nil {
		err = r.handle(hctx, m)
	}

	// What became of it is said even if ctx is over.
	sctx, stop := context.WithTimeout(context.WithoutCancel(ctx), longestStop)
	defer stop()
	outcome := r.settle(sctx, m, meta, err, context.Cause(hctx))
	r.judge(messageID(m, meta), alone, outcome, err)
	r.observed(outcome, fault.KindOf(err), time.Since(began))
}

// messageID returns the id of a message, which it keeps while it is put aside and comes back.
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

// suspect notes that a delivery begins, and returns an error if too many began that
// came to nothing. What could not be noted proves nothing: a server that is full for
// an hour must not condemn what it makes wait.
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

// ended takes back the note of a delivery whose end is no outcome of the message.
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
		return fault.Because(fault.Invalid, causeNoEvent, err)
	}
	out := stream{bus: r.Bus}
	err = r.Handle(ctx, e, out.emit)
	if ferr := out.flush(ctx); err == nil {
		err = ferr
	}
	return err
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
