package web

import (
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// NewFixturePorts returns the ports in memory, for the tests outside of this package.
func NewFixturePorts(t *testing.T) *fixturePorts {
	p := newFixturePorts(t, nil)
	p.healed = func() {}
	return p
}

// AddJob adds a job to the catalog.
func (w *fixturePorts) AddJob(j archive.Job) { w.change(func() { w.jobs[j.ID] = j }) }

// PutObject stores body at the object.
func (w *fixturePorts) PutObject(o archive.Object, body string) {
	w.change(func() { w.objects[o] = body })
}

// Report adds a change to the stream of statuses.
func (w *fixturePorts) Report(e events.StatusChanged) { w.tell(e) }

// GiveUp stores a dead letter.
func (w *fixturePorts) GiveUp(letter events.DeadLetter) { w.giveUp(letter) }

// Remake makes the stream of statuses anew.
func (w *fixturePorts) Remake(incarnation string) { w.remake(incarnation) }

// NewMemoryStore returns the store in memory.
func NewMemoryStore(limit int) SessionStore { return newMemoryStore(limit) }
