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

	"github.com/gas-restore/gas/internal/outage"
	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// Queue is a durable queue. A batch has up to [queue.BatchSize] messages. The errors of a
// batch are in the order of its messages, nil for success.
type Queue interface {
	// Name is the queue's name in logs and dead letters.
	Name() string
	// Receive lends up to [queue.BatchSize] messages for the length of the lease. It
	// waits up to wait for the first message.
	Receive(ctx context.Context, wait, lease time.Duration) ([]queue.Message, error)
	// Delete removes messages for good. The error is [fault.NotFound] if the lease of a
	// message has ended.
	Delete(ctx context.Context, receipts []string) []error
	// Return gives messages back to the queue, which hands them out again after the
	// delay.
	Return(ctx context.Context, receipts []string, after time.Duration) []error
	// Extend makes the leases of messages end after lease from now.
	Extend(ctx context.Context, receipts []string, lease time.Duration) []error
}

// Publisher stores events.
type Publisher interface {
	// Publish returns, in the order of es, whether each event was a duplicate, and the
	// error if it was not stored: [fault.Invalid] if it can never be stored,
	// [fault.Throttled] if there is no room.
	Publish(ctx context.Context, es []events.Event) (duplicate []bool, errs []error)
	// Look returns an error if JetStream would store no event at all.
	Look(ctx context.Context) error
}

// Tally counts the outcomes of a source's messages. received = published + duplicate +
// quarantined + returned + all kinds of foreign + in flight.
type Tally struct {
	Received, Published, Duplicate, Quarantined, Returned atomic.Int64
	// Foreign counts messages that are certainly not for us. They are dropped.
	Foreign [foreignKinds]atomic.Int64
	// Extended counts renewed leases. Undeleted counts messages that were stored and
	// could not be deleted: they come again, as duplicates.
	Extended, Undeleted atomic.Int64
	// Receives counts the calls that receive, with those that returned nothing. It shows
	// what an idle queue costs.
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
// Receivers, publishers and deleters work at the same time. One receive is in flight
// while the queue is idle. Each full answer doubles their number, up to Width, and an
// empty answer reduces it. The bytes of messages that are received and not settled are
// bounded, and their leases are renewed.
//
// A queue with a redrive policy counts how often a message was received, whatever
// happened then. So the drain receives nothing while JetStream stores nothing, and keeps
// the messages that it has. An outage costs a message at most one receive.
type Drain struct {
	Source  Source
	Queue   Queue
	Publish Publisher
	Now     func() time.Time
	Log     *slog.Logger
	// Width is the greatest number of receives in flight; zero means 32.
	Width int
	// Lease is the length of a message's lease in whole seconds; zero means 30 s. After a
	// crash, the messages come again at the end of the lease. A living bridge renews it
	// three times in that time.
	Lease time.Duration
	// OnStored is called for each stored message, with the time since it was sent to the
	// queue. It may be nil.
	OnStored func(age time.Duration)
	Tally    Tally

	wakeOnce sync.Once
	wake     chan struct{}
	trouble  atomic.Pointer[error]
}

const (
	defaultWidth = 32
	// longPoll is the longest wait that SQS offers.
	longPoll     = 20 * time.Second
	defaultLease = 30 * time.Second
	// settleTime is how long the received messages may take to be settled after a stop.
	settleTime = 8 * time.Second
	// shortestPause and longestPause bound the pause between two tries while something is
	// down.
	shortestPause = 100 * time.Millisecond
	longestPause  = 30 * time.Second
	// longestReturn is the longest delay of a message that goes back to its queue.
	longestReturn = 15 * time.Minute

	// handBytes bounds the messages that are received and not settled. In addition, each
	// receive in flight may bring one batch.
	handBytes = 24 << 20
	// messageCost is the memory of a message without its body.
	messageCost = 3 << 10
	// publishMost is the greatest number of messages in one publication.
	publishMost = 500
	// Several publishers overlap: one encodes the next batch while another waits for its
	// answer.
	publishers = 2
	// deletes is the greatest number of calls in flight that delete or return messages.
	deletes = 32
	// deleteTries is the number of tries of a deletion, each with the SDK's own tries.
	deleteTries = 3
)

func (d *Drain) wakeup() chan struct{} {
	d.wakeOnce.Do(func() { d.wake = make(chan struct{}, 1) })
	return d.wake
}

// Wake makes Run receive at once if it pauses after trouble. Otherwise its long poll is
// already waiting, and SQS answers it when a message comes. Several calls during one
// receive cause one more receive.
func (d *Drain) Wake() {
	select {
	case d.wakeup() <- struct{}{}:
	default:
	}
}

// Ready returns the drain's current trouble, nil if it works.
func (d *Drain) Ready(context.Context) error {
	if p := d.trouble.Load(); p != nil {
		return fmt.Errorf("%s queue: %w", d.Source.Name, *p)
	}
	return nil
}

// Run moves messages until stop is closed or ctx ends. Then it settles the messages that
// it has. After an error it waits and continues.
func (d *Drain) Run(ctx context.Context, stop <-chan struct{}) {
	receiveCtx, cancel := wait.Until(ctx, stop)
	defer cancel()
	// The received messages are settled after a stop too.
	settleCtx, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	context.AfterFunc(receiveCtx, func() { time.AfterFunc(settleTime, give) })
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

// run is the shared state of one call of Run.
type run struct {
	*Drain
	lease time.Duration
	limit int                 // of width
	hand  *semaphore.Weighted // bytes of the messages that are received and not settled
	calls *semaphore.Weighted // calls that settle messages
	// arrived has room for as many full batches as hand allows. So receiving continues
	// while the publishers are busy, and the waiting messages are published together.
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
		log      outage.Log
	}
	notUntil time.Time       // no receive starts before this time
	loans    map[string]loan // of the messages that are received and not settled, by receipt
}

// received changes the number of receives after an answer of n messages.
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

// next returns true when one more receive may start, and whether it is the only one.
// Otherwise it returns how long to wait, or 0 until a receive ends.
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

// receiveAll keeps receives in flight until ctx ends. It returns when the last one has
// ended.
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

// receive makes one call and passes its messages on. A receive that is alone waits for
// messages. The others exist only for a backlog, and return at once when there is none.
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

// cost is the part of [handBytes] that a message uses. A whole batch always fits.
func cost(m queue.Message) int64 { return int64(min(len(m.Body), maxMessage)) + messageCost }

func receipts(ms []queue.Message) []string {
	rs := make([]string, len(ms))
	for i, m := range ms {
		rs[i] = m.Receipt
	}
	return rs
}
