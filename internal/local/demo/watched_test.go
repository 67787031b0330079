package demo

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

func TestAFileHasBeenThroughTheStatesBeforeTheOneThatWasTold(t *testing.T) {
	person := stack.Person{ID: "fern", Archived: 3, Size: 10}
	w := newWatched(person, 3)
	at := time.Now()
	id := person.Job("", 1).ID
	for _, c := range []struct {
		state archive.State
		want  Progress
	}{
		{archive.Requested, Progress{Planned: 1, Requested: 1}},
		{archive.Planned, Progress{Planned: 1, Requested: 1}}, // late
		{archive.Copying, Progress{Planned: 1, Requested: 1}},
		{archive.Restored, Progress{Planned: 1, Requested: 1, Ready: 1, Restored: 1, Bytes: 10}},
		{archive.Restored, Progress{Planned: 1, Requested: 1, Ready: 1, Restored: 1, Bytes: 10}}, // again
	} {
		c.want.Files, c.want.TotalBytes = 3, 30
		if got := w.saw(id, c.state, at); got != c.want {
			t.Errorf("after %s: got %+v, want %+v", c.state, got, c.want)
		}
	}
	if got := w.saw("another", archive.Restored, at); got.Restored != 1 {
		t.Errorf("somebody else's file is counted: %+v", got)
	}
	for _, s := range w.steps(at.Add(-time.Second))[:1] {
		if s.Median != 1 || s.Longest != 1 {
			t.Errorf("%s took %+v, want a second", s.Name, s)
		}
	}
}

func TestWatchingCostsTheSameHoweverManyFilesThereAre(t *testing.T) {
	cost := func(files int) float64 {
		person := stack.Person{ID: "fern", Archived: files, Size: 10}
		w := newWatched(person, files)
		id := person.Job("", files/2).ID
		at := time.Now()
		w.saw(id, archive.Planned, at)
		return testing.AllocsPerRun(100, func() { w.saw(id, archive.Planned, at) })
	}
	if few, many := cost(10), cost(10_000); many > few {
		t.Errorf("a change takes %g allocations with 10 files, %g with 10,000", few, many)
	}
}
