package web

import (
	"container/list"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
)

// MemoryStore is a [fiber.Storage] for one process: bounded in entries, with
// the entry that was set longest ago making room, and gone with the process.
// It is safe for concurrent use; make one with [NewMemoryStore].
type MemoryStore struct {
	max int
	now func() time.Time

	// mu guards entries and order.
	mu      sync.Mutex
	entries map[string]*list.Element
	order   *list.List
}

var _ fiber.Storage = (*MemoryStore)(nil)

type memoryEntry struct {
	key     string
	value   []byte
	expires time.Time
}

// NewMemoryStore returns an empty store of at most limit entries, and of at
// least one.
func NewMemoryStore(limit int) *MemoryStore {
	return &MemoryStore{max: max(limit, 1), now: time.Now, entries: make(map[string]*list.Element), order: list.New()}
}

// GetWithContext returns a copy of the value of key, nil if there is none.
func (m *MemoryStore) GetWithContext(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	el, ok := m.entries[key]
	if !ok {
		return nil, nil
	}
	e := el.Value.(memoryEntry)
	if !e.expires.IsZero() && !m.now().Before(e.expires) {
		m.remove(el)
		return nil, nil
	}
	return append([]byte(nil), e.value...), nil
}

// SetWithContext keeps a copy of value for exp, or until it has to make room
// if exp is zero. An empty key or value is ignored, as Fiber wants it.
func (m *MemoryStore) SetWithContext(_ context.Context, key string, value []byte, exp time.Duration) error {
	if key == "" || len(value) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.entries[key]; ok {
		m.remove(el)
	}
	for m.order.Len() >= m.max {
		m.remove(m.order.Front())
	}
	e := memoryEntry{key: key, value: append([]byte(nil), value...)}
	if exp > 0 {
		e.expires = m.now().Add(exp)
	}
	m.entries[key] = m.order.PushBack(e)
	return nil
}

// DeleteWithContext forgets key.
func (m *MemoryStore) DeleteWithContext(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.entries[key]; ok {
		m.remove(el)
	}
	return nil
}

// Keys returns the keys that begin with prefix.
func (m *MemoryStore) Keys(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.entries {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// ResetWithContext forgets everything.
func (m *MemoryStore) ResetWithContext(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.entries)
	m.order.Init()
	return nil
}

func (m *MemoryStore) remove(el *list.Element) {
	delete(m.entries, m.order.Remove(el).(memoryEntry).key)
}

// Get is GetWithContext.
func (m *MemoryStore) Get(key string) ([]byte, error) {
	return m.GetWithContext(context.Background(), key)
}

// Set is SetWithContext.
func (m *MemoryStore) Set(key string, value []byte, exp time.Duration) error {
	return m.SetWithContext(context.Background(), key, value, exp)
}

// Delete is DeleteWithContext.
func (m *MemoryStore) Delete(key string) error {
	return m.DeleteWithContext(context.Background(), key)
}

// Reset is ResetWithContext.
func (m *MemoryStore) Reset() error { return m.ResetWithContext(context.Background()) }

// Close implements [fiber.Storage]; there is nothing to close.
func (m *MemoryStore) Close() error { return nil }
