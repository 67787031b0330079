package thaw

import (
	"sync"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// watched remembers when this worker first saw an intent of another worker. The age of the
// intent counts from then. It does not count from the time in the intent, because that time
// comes from another machine's clock. If that clock is a minute behind, the intent looks old
// while its call is still on its way.
type watched struct {
	mu      sync.Mutex // guards intents
	intents map[events.JobID]sighting
}

type sighting struct {
	token string
	first time.Time
}

// maxWatched bounds the memory. A full memory forgets all intents, and the wait for each
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
