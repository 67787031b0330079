// Package store keeps the stand-in's state: ordered tables in memory, and in a
// directory a journal from which they are the same after a restart.
//
// Every change is written to the journal before the call returns, with one
// write(2): a killed process loses nothing it has answered for. The journal is
// not synced to disk, a power cut may cost the last changes; the stand-in
// promises no more than that. Opening compacts.
package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidwall/btree"
)

// DB is a set of tables. Close it when done.
type DB struct {
	dir string

	mu      sync.Mutex      // guards what follows
	tables  map[string]bool // names that are taken
	journal *os.File
	// replayed holds the rows found at Open until their table is made.
	replayed map[string]map[string]json.RawMessage
	failed   error
}

type record struct {
	Table string          `json:"t"`
	Key   string          `json:"k"`
	Value json.RawMessage `json:"v,omitempty"` // absent: deleted
}

const journalName = "state.jsonl"

// Open returns the database in dir, which is made if it is not there. With an
// empty dir nothing is kept beyond the process.
func Open(dir string) (*DB, error) {
	db := &DB{dir: dir, tables: map[string]bool{}, replayed: map[string]map[string]json.RawMessage{}}
	if dir == "" {
		return db, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := db.replay(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := db.compact(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

// Dir returns the directory that the database is in, empty if it is in memory.
func (db *DB) Dir() string { return db.dir }

func (db *DB) replay() error {
	f, err := os.Open(filepath.Join(db.dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			// A line without its end was being written when the process died:
			// nobody was told that it happened.
			return nil
		}
		if err != nil {
			return err
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("%s line %d: %w", journalName, n, err)
		}
		rows := db.replayed[rec.Table]
		if rows == nil {
			rows = map[string]json.RawMessage{}
			db.replayed[rec.Table] = rows
		}
		if rec.Value == nil {
			delete(rows, rec.Key)
		} else {
			rows[rec.Key] = rec.Value
		}
	}
}

func (db *DB) compact() error {
	tmp := filepath.Join(db.dir, journalName+".new")
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for name, rows := range db.replayed {
		for key, value := range rows {
			line, err := encode(record{name, key, value})
			if err == nil {
				_, err = w.Write(line)
			}
			if err != nil {
				f.Close()
				return err
			}
		}
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	if err := os.Rename(tmp, filepath.Join(db.dir, journalName)); err != nil {
		f.Close()
		return err
	}
	db.journal = f
	return nil
}

// Close ends the journal. Changes after it are kept in memory only.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.journal == nil {
		return nil
	}
	err := db.journal.Close()
	db.journal = nil
	return err
}

// Err returns the first error of writing the journal; nil if all is well.
func (db *DB) Err() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.failed
}

func (db *DB) append(rec record) {
	if db.dir == "" {
		return
	}
	line, err := encode(rec)
	db.mu.Lock()
	defer db.mu.Unlock()
	if err == nil && db.journal != nil {
		_, err = db.journal.Write(line)
	}
	if err != nil && db.failed == nil {
		db.failed = fmt.Errorf("write %s: %w", journalName, err)
	}
}

func encode(rec record) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rec); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Table is an ordered map from a string to a V. The caller must not change a V after Put:
// it must put another one. Methods may be called at the same time. A caller that relies
// on two calls together needs a lock of its own.
type Table[V any] struct {
	db   *DB
	name string

	mu   sync.RWMutex // guards rows
	rows btree.Map[string, V]
}

// NewTable returns the table called name, with the rows that the journal had.
// Name a table once: a second NewTable of the same name panics.
func NewTable[V any](db *DB, name string) (*Table[V], error) {
	t := &Table[V]{db: db, name: name}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tables[name] {
		panic("store: table " + name + " made twice")
	}
	for key, raw := range db.replayed[name] {
		var v V
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Errorf("table %s, key %q: %w", name, key, err)
		}
		t.rows.Set(key, v)
	}
	delete(db.replayed, name)
	db.tables[name] = true
	return t, nil
}

// Get returns the row at key.
func (t *Table[V]) Get(key string) (V, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.Get(key)
}

// Put sets the row at key.
func (t *Table[V]) Put(key string, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows.Set(key, v)
	if t.db.dir == "" {
		return
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: table %s: %v", t.name, err)) // V is not JSON: a programmer's mistake
	}
	t.db.append(record{t.name, key, raw})
}

// Delete removes the row at key, if there is one.
func (t *Table[V]) Delete(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.rows.Delete(key); ok {
		t.db.append(record{Table: t.name, Key: key})
	}
}

// Len returns the number of rows.
func (t *Table[V]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.Len()
}

// Ascend calls f for the rows from key on (inclusive), in order of their keys,
// until f returns false. f must not call methods of the same table that change it.
func (t *Table[V]) Ascend(from string, f func(key string, v V) bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.rows.Ascend(from, f)
}

// Prefix returns the rows with keys that begin with prefix, in order.
func (t *Table[V]) Prefix(prefix string) []V {
	var out []V
	t.Ascend(prefix, func(key string, v V) bool {
		if len(key) < len(prefix) || key[:len(prefix)] != prefix {
			return false
		}
		out = append(out, v)
		return true
	})
	return out
}
