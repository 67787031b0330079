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

// KV is a key-value bucket. Workers store there what other workers need, and what they
// need themselves after a restart. If the bucket is missing or the server cannot be
// reached, each call returns an error of kind Transient. Each call looks for the bucket
// again, so it works again when the bucket is back.
type KV struct {
	bus    *Bus
	bucket string
}

// KV returns the bucket called name, which `gas provision` makes. The bucket may still be
// missing.
func (b *Bus) KV(name string) *KV { return &KV{b, name} }

// CheckKV returns an error if the bucket is missing or may not be read. The error says
// how to make it.
func (b *Bus) CheckKV(ctx context.Context, name string) error {
	_, _, err := b.KV(name).Get(ctx, "check")
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (k *KV) fail(what, key string, err error) error {
	k.bus.heard(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return fault.Errorf(fault.NotFound, "%s %s of bucket %s: %w", what, key, k.bucket, err)
	case errors.Is(err, jetstream.ErrKeyExists):
		return fault.Errorf(fault.Conflict, "%s %s of bucket %s: %w", what, key, k.bucket, err)
	}
	return fault.Errorf(fault.Transient, "%s %s of bucket %s: %w", what, key, k.bucket, err)
}

// open returns the bucket. It opens the bucket once and uses it as long as it works.
func (k *KV) open(ctx context.Context) (jetstream.KeyValue, error) {
	k.bus.kvsMu.Lock()
	kv := k.bus.kvs[k.bucket]
	k.bus.kvsMu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := k.bus.JS.KeyValue(ctx, k.bucket)
	if err != nil {
		return nil, fmt.Errorf("%w: if it is not there, run `gas provision` once", err)
	}
	k.bus.kvsMu.Lock()
	defer k.bus.kvsMu.Unlock()
	if k.bus.kvs == nil {
		k.bus.kvs = map[string]jetstream.KeyValue{}
	}
	k.bus.kvs[k.bucket] = kv
	return kv, nil
}

// Get returns the value at key and its revision; an error of kind NotFound if
// there is none.
func (k *KV) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	kv, err := k.open(ctx)
	if err != nil {
		return nil, 0, k.fail("get", key, err)
	}
	e, err := kv.Get(ctx, key)
	if err != nil {
		return nil, 0, k.fail("get", key, err)
	}
	return e.Value(), e.Revision(), nil
}

// Put writes the value over any other.
func (k *KV) Put(ctx context.Context, key string, value []byte) error {
	kv, err := k.open(ctx)
	if err != nil {
		return k.fail("put", key, err)
	}
	_, err = kv.Put(ctx, key, value)
	return k.fail("put", key, err)
}

// Swap writes the value if the stored one has this revision; 0 means that there must be
// none. Otherwise the error is of kind Conflict.
func (k *KV) Swap(ctx context.Context, key string, value []byte, revision uint64) error {
	kv, err := k.open(ctx)
	if err != nil {
		return k.fail("swap", key, err)
	}
	if revision == 0 {
		_, err = kv.Create(ctx, key, value)
	} else {
		_, err = kv.Update(ctx, key, value, revision)
	}
	return k.fail("swap", key, err)
}

// Delete removes the value, if there is one.
func (k *KV) Delete(ctx context.Context, key string) error {
	kv, err := k.open(ctx)
	if err != nil {
		return k.fail("delete", key, err)
	}
	return k.fail("delete", key, kv.Purge(ctx, key))
}

// List yields the values with keys that match filter, which is a subject with wildcards.
// Only the operator may list.
func (k *KV) List(ctx context.Context, filter string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		kv, err := k.open(ctx)
		if err != nil {
			yield(nil, k.fail("list", filter, err))
			return
		}
		w, err := kv.Watch(ctx, filter, jetstream.IgnoreDeletes())
		if err != nil {
			yield(nil, k.fail("list", filter, err))
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
				yield(nil, k.fail("list", filter, ctx.Err()))
				return
			}
		}
	}
}

// Tasks publishes the tasks of a plan.
type Tasks struct{ Bus *Bus }

// Publish returns when all events are stored. If it fails, it may have stored some; their
// ids keep a repetition from being stored twice. The error is of kind Throttled if a
// stream is full.
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

// Outstanding returns how many tasks of the user are not done yet, and at most the number
// most.
func (t Tasks) Outstanding(ctx context.Context, user events.UserID, most int) (int, error) {
	return t.Bus.Outstanding(ctx, user, most)
}
