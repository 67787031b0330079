package thaw

import (
	"sync"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// watched remembers since when this worker has seen an intent of another stand still.
// How old an intent is by its own time is not asked: that is the clock of the machine
// that wrote it, and one that is a minute ahead would have its call taken for over
// while it is on its way.
type watched struct {
	mu      sync.Mutex // guards intents
	intents map[events.JobID]sighting
}

type sighting struct {
	token string
	first time.Time
}

// maxWatched bounds the memory; when it is full, all is forgotten, and waited for
// again.
const maxWatched = 100_000

// age returns for how long the intent of the job with this token has stood there, as
// far as this worker has seen.
func (w *watched) age(job events.JobID, token string, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, ok := w.intents[job]
	if !ok || seen.token != token {
		if w.intents == nil || len(w.intents) >= maxWatched {
			w.intents = map[events.JobID]sighting{}
		}
		seen = sighting{token, now}
		w.intents[job] = seen
	}
	return now.Sub(seen.first)
}
