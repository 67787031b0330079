package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

// Queue is a durable queue. Batches have up to [queue.BatchSize] messages; the errors
// of a batch are in its order, nil where all is well.
type Queue interface {
	// Name is for logs and dead letters.
	Name() string
	// Receive returns up to [queue.BatchSize] messages, and waits for the first one for
	// up to wait.
	Receive(ctx context.Context, wait time.Duration) ([]queue.Message, error)
	// Delete removes messages for good.
	Delete(ctx context.Context, receipts []string) []error
	// Return gives messages back, to be received again after the delay.
	Return(ctx context.Context, receipts []string, after time.Duration) []error
}

// Publisher stores events. It returns, in the order of es, whether each was a
// duplicate, and the error if it was not stored.
type Publisher interface {
	Publish(ctx context.Context, es []events.Event) (duplicate []bool, errs []error)
}

// Tally counts what became of the messages of a source. received = published +
// duplicate + quarantined + returned, but for messages in hand.
type Tally struct {
	Received, Published, Duplicate, Quarantined, Returned atomic.Int64
}

// Drain moves the messages of one queue into JetStream.
type Drain struct {
	Source  Source
	Queue   Queue
	Publish Publisher
	Now     func() time.Time
	Log     *slog.Logger
	Tally   Tally

	wakeOnce sync.Once
	wake     chan struct{}
	trouble  atomic.Pointer[error]
}

const (
	// longPoll is the longest wait that SQS offers.
	longPoll = 20 * time.Second
	// settleTime is how long a batch may take to be settled after a stop.
	settleTime = 10 * time.Second
	// longestPause is the longest wait between tries while something is down.
	longestPause = 30 * time.Second
	// longestReturn is the longest time that a message is put aside.
	longestReturn = 15 * time.Minute
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

func (d *Drain) setTrouble(err error) {
	if err == nil {
		d.trouble.Store(nil)
	} else {
		d.trouble.Store(&err)
	}
}

// Run moves messages until stop is closed or ctx ends. Whatever goes wrong, it
// waits and goes on.
func (d *Drain) Run(ctx context.Context, stop <-chan struct{}) {
	receiveCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-receiveCtx.Done():
		}
	}()
	failures := 0
	for receiveCtx.Err() == nil {
		batch, err := d.Queue.Receive(receiveCtx, longPoll)
		if receiveCtx.Err() != nil && len(batch) == 0 {
			return
		}
		if err == nil && len(batch) > 0 {
			d.Tally.Received.Add(int64(len(batch)))
			// A batch in hand is settled, come what may.
			settleCtx, done := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
			err = d.settle(settleCtx, batch)
			done()
		}
		d.setTrouble(err)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		pause := min(time.Second<<min(failures-1, 10), longestPause)
		d.Log.Warn("drain pauses", "queue", d.Queue.Name(), "pause", pause, "err", err)
		d.pause(receiveCtx, pause)
	}
}

// settle publishes a batch, and deletes what was stored. It returns an error if
// the trouble is ours and it is wise to pause.
func (d *Drain) settle(ctx context.Context, batch []queue.Message) error {
	es := make([]events.Event, len(batch))
	poison := make([]bool, len(batch))
	for i, m := range batch {
		e, err := d.event(m)
		if err != nil {
			d.Log.Error("message not understood, to the dead letters", "queue", d.Queue.Name(), "message", m.ID, "err", err)
			e, poison[i] = d.deadLetter(m, err), true
		}
		es[i] = e
	}
	duplicates, errs := d.Publish.Publish(ctx, es)

	var stored, failed []string
	var returnAfter time.Duration
	var trouble error
	for i, m := range batch {
		switch {
		case errs[i] != nil:
			trouble = errs[i]
			failed = append(failed, m.Receipt)
			returnAfter = max(returnAfter, backoff(m.Receives))
			d.Tally.Returned.Add(1)
			continue
		case poison[i]:
			d.Tally.Quarantined.Add(1)
		case duplicates[i]:
			d.Tally.Duplicate.Add(1)
		default:
			d.Tally.Published.Add(1)
		}
		stored = append(stored, m.Receipt)
	}
	if len(stored) > 0 {
		for _, err := range d.Queue.Delete(ctx, stored) {
			if err != nil {
				// It comes back, is published under the same id, and deleted then.
				d.Log.Warn("not deleted from the queue", "queue", d.Queue.Name(), "err", err)
				trouble = errors.Join(trouble, err)
			}
		}
	}
	if len(failed) > 0 {
		for _, err := range d.Queue.Return(ctx, failed, returnAfter) {
			if err != nil {
				d.Log.Debug("not returned to the queue", "queue", d.Queue.Name(), "err", err)
			}
		}
	}
	return trouble
}

func (d *Drain) event(m queue.Message) (events.Event, error) {
	n, err := unwrap(m, d.Source.Topic)
	if err != nil {
		return nil, err
	}
	return d.Source.Parse(n)
}

func (d *Drain) deadLetter(m queue.Message, reason error) events.DeadLetter {
	now := d.Now().UTC()
	return events.DeadLetter{
		ID:       m.ID,
		Stream:   "SQS",
		Consumer: d.Queue.Name(),
		Header:   m.Attributes,
		Payload:  []byte(m.Body),
		Reason:   reason.Error(),
		Kind:     fault.Invalid.String(),
		Attempts: max(m.Receives, 1),
		FirstAt:  m.SentAt.UTC(),
		LastAt:   now,
	}
}

// backoff returns for how long a message that could not be stored is put aside.
func backoff(receives int) time.Duration {
	return min(2*time.Second<<min(max(receives-1, 0), 12), longestReturn)
}

// pause waits for t, until ctx ends, or until the drain is woken.
func (d *Drain) pause(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.wakeup():
	case <-ctx.Done():
	}
}
