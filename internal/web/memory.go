package web

import (
	"container/list"
	"context"
	"strings"
	"sync"
	"time"
)

// memoryStore is a [SessionStore] in memory. A site uses it if Deps has no store. The number
// of entries is bounded: a new entry replaces the entry that was set longest ago. It is safe for concurrent use. Make one with newMemoryStore.
type memoryStore struct {
	max int
	now func() time.Time

	// mu guards entries and order.
	mu      sync.Mutex
	entries map[string]*list.Element
	order   *list.List
}

var _ SessionStore = (*memoryStore)(nil)

type memoryEntry struct {
	key     string
	value   []byte
	expires time.Time
}

// newMemoryStore returns an empty store that keeps up to limit entries, and at least one.
func newMemoryStore(limit int) *memoryStore {
	return &memoryStore{max: max(limit, 1), now: time.Now, entries: make(map[string]*list.Element), order: list.New()}
}

// Get returns a copy of the value at key, or nil if there is none.
func (m *memoryStore) Get(_ context.Context, key string) ([]byte, error) {
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

// Set keeps a copy of value for ttl, or until the entry has to make room if ttl is zero. It
// ignores an empty key and an empty value.
func (m *memoryStore) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
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
	if ttl > 0 {
		e.expires = m.now().Add(ttl)
	}
	m.entries[key] = m.order.PushBack(e)
	return nil
}

// Delete forgets key.
func (m *memoryStore) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.entries[key]; ok {
		m.remove(el)
	}
	return nil
}

// Keys returns the keys that begin with prefix.
func (m *memoryStore) Keys(_ context.Context, prefix string) ([]string, error) {
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

func (m *memoryStore) remove(el *list.Element) {
	delete(m.entries, m.order.Remove(el).(memoryEntry).key)
}
