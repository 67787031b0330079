package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Notes is a key-value bucket for what workers tell each other and themselves
// after a restart. A bucket that is not there, or a server that cannot be
// reached, is an error of each call, of kind Transient: it is looked for again
// each time, so notes work again when it is back.
type Notes struct {
	bus    *Bus
	bucket string
}

// Notes returns the bucket called name, which provisioning makes. It need not be
// there yet.
func (b *Bus) Notes(name string) *Notes { return &Notes{b, name} }

// CheckNotes returns an error if the bucket is not there, or may not be read, and
// says how to make it.
func (b *Bus) CheckNotes(ctx context.Context, name string) error {
	_, _, err := b.Notes(name).Get(ctx, "check")
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (n *Notes) fail(what, key string, err error) error {
	n.bus.heard(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return fault.Errorf(fault.NotFound, "%s %s of bucket %s: %w", what, key, n.bucket, err)
	case errors.Is(err, jetstream.ErrKeyExists):
		return fault.Errorf(fault.Conflict, "%s %s of bucket %s: %w", what, key, n.bucket, err)
	}
	return fault.Errorf(fault.Transient, "%s %s of bucket %s: %w", what, key, n.bucket, err)
}

// open returns the bucket. It is opened once and kept while it serves.
func (n *Notes) open(ctx context.Context) (jetstream.KeyValue, error) {
	n.bus.kvsMu.Lock()
	kv := n.bus.kvs[n.bucket]
	n.bus.kvsMu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := n.bus.JS.KeyValue(ctx, n.bucket)
	if err != nil {
		return nil, fmt.Errorf("%w: if it is not there, run `gas provision` once", err)
	}
	n.bus.kvsMu.Lock()
	defer n.bus.kvsMu.Unlock()
	if n.bus.kvs == nil {
		n.bus.kvs = map[string]jetstream.KeyValue{}
	}
	n.bus.kvs[n.bucket] = kv
	return kv, nil
}

// Get returns the note at key and its revision; an error of kind NotFound if
// there is none.
func (n *Notes) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	kv, err := n.open(ctx)
	if err != nil {
		return nil, 0, n.fail("get", key, err)
	}
	e, err := kv.Get(ctx, key)
	if err != nil {
		return nil, 0, n.fail("get", key, err)
	}
	return e.Value(), e.Revision(), nil
}

// Put writes the note whatever is there.
func (n *Notes) Put(ctx context.Context, key string, note []byte) error {
	kv, err := n.open(ctx)
	if err != nil {
		return n.fail("put", key, err)
	}
	_, err = kv.Put(ctx, key, note)
	return n.fail("put", key, err)
}

// Swap writes the note if the one there has this revision, 0 being none; else the
// error is of kind Conflict.
func (n *Notes) Swap(ctx context.Context, key string, note []byte, revision uint64) error {
	kv, err := n.open(ctx)
	if err != nil {
		return n.fail("swap", key, err)
	}
	if revision == 0 {
		_, err = kv.Create(ctx, key, note)
	} else {
		_, err = kv.Update(ctx, key, note, revision)
	}
	return n.fail("swap", key, err)
}

// Delete removes the note, if there is one.
func (n *Notes) Delete(ctx context.Context, key string) error {
	kv, err := n.open(ctx)
	if err != nil {
		return n.fail("delete", key, err)
	}
	return n.fail("delete", key, kv.Purge(ctx, key))
}

// List yields the notes whose keys match filter, a subject with wildcards. The
// operator alone may list.
func (n *Notes) List(ctx context.Context, filter string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		kv, err := n.open(ctx)
		if err != nil {
			yield(nil, n.fail("list", filter, err))
			return
		}
		w, err := kv.Watch(ctx, filter, jetstream.IgnoreDeletes())
		if err != nil {
			yield(nil, n.fail("list", filter, err))
			return
		}
		defer w.Stop()
		for {
			select {
			case e := <-w.Updates():
				if e == nil || !yield(e.Value(), nil) {
					return // nil says that all there are have come
				}
			case <-ctx.Done():
				yield(nil, n.fail("list", filter, ctx.Err()))
				return
			}
		}
	}
}

// Tasks publishes what a plan consists of.
type Tasks struct{ Bus *Bus }

// Publish returns when all events are stored. It may have stored some when it
// fails: the ids keep a repetition from being stored twice. The error's kind is
// Throttled if a stream is full.
func (t Tasks) Publish(ctx context.Context, es []events.Event) error {
	if len(es) == 0 {
		return nil
	}
	_, errs := t.Bus.PublishAll(ctx, es)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Outstanding returns how many tasks of the user are not done yet; it does not count
// beyond most.
func (t Tasks) Outstanding(ctx context.Context, user events.UserID, most int) (int, error) {
	return t.Bus.Outstanding(ctx, user, most)
}
