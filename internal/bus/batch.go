package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// leastBatch is the number of events from which an atomic batch is faster. A batch
	// costs the server a folder and two round trips; see `make bench-bridge`.
	leastBatch = 32
	// mostBatch is below the server's limit for a batch, 1,000 messages.
	mostBatch = 500
	// mostBatchBytes bounds the memory that the server uses for one batch.
	mostBatchBytes = 8 * mib
)

// oneByOne has the server's errors after which the events of a batch should be published
// one by one. With each of these errors, nothing was stored.
var oneByOne = map[jetstream.ErrorCode]bool{
	10174: true, // the stream takes no batches: it was provisioned by an older release
	10201: true, // an id in the batch is stored already
}

// PublishAll publishes all of es. It returns when every event has its answer, and the
// answers are in the order of es.
//
// Many events of one type go as atomic batches: the server stores a batch with one sync
// to the disk, and not with one for each message (ADR 5). The server stores all messages
// of a batch or none. It refuses a batch with an id that is already stored. So events
// that were published a short time ago go message by message. A batch that is refused for
// this reason goes again message by message, and each message gets an answer of its own.
func (b *Bus) PublishAll(ctx context.Context, es []events.Event) ([]Ack, []error) {
	acks, errs := make([]Ack, len(es)), make([]error, len(es))
	msgs := make([]*nats.Msg, len(es))
	var types []string
	batches := map[string][]int{} // by the events' type, places in es
	var single []int
	seen := make(map[string]bool, len(es))
	for i, e := range es {
		m, err := events.Encode(traced(ctx, e))
		if err != nil {
			errs[i] = fault.New(fault.Invalid, err)
			continue
		}
		msgs[i] = &nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data}
		key := e.Type() + " " + e.MessageID()
		if seen[key] || b.recent.has(key) {
			single = append(single, i)
			continue
		}
		seen[key] = true
		if batches[e.Type()] == nil {
			types = append(types, e.Type())
		}
		batches[e.Type()] = append(batches[e.Type()], i)
	}
	for _, typ := range types {
		for places := batches[typ]; len(places) > 0; {
			n := batchLen(msgs, places)
			if n < leastBatch || !b.publishBatch(ctx, msgs, places[:n], acks, errs) {
				single = append(single, places[:n]...)
			}
			places = places[n:]
		}
	}
	futures := make([]future, len(single))
	for j, i := range single {
		futures[j], errs[i] = b.send(msgs[i])
	}
	for j, i := range single {
		if errs[i] == nil {
			acks[i], errs[i] = futures[j].wait(ctx)
		}
	}
	for i, e := range es {
		if errs[i] == nil {
			b.recent.add(e.Type() + " " + e.MessageID())
		}
	}
	return acks, errs
}

// batchLen returns how many of the messages at places fit into one batch: at least one.
func batchLen(msgs []*nats.Msg, places []int) int {
	size := 0
	for n, i := range places {
		size += len(msgs[i].Data)
		if n > 0 && (n == mostBatch || size > mostBatchBytes) {
			return n
		}
	}
	return len(places)
}

// publishBatch publishes the messages at places as one atomic batch and fills
// in their answers. It returns false, and has stored nothing, if the batch was
// refused for one of the reasons in oneByOne.
func (b *Bus) publishBatch(ctx context.Context, msgs []*nats.Msg, places []int, acks []Ack, errs []error) bool {
	batch := make([]*nats.Msg, len(places))
	for j, i := range places {
		// The library writes into the header, and a refused message is sent again.
		h := make(nats.Header, len(msgs[i].Header)+3)
		for k, v := range msgs[i].Header {
			h[k] = v
		}
		batch[j] = &nats.Msg{Subject: msgs[i].Subject, Header: h, Data: msgs[i].Data}
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	ack, err := jetstreamext.PublishMsgBatch(ctx, b.JS, batch)
	if apiErr, ok := errors.AsType[*jetstream.APIError](err); ok && oneByOne[apiErr.ErrorCode] {
		b.heard(err)
		return false
	}
	b.published(err)
	for j, i := range places {
		if err != nil {
			errs[i] = publishError(msgs[i].Subject, err)
			continue
		}
		// A batch's sequences are consecutive; the ack has the last one.
		acks[i] = Ack{Stream: ack.Stream, Sequence: ack.Sequence - uint64(len(places)-1-j)}
	}
	return true
}

// recent remembers the keys that were published a short time ago: at most the newest 2 ×
// halfRecent. It only saves a batch that would be refused. The stream decides.
type recent struct {
	mu       sync.Mutex // guards new and old
	new, old map[string]struct{}
}

const halfRecent = 32 << 10

func (r *recent) has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, inNew := r.new[key]
	_, inOld := r.old[key]
	return inNew || inOld
}

func (r *recent) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.new == nil || len(r.new) >= halfRecent {
		r.old, r.new = r.new, map[string]struct{}{}
	}
	r.new[key] = struct{}{}
}
