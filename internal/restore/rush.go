package restore

import (
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// urgent is how much of an output's life is left when it goes before others.
	urgent = 6 * time.Hour
	// ample is how much is left of one that can go after others.
	ample = 12 * time.Hour
	// rushFor is how long a rush goes on after the last urgent output was seen.
	rushFor = time.Minute
	// yieldFor is how long what is not urgent stays away.
	yieldFor = 5 * time.Minute
)

// rush takes the outputs whose end is near before the others. The stream hands
// notifications out as they came, which is as a rule the order in which outputs
// end. It is not after a long outage in front of the stream: a queue of SQS has
// no order, and what is found by the sweep comes last. Then whoever meets an
// urgent output lets those with ample time go by for a while, so that all urgent
// ones come up. The zero value is ready.
type rush struct {
	mu    sync.Mutex // guards until
	until time.Time
}

// yield returns an error of kind Wait if the notification is to come back later.
func (r *rush) yield(e events.RetrievalCompleted, now time.Time) error {
	if e.Status != archive.Succeeded || e.CompletedAt.IsZero() {
		return nil
	}
	left := e.CompletedAt.Add(archive.OutputLifetime).Sub(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case left > 0 && left < urgent:
		r.until = now.Add(rushFor)
	case left > ample && now.Before(r.until):
		return fault.After(fault.Wait, yieldFor, fault.Errorf(fault.Wait, "others expire sooner: this output is there for another %s", left.Round(time.Minute)))
	}
	return nil
}
