package thaw

import (
	"sync"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// watched remembers when this worker first saw an intent of another worker. The age of an
// intent counts from then, and not from the time in it: that time is of another machine's
// clock. If that clock is a minute behind, the intent looks old while its call is still on
// its way.
type watched struct {
	mu      sync.Mutex // guards intents
	intents map[events.JobID]sighting
}

type sighting struct {
	token string
	first time.Time
}

// maxWatched bounds the memory. When it is full, all is forgotten, and the wait for each
// intent begins anew.
const maxWatched = 100_000

// age returns for how long this worker has seen the intent with this token.
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
