package demo

import (
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/pkg/events"
)

// watched is the progress of the files, from the status stream. The cost of one more
// change does not depend on the number of files.
type watched struct {
	files map[events.JobID]*file
	// progress counts the files.
	progress Progress
}

// file is a file on its way back.
type file struct {
	size int64
	// seen has the time at which the file first came to each state. way is the number of
	// states that it has passed, or is in.
	seen map[archive.State]time.Time
	way  int
}

// way returns the states in which a file comes back. A file in one state has passed all
// states before, even if nobody reported them.
func way() []archive.State {
	return []archive.State{archive.Planned, archive.Requested, archive.Ready, archive.Restored}
}

func newWatched(person stack.Person, files int) *watched {
	w := &watched{files: make(map[events.JobID]*file, files), progress: Progress{Files: files}}
	for i := range files {
		size := person.ResultSize(i)
		w.files[person.Job("", i).ID] = &file{size: size, seen: map[archive.State]time.Time{}}
		w.progress.TotalBytes += size
	}
	return w
}

// saw records that the job came to the state, and returns the progress of all files.
func (w *watched) saw(job events.JobID, state archive.State, at time.Time) Progress {
	f := w.files[job]
	if f == nil {
		return w.progress // another user's job
	}
	if _, again := f.seen[state]; !again {
		f.seen[state] = at
	}
	for step := slices.Index(way(), state) + 1; f.way < step; f.way++ {
		switch way()[f.way] {
		case archive.Planned:
			w.progress.Planned++
		case archive.Requested:
			w.progress.Requested++
		case archive.Ready:
			w.progress.Ready++
		case archive.Restored:
			w.progress.Restored++
			w.progress.Bytes += f.size
		}
	}
	return w.progress
}

// steps returns how long the files took from one state to the next.
func (w *watched) steps(began time.Time) []Step {
	step := func(name string, from, to archive.State) Step {
		var took []float64
		for _, f := range w.files {
			a, ok := f.seen[from]
			if from == "" {
				a, ok = began, true
			}
			if b, ok2 := f.seen[to]; ok && ok2 {
				took = append(took, max(b.Sub(a).Seconds(), 0))
			}
		}
		if len(took) == 0 {
			return Step{Name: name}
		}
		slices.Sort(took)
		return Step{name, took[len(took)/2], took[len(took)-1]}
	}
	return []Step{
		step("subscribe to planned", "", archive.Planned),
		step("planned to requested", archive.Planned, archive.Requested),
		step("requested to ready (Glacier)", archive.Requested, archive.Ready),
		step("ready to restored", archive.Ready, archive.Restored),
	}
}
