package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
)

// Keep is a key-value bucket with a time to live per value: what web sessions
// are kept in, so that they outlive a restart and all replicas share them. It
// has the methods of Fiber's Storage. Their errors are of kind Transient: the server is
// away, or an operator will mend it.
type Keep struct {
	kv  jetstream.KeyValue
	js  jetstream.JetStream
	bus *Bus
}

// OpenKeep returns the bucket called name, which provisioning made.
func (b *Bus) OpenKeep(ctx context.Context, name string) (*Keep, error) {
	kv, err := b.JS.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w: if it is not there, run `gas provision` once", name, err)
	}
	return &Keep{kv, b.JS, b}, nil
}

// keepTime bounds the calls that come without a context.
const keepTime = 5 * time.Second

// GetWithContext returns the value at key, nil if there is none or it is over.
func (k *Keep) GetWithContext(ctx context.Context, key string) ([]byte, error) {
	e, err := k.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "get %s: %w", k.kv.Bucket(), err)
	}
	v := e.Value()
	if len(v) < 8 {
		return nil, nil
	}
	if until := int64(binary.BigEndian.Uint64(v)); until != 0 && time.Now().UnixMilli() >= until {
		return nil, nil
	}
	return v[8:], nil
}

// SetWithContext sets the value at key for the time exp, zero for as long as
// the bucket keeps any. An empty value is not kept.
func (k *Keep) SetWithContext(ctx context.Context, key string, val []byte, exp time.Duration) error {
	if key == "" || len(val) == 0 {
		return nil
	}
	v := make([]byte, 8, 8+len(val))
	if exp > 0 {
		binary.BigEndian.PutUint64(v, uint64(time.Now().Add(exp).UnixMilli()))
	}
	if _, err := k.kv.Put(ctx, key, append(v, val...)); err != nil {
		k.bus.heard(err)
		return fault.Errorf(fault.Transient, "set %s: %w", k.kv.Bucket(), err)
	}
	return nil
}

// DeleteWithContext removes the value at key, if there is one.
func (k *Keep) DeleteWithContext(ctx context.Context, key string) error {
	if err := k.kv.Purge(ctx, key); err != nil && !errors.Is(err, jetstream.ErrInvalidKey) {
		return fault.Errorf(fault.Transient, "delete %s: %w", k.kv.Bucket(), err)
	}
	return nil
}

// Keys returns the keys that begin with prefix, which ends with a dot and has no
// wildcard; those that were deleted too, until the bucket forgets them.
func (k *Keep) Keys(ctx context.Context, prefix string) ([]string, error) {
	st, err := k.js.Stream(ctx, "KV_"+k.kv.Bucket())
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "list %s: %w", k.kv.Bucket(), err)
	}
	subjects := "$KV." + k.kv.Bucket() + "."
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(subjects+prefix+">"))
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "list %s: %w", k.kv.Bucket(), err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, subjects))
	}
	return keys, nil
}

// ResetWithContext is refused: it would sign out everybody.
func (k *Keep) ResetWithContext(context.Context) error {
	return fmt.Errorf("reset %s: not done from a service", k.kv.Bucket())
}

// Get is GetWithContext with a time limit.
func (k *Keep) Get(key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keepTime)
	defer cancel()
	return k.GetWithContext(ctx, key)
}

// Set is SetWithContext with a time limit.
func (k *Keep) Set(key string, val []byte, exp time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), keepTime)
	defer cancel()
	return k.SetWithContext(ctx, key, val, exp)
}

// Delete is DeleteWithContext with a time limit.
func (k *Keep) Delete(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), keepTime)
	defer cancel()
	return k.DeleteWithContext(ctx, key)
}

// Reset is ResetWithContext.
func (k *Keep) Reset() error { return k.ResetWithContext(context.Background()) }

// Close does nothing: the connection is the bus's.
func (k *Keep) Close() error { return nil }
