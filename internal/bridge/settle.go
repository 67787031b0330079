package bridge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// publishAll publishes the batches that arrive until the channel is closed. It adds
// everything that has arrived meanwhile. It returns when all messages are settled.
func (r *run) publishAll(ctx context.Context) {
	var settling sync.WaitGroup
	defer settling.Wait()
	for batch := range r.arrived {
		batch = r.gather(batch)
		r.publish(ctx, batch, &settling)
	}
}

// gather adds the batches that have arrived, and waits for no more.
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

// parcel is a received message and the event that is published for it.
type parcel struct {
	queue.Message
	event events.Event
	// poison is true if the event is the dead letter of a message that the bridge does
	// not understand.
	poison bool
}

// publish stores the events of a batch, or dead letters for messages that the bridge does
// not understand. Then it deletes the stored messages. It keeps the messages that
// JetStream did not take and tries again, until it succeeds or the drain stops. It
// deletes foreign messages at once.
func (r *run) publish(ctx context.Context, batch []queue.Message, settling *sync.WaitGroup) {
	parcels, foreign := r.read(batch)
	r.each(ctx, foreign, settling, r.delete)
	for again := false; len(parcels) > 0; again = true {
		if again && !r.hold() {
			r.Tally.Returned.Add(int64(len(parcels)))
			// The drain stops: another bridge may have the messages at once.
			r.each(ctx, messages(parcels), settling, func(ctx context.Context, receipts []string) { r.giveBack(ctx, receipts, 0) })
			return
		}
		parcels = r.try(ctx, parcels, again, settling)
	}
}

// read makes an event of each message, and sorts out the messages that are certainly not
// for us.
func (r *run) read(batch []queue.Message) (parcels []parcel, foreign []queue.Message) {
	for _, m := range batch {
		e, err := r.event(m)
		if other, ok := errors.AsType[*NotOurs](err); ok {
			r.Log.Info("message dropped: not for us", "queue", r.Queue.Name(), "message", m.ID, "what", other.Kind, "err", err)
			r.Tally.Foreign[other.Kind].Add(1)
			foreign = append(foreign, m)
			continue
		}
		if err != nil {
			r.Log.Error("message not understood: it becomes a dead letter", "queue", r.Queue.Name(), "message", m.ID, "err", err)
			e = r.deadLetter(m, err)
		}
		parcels = append(parcels, parcel{m, e, err != nil})
	}
	return parcels, foreign
}

// try publishes a batch once, settles what it can, and returns the messages that must
// wait.
func (r *run) try(ctx context.Context, batch []parcel, again bool, settling *sync.WaitGroup) (held []parcel) {
	duplicates, errs := r.store(ctx, batch)
	works := map[string]bool{} // types of events that were stored at least once
	for i, p := range batch {
		works[p.event.Type()] = works[p.event.Type()] || errs[i] == nil
	}
	var stored []queue.Message
	failed := map[time.Duration][]queue.Message{}
	var trouble error
	for i, p := range batch {
		switch {
		case errs[i] != nil:
			trouble = errs[i]
			if shared(errs[i], again && works[p.event.Type()]) {
				held = append(held, p)
				continue
			}
			delay := backoff(p.Receives)
			failed[delay] = append(failed[delay], p.Message)
			r.Tally.Returned.Add(1)
			continue
		case p.poison:
			r.Tally.Quarantined.Add(1)
		case duplicates[i]:
			r.Tally.Duplicate.Add(1)
		default:
			r.Tally.Published.Add(1)
		}
		if r.OnStored != nil && !p.SentAt.IsZero() {
			r.OnStored(r.Now().Sub(p.SentAt))
		}
		stored = append(stored, p.Message)
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

// store publishes the events of the parcels. If an event can never be stored, because it
// is too large for example, its dead letter is stored in its place.
func (r *run) store(ctx context.Context, batch []parcel) ([]bool, []error) {
	es := make([]events.Event, len(batch))
	for i, p := range batch {
		es[i] = p.event
	}
	duplicates, errs := r.Publish.Publish(ctx, es)
	for i := range batch {
		p := &batch[i]
		if errs[i] == nil || p.poison || !fault.Is(errs[i], fault.Invalid) {
			continue
		}
		r.Log.Error("message cannot be published: it becomes a dead letter", "queue", r.Queue.Name(), "message", p.ID, "err", errs[i])
		p.event, p.poison = r.deadLetter(p.Message, errs[i]), true
		ds, es := r.Publish.Publish(ctx, []events.Event{p.event})
		duplicates[i], errs[i] = ds[0], es[0]
	}
	return duplicates, errs
}

func messages(parcels []parcel) []queue.Message {
	ms := make([]queue.Message, len(parcels))
	for i, p := range parcels {
		ms[i] = p.Message
	}
	return ms
}

// each calls settle for the messages in batches of the queue. The number of calls at a
// time is bounded. Afterwards the messages no longer count as received and not settled.
func (r *run) each(ctx context.Context, ms []queue.Message, settling *sync.WaitGroup, settle func(context.Context, []string)) {
	for batch := range slices.Chunk(ms, queue.BatchSize) {
		var size int64
		for _, m := range batch {
			size += cost(m)
		}
		// It is acquired even if ctx has ended: settling continues for a moment.
		_ = r.calls.Acquire(context.WithoutCancel(ctx), 1)
		settling.Go(func() {
			defer r.hand.Release(size)
			defer r.calls.Release(1)
			settle(ctx, receipts(batch))
		})
	}
}

// settleCall bounds a call that settles messages. The call may take this long even after
// a stop.
func settleCall(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// giveBack returns messages to the queue. If that fails, they come back when their lease
// ends.
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

// delete deletes messages, and tries again after failures.
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
				// The lease ended first. The message comes again as a duplicate.
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
		wait.For(ctx, shortestPause<<try)
	}
}

func (d *Drain) event(m queue.Message) (events.Event, error) {
	n, err := unwrap(m, d.Source.Topic)
	if err != nil {
		return nil, err
	}
	e, err := d.Source.Parse(n)
	if err != nil {
		return nil, err
	}
	return d.traced(n, e), nil
}

func (d *Drain) deadLetter(m queue.Message, reason error) events.DeadLetter {
	now := d.Now().UTC()
	return events.DeadLetter{
		ID:       m.ID,
		Stream:   events.SourceSQS,
		Consumer: d.Queue.Name(),
		Header:   m.Attributes,
		Payload:  []byte(m.Body),
		Reason:   reason.Error(),
		Kind:     events.DeadKindInvalid,
		Attempts: max(m.Receives, 1),
		FirstAt:  m.SentAt.UTC(),
		LastAt:   now,
	}
}

// backoff returns the delay of a message that goes back because it could not be stored.
func backoff(receives int) time.Duration {
	return min(2*time.Second<<min(max(receives-1, 0), 12), longestReturn)
}
