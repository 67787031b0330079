package bridge

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

// Queue is a durable queue. Batches have up to [queue.BatchSize] messages; the errors
// of a batch are in its order, nil where all is well.
type Queue interface {
	// Name is for logs and dead letters.
	Name() string
	// Receive lends up to [queue.BatchSize] messages for the time of the lease, and
	// waits for the first one for up to wait.
	Receive(ctx context.Context, wait, lease time.Duration) ([]queue.Message, error)
	// Delete removes messages for good. A message that is not lent any more is
	// [fault.NotFound].
	Delete(ctx context.Context, receipts []string) []error
	// Return gives messages back, to be received again after the delay.
	Return(ctx context.Context, receipts []string, after time.Duration) []error
	// Extend makes the lease of messages end after lease from now.
	Extend(ctx context.Context, receipts []string, lease time.Duration) []error
}

// Publisher stores events.
type Publisher interface {
	// Publish returns, in the order of es, whether each was a duplicate, and the error
	// if it was not stored: [fault.Invalid] for an event that never will be,
	// [fault.Throttled] for one for which there is no room.
	Publish(ctx context.Context, es []events.Event) (duplicate []bool, errs []error)
	// Look returns an error if nothing would be stored, whatever it is.
	Look(ctx context.Context) error
}

// Tally counts what became of the messages of a source. received = published +
// duplicate + quarantined + returned + all that is foreign, but for those in hand.
type Tally struct {
	Received, Published, Duplicate, Quarantined, Returned atomic.Int64
	// Foreign counts what was certainly not for us, and is dropped.
	Foreign [foreignKinds]atomic.Int64
	// Extended counts renewed leases, Undeleted the messages that were stored and
	// could not be deleted: they come again, as duplicates.
	Extended, Undeleted atomic.Int64
	// Receives counts the calls to receive, empty answers included: what an idle
	// queue costs.
	Receives atomic.Int64
}

// InHand returns how many messages are received and not settled.
func (t *Tally) InHand() int64 {
	settled := t.Published.Load() + t.Duplicate.Load() + t.Quarantined.Load() + t.Returned.Load()
	for i := range t.Foreign {
		settled += t.Foreign[i].Load()
	}
	return t.Received.Load() - settled
}

// Drain moves the messages of one queue into JetStream.
//
// Receivers, publishers and deleters overlap. One receive is in flight while the
// queue is idle; each full answer doubles them, up to Width, and an empty one
// brings them down again. Messages that are received and not settled are bounded
// by their bytes, and their leases are renewed.
//
// A queue with a redrive policy counts how often a message was received, not what came
// of it. So nothing is received while nothing can be stored, and what is in hand then
// stays there until it can be: an outage costs a message one receive at most.
type Drain struct {
	Source  Source
	Queue   Queue
	Publish Publisher
	Now     func() time.Time
	Log     *slog.Logger
	// Width is the most receives that are in flight; zero is 32.
	Width int
	// Lease is for how long a message is lent, in whole seconds; zero is 30 s. After
	// a crash its messages are seen again when it ends; a living bridge renews it
	// three times as often.
	Lease time.Duration
	Tally Tally

	wakeOnce sync.Once
	wake     chan struct{}
	trouble  atomic.Pointer[error]
}

const (
	defaultWidth = 32
	// longPoll is the longest wait that SQS offers.
	longPoll     = 20 * time.Second
	defaultLease = 30 * time.Second
	// settleTime is how long what is in hand may take to be settled after a stop.
	settleTime = 8 * time.Second
	// shortestPause and longestPause are the waits between tries while something
	// is down.
	shortestPause = 100 * time.Millisecond
	longestPause  = 30 * time.Second
	// longestReturn is the longest time that a message is put aside.
	longestReturn = 15 * time.Minute

	// handBytes bounds the messages in hand; one more batch for each receive in
	// flight comes on top.
	handBytes = 24 << 20
	// messageCost is what a message takes beside its body.
	messageCost = 3 << 10
	// publishMost is how many messages are published together.
	publishMost = 500
	// publishers overlap, so that the next batch is encoded while one is stored.
	publishers = 2
	// deletes is how many calls that delete or return are in flight.
	deletes = 32
	// deleteTries is how often a deletion is tried here, on top of the SDK's tries.
	deleteTries = 3
)

func (d *Drain) wakeup() chan struct{} {
	d.wakeOnce.Do(func() { d.wake = make(chan struct{}, 1) })
	return d.wake
}

// Wake makes Run look at the queue at once, should it be pausing after trouble;
// otherwise its long poll is waiting there already, and SQS answers that as soon
// as there is a message. Any number of calls during one look lead to one more.
func (d *Drain) Wake() {
	select {
	case d.wakeup() <- struct{}{}:
	default:
	}
}

// Ready returns the error that keeps the drain from working, nil if it works.
func (d *Drain) Ready(context.Context) error {
	if p := d.trouble.Load(); p != nil {
		return fmt.Errorf("%s queue: %w", d.Source.Name, *p)
	}
	return nil
}

