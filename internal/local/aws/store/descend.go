package store

// Descend calls f for the rows from key on (inclusive) down to the first,
// until f returns false. f must not call methods of the same table that change it.
func (t *Table[V]) Descend(from string, f func(key string, v V) bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.rows.Descend(from, f)
}
