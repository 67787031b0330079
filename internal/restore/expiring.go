package restore

import (
	"fmt"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// urgent: an output with less time left than this is restored before others.
	urgent = 6 * time.Hour
	// ample: an output with more time left than this can wait for others.
	ample = 12 * time.Hour
	// urgentFor is how long the others wait after a worker saw the last urgent output.
	urgentFor = time.Minute
	// yieldFor is how long a notification with ample time waits before it comes again.
	yieldFor = 5 * time.Minute
)

// expiringFirst restores the outputs that expire soon before the others. The stream hands
// out notifications in the order in which they arrived. Outputs mostly expire in the same
// order. After a long outage they do not: an SQS queue has no order, and the sweep publishes
// lost notifications late. So when a worker meets an urgent output, it lets notifications
// with ample time wait for some minutes, and the other urgent ones have their turn. The zero
// value is ready.
type expiringFirst struct {
	mu    sync.Mutex // guards until
	until time.Time
}

// yield returns an error of kind Wait if the notification must come back later.
func (x *expiringFirst) yield(notification events.RetrievalCompleted, now time.Time) error {
	until := outputUntil(notification)
	if notification.Status != archive.Succeeded || until.IsZero() {
		return nil
	}
	left := until.Sub(now)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case left > 0 && left < urgent:
		x.until = now.Add(urgentFor)
	case left > ample && now.Before(x.until):
		return stop(ExpiresLater, fault.After(fault.Wait, yieldFor, fmt.Errorf("others expire sooner: this output is there for another %s", left.Round(time.Minute))))
	}
	return nil
}

// outputUntil returns the time until which the output can be read at least; zero if that is
// not known.
func outputUntil(notification events.RetrievalCompleted) time.Time {
	return archive.Retrieval{CompletedAt: notification.CompletedAt, ExpiresAt: notification.ExpiresAt}.OutputUntil()
}