// Run moves messages until stop is closed or ctx ends; then what is in hand is
// settled. Whatever goes wrong, it waits and goes on.
func (d *Drain) Run(ctx context.Context, stop <-chan struct{}) {
	receiveCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	// What is in hand is settled after a stop too.
	settleCtx, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	context.AfterFunc(receiveCtx, func() { time.AfterFunc(settleTime, give) })
	go func() {
		select {
		case <-stop:
			cancel()
		case <-receiveCtx.Done():
		}
	}()
	d.trouble.Store(nil)
	r := &run{
		Drain:   d,
		lease:   cmp.Or(d.Lease, defaultLease),
		limit:   cmp.Or(d.Width, defaultWidth),
		width:   1,
		hand:    semaphore.NewWeighted(handBytes),
		calls:   semaphore.NewWeighted(deletes),
		arrived: make(chan []queue.Message, handBytes/(queue.BatchSize*messageCost)),
		changed: make(chan struct{}, 1),
		loans:   map[string]loan{},
		stopped: receiveCtx.Done(),
	}
	var settling sync.WaitGroup
	for range publishers {
		settling.Go(func() { r.publishAll(settleCtx) })
	}
	keepCtx, done := context.WithCancel(settleCtx)
	keeping := make(chan struct{})
	go func() { defer close(keeping); r.keepLeases(keepCtx) }()

	r.receiveAll(receiveCtx, settleCtx)
	close(r.arrived)
	settling.Wait()
	done()
	<-keeping
}

// run is what one Run of a drain shares.
type run struct {
	*Drain
	lease time.Duration
	limit int                 // of width
	hand  *semaphore.Weighted // bytes of the messages in hand
	calls *semaphore.Weighted // calls that settle messages
	// arrived has room for all that hand allows in full batches: receiving goes on
	// while publishers are busy, and what piles up is published together.
	arrived chan []queue.Message
	changed chan struct{} // a receive ended, or the pace changed
	stopped <-chan struct{}

	mu       sync.Mutex // guards what follows
	width    int        // receives that may be in flight
	inFlight int
	stages   [4]struct {
		failures int       // in a row
		until    time.Time // the end of the last pause
		err      error
	}
	notUntil time.Time       // nothing is received before that
	loans    map[string]loan // of the messages in hand, by receipt
}

// received sets the pace after an answer of n messages.
func (r *run) received(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n {
	case queue.BatchSize:
		r.width = min(r.width*2, r.limit)
	case 0:
		r.width = 1
	default:
		r.width = max(r.width/2, 1)
	}
}

// next returns true when one more receive may start, and whether it is the only
// one; else for how long there is nothing to do, or 0 until a receive ends.
func (r *run) next() (start, only bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inFlight >= r.width || r.full() {
		return false, false, 0
	}
	if wait := time.Until(r.notUntil); wait > 0 {
		return false, false, wait
	}
	r.inFlight++
	return true, r.inFlight == 1, 0
}

// receiveAll keeps receives in flight until ctx ends, and returns when the last
// has ended.
func (r *run) receiveAll(ctx, settleCtx context.Context) {
	var receiving sync.WaitGroup
	defer receiving.Wait()
	for ctx.Err() == nil {
		start, only, wait := r.next()
		if start {
			receiving.Go(func() {
				r.receive(ctx, settleCtx, only)
				r.nudge()
			})
			continue
		}
		var timer <-chan time.Time
		var woken <-chan struct{}
		if wait > 0 {
			timer, woken = time.After(wait), r.wakeup()
		}
		select {
		case <-ctx.Done():
		case <-r.changed:
		case <-timer:
		case <-woken:
			r.mu.Lock()
			r.notUntil = time.Time{}
			r.mu.Unlock()
		}
	}
}

// receive makes one call and hands its messages on. Only the one that is alone
// waits for messages: the others are there for a backlog, and return at once when
// there is none.
func (r *run) receive(ctx, settleCtx context.Context, only bool) {
	defer func() {
		r.mu.Lock()
		r.inFlight--
		r.mu.Unlock()
	}()
	if err := r.Publish.Look(ctx); err != nil {
		if ctx.Err() == nil {
			r.failed(looking, err)
		}
		return
	}
	r.worked(looking)
	wait := longPoll
	if !only {
		wait = 0
	}
	r.Tally.Receives.Add(1)
	batch, err := r.Queue.Receive(ctx, wait, r.lease)
	if err != nil {
		if ctx.Err() == nil {
			r.failed(receiving, err)
		}
		return
	}
	r.worked(receiving)
	r.received(len(batch))
	if len(batch) == 0 {
		return
	}
	r.Tally.Received.Add(int64(len(batch)))
	r.lend(batch)
	var size int64
	for _, m := range batch {
		size += cost(m)
	}
	if r.hand.Acquire(settleCtx, size) != nil {
		r.Tally.Returned.Add(int64(len(batch)))
		r.giveBack(settleCtx, receipts(batch), 0)
		return
	}
	r.arrived <- batch
}

// cost is what a message takes of [handBytes]: a whole batch always fits.
func cost(m queue.Message) int64 { return int64(min(len(m.Body), maxMessage)) + messageCost }

func receipts(ms []queue.Message) []string {
	rs := make([]string, len(ms))
	for i, m := range ms {
		rs[i] = m.Receipt
	}
	return rs
}
