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

// TTLStore is a key-value bucket in which each value has a time to live. The site keeps
// its sessions in one and the unfinished sign-ins in another. So both outlive a restart, and
// all replicas share them. An error has the kind Transient: the server does not answer, or
// an operator has to repair it.
type TTLStore struct {
	kv  jetstream.KeyValue
	js  jetstream.JetStream
	bus *Bus
}

// OpenTTLStore returns the bucket with this name. Provisioning makes the bucket.
func (b *Bus) OpenTTLStore(ctx context.Context, name string) (*TTLStore, error) {
	kv, err := b.JS.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w: if it is not there, run `gas provision` once", name, err)
	}
	return &TTLStore{kv, b.JS, b}, nil
}

// Get returns the value at key. It returns nil if there is no value, or if the value's time
// to live is over.
func (s *TTLStore) Get(ctx context.Context, key string) ([]byte, error) {
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

// Set stores value at key for ttl. If ttl is zero, the value lives until the bucket's own
// limit removes it. Set ignores an empty key and an empty value.
func (s *TTLStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if key == "" || len(value) == 0 {
		return nil
	}
	v := make([]byte, 8, 8+len(value))
	if ttl > 0 {
		binary.BigEndian.PutUint64(v, uint64(time.Now().Add(ttl).UnixMilli()))
	}
	if _, err := s.kv.Put(ctx, key, append(v, value...)); err != nil {
		s.bus.heard(err)
		return fault.Errorf(fault.Transient, "set %s: %w", s.kv.Bucket(), err)
	}
	return nil
}

// Delete removes the value at key, if there is one.
func (s *TTLStore) Delete(ctx context.Context, key string) error {
	if err := s.kv.Purge(ctx, key); err != nil && !errors.Is(err, jetstream.ErrInvalidKey) {
		return fault.Errorf(fault.Transient, "delete %s: %w", s.kv.Bucket(), err)
	}
	return nil
}

// Keys returns the keys that begin with prefix. The prefix ends with a dot and has no
// wildcard. A deleted key is in the list until the bucket forgets the key.
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
