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

// TTLStore is a key-value bucket with a time to live per value: what web sessions
// are kept in, so that they outlive a restart and all replicas share them. It
// has the methods of Fiber's Storage. Their errors are of kind Transient: the server is
// away, or an operator will mend it.
type TTLStore struct {
	kv  jetstream.KeyValue
	js  jetstream.JetStream
	bus *Bus
}

// OpenTTLStore returns the bucket called name, which provisioning made.
func (b *Bus) OpenTTLStore(ctx context.Context, name string) (*TTLStore, error) {
	kv, err := b.JS.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w: if it is not there, run `gas provision` once", name, err)
	}
	return &TTLStore{kv, b.JS, b}, nil
}

// ttlStoreTime bounds the calls that come without a context.
const ttlStoreTime = 5 * time.Second

// GetWithContext returns the value at key, nil if there is none or it is over.
func (s *TTLStore) GetWithContext(ctx context.Context, key string) ([]byte, error) {
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "get %s: %w", s.kv.Bucket(), err)
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
func (s *TTLStore) SetWithContext(ctx context.Context, key string, val []byte, exp time.Duration) error {
	if key == "" || len(val) == 0 {
		return nil
	}
	v := make([]byte, 8, 8+len(val))
	if exp > 0 {
		binary.BigEndian.PutUint64(v, uint64(time.Now().Add(exp).UnixMilli()))
	}
	if _, err := s.kv.Put(ctx, key, append(v, val...)); err != nil {
		s.bus.heard(err)
		return fault.Errorf(fault.Transient, "set %s: %w", s.kv.Bucket(), err)
	}
	return nil
}

// DeleteWithContext removes the value at key, if there is one.
func (s *TTLStore) DeleteWithContext(ctx context.Context, key string) error {
	if err := s.kv.Purge(ctx, key); err != nil && !errors.Is(err, jetstream.ErrInvalidKey) {
		return fault.Errorf(fault.Transient, "delete %s: %w", s.kv.Bucket(), err)
	}
	return nil
}

// Keys returns the keys that begin with prefix, which ends with a dot and has no
// wildcard; those that were deleted too, until the bucket forgets them.
func (s *TTLStore) Keys(ctx context.Context, prefix string) ([]string, error) {
	st, err := s.js.Stream(ctx, "KV_"+s.kv.Bucket())
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "list %s: %w", s.kv.Bucket(), err)
	}
	subjects := "$KV." + s.kv.Bucket() + "."
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(subjects+prefix+">"))
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "list %s: %w", s.kv.Bucket(), err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, subjects))
	}
	return keys, nil
}

// ResetWithContext is refused: it would sign out everybody.
func (s *TTLStore) ResetWithContext(context.Context) error {
	return fmt.Errorf("reset %s: not done from a service", s.kv.Bucket())
}

// Get is GetWithContext with a time limit.
func (s *TTLStore) Get(key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ttlStoreTime)
	defer cancel()
	return s.GetWithContext(ctx, key)
}

// Set is SetWithContext with a time limit.
func (s *TTLStore) Set(key string, val []byte, exp time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), ttlStoreTime)
	defer cancel()
	return s.SetWithContext(ctx, key, val, exp)
}

// Delete is DeleteWithContext with a time limit.
func (s *TTLStore) Delete(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), ttlStoreTime)
	defer cancel()
	return s.DeleteWithContext(ctx, key)
}

// Reset is ResetWithContext.
func (s *TTLStore) Reset() error { return s.ResetWithContext(context.Background()) }

// Close does nothing: the connection is the bus's.
func (s *TTLStore) Close() error { return nil }
