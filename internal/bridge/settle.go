package bridge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

// publishAll publishes what arrives, together with whatever else has arrived by
// then, until the channel is closed. It returns when all of it is settled.
func (r *run) publishAll(ctx context.Context) {
	var settling sync.WaitGroup
	defer settling.Wait()
	for batch := range r.arrived {
		batch = r.gather(batch)
		r.publish(ctx, batch, &settling)
	}
}

// gather adds the batches that are waiting, without waiting for more.
func (r *run) gather(batch []queue.Message) []queue.Message {
	for len(batch) <= publishMost-queue.BatchSize {
		select {
		case more, ok := <-r.arrived:
			if !ok {
				return batch
			}
			batch = append(batch, more...)
		default:
			return batch
		}
	}
	return batch
}

// publish stores a batch, or the dead letters of what is not understood in it;
// then the stored messages are deleted. What JetStream does not take stays in hand
// and is tried again, until it does or the drain is stopped.
func (r *run) publish(ctx context.Context, batch []queue.Message, settling *sync.WaitGroup) {
	for again := false; len(batch) > 0; again = true {
		if again && !r.hold() {
			r.Tally.Returned.Add(int64(len(batch)))
			// We stop: another bridge may have it at once.
			r.each(ctx, batch, settling, func(ctx context.Context, receipts []string) { r.giveBack(ctx, receipts, 0) })
			return
		}
		batch = r.try(ctx, batch, again, settling)
	}
}

// try publishes a batch once, settles what can be settled, and returns the messages
// that stay in hand.
func (r *run) try(ctx context.Context, batch []queue.Message, again bool, settling *sync.WaitGroup) []queue.Message {
	es := make([]events.Event, len(batch))
	poison := make([]bool, len(batch))
	for i, m := range batch {
		e, err := r.event(m)
		if err != nil {
			if !again {
				r.Log.Error("message not understood, to the dead letters", "queue", r.Queue.Name(), "message", m.ID, "err", err)
			}
			e, poison[i] = r.deadLetter(m, err), true
		}
		es[i] = e
	}
	duplicates, errs := r.store(ctx, batch, es, poison)
	works := map[string]bool{} // types of events of which one was stored
	for i, e := range es {
		works[e.Type()] = works[e.Type()] || errs[i] == nil
	}

	var stored, held []queue.Message
	failed := map[time.Duration][]queue.Message{}
	var trouble error
	for i, m := range batch {
		switch {
		case errs[i] != nil:
			trouble = errs[i]
			if shared(errs[i], again && works[es[i].Type()]) {
				held = append(held, m)
				continue
			}
			delay := backoff(m.Receives)
			failed[delay] = append(failed[delay], m)
			r.Tally.Returned.Add(1)
			continue
		case poison[i]:
			r.Tally.Quarantined.Add(1)
		case duplicates[i]:
			r.Tally.Duplicate.Add(1)
		default:
			r.Tally.Published.Add(1)
		}
		stored = append(stored, m)
	}
	if trouble != nil {
		r.failed(publishing, trouble)
	} else {
		r.worked(publishing)
	}
	r.each(ctx, stored, settling, r.delete)
	for delay, ms := range failed {
		r.each(ctx, ms, settling, func(ctx context.Context, receipts []string) { r.giveBack(ctx, receipts, delay) })
	}
	return held
}

// store publishes es. An event that can't be one, too large for instance, is
// poison after all: its dead letter is stored in its place.
func (r *run) store(ctx context.Context, batch []queue.Message, es []events.Event, poison []bool) ([]bool, []error) {
	duplicates, errs := r.Publish.Publish(ctx, es)
	for i, m := range batch {
		if errs[i] == nil || poison[i] || !fault.Is(errs[i], fault.Invalid) {
			continue
		}
		r.Log.Error("message cannot be published, to the dead letters", "queue", r.Queue.Name(), "message", m.ID, "err", errs[i])
		poison[i] = true
		ds, es := r.Publish.Publish(ctx, []events.Event{r.deadLetter(m, errs[i])})
		duplicates[i], errs[i] = ds[0], es[0]
	}
	return duplicates, errs
}

// each calls settle for the messages in batches of the queue, a bounded number
// of them at a time, and lets go of them.
func (r *run) each(ctx context.Context, ms []queue.Message, settling *sync.WaitGroup, settle func(context.Context, []string)) {
	for batch := range slices.Chunk(ms, queue.BatchSize) {
		var size int64
		for _, m := range batch {
			size += cost(m)
		}
		// Acquired even if ctx has ended: settling goes on then, for a moment.
		_ = r.calls.Acquire(context.WithoutCancel(ctx), 1)
		settling.Go(func() {
			defer r.hand.Release(size)
			defer r.calls.Release(1)
			settle(ctx, receipts(batch))
		})
	}
}

// settleCall bounds a call that settles messages, and lets it go on for that
// long after a stop.
func settleCall(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// giveBack returns messages. If that fails, the end of their lease does it.
func (r *run) giveBack(ctx context.Context, receipts []string, delay time.Duration) {
	ctx, cancel := settleCall(ctx)
	defer cancel()
	r.forget(receipts) // before the call: an extension would undo it
	for _, err := range r.Queue.Return(ctx, receipts, delay) {
		if err != nil {
			r.Log.Debug("not returned to the queue", "queue", r.Queue.Name(), "err", err)
		}
	}
}

// delete deletes messages, and tries those again that could not be.
func (r *run) delete(ctx context.Context, receipts []string) {
	defer r.forget(receipts)
	for try := range deleteTries {
		var again []string
		var last error
		callCtx, cancel := settleCall(ctx)
		for i, err := range r.Queue.Delete(callCtx, receipts) {
			switch {
			case err == nil:
			case fault.Is(err, fault.NotFound):
				// The lease ended first. The message comes again, and is a duplicate.
				r.Tally.Undeleted.Add(1)
			default:
				again, last = append(again, receipts[i]), err
			}
		}
		cancel()
		if len(again) == 0 {
			r.worked(deleting)
			return
		}
		if try == deleteTries-1 || ctx.Err() != nil {
			r.Tally.Undeleted.Add(int64(len(again)))
			r.failed(deleting, last)
			return
		}
		receipts = again
		wait(ctx, shortestPause<<try)
	}
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

// wait waits for t or until ctx ends.
func wait(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
