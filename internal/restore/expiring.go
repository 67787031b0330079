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
	// urgent is how much of an output's life is left when it goes before others.
	urgent = 6 * time.Hour
	// ample is how much is left of one that can go after others.
	ample = 12 * time.Hour
	// urgentFor is how long others wait after the last urgent output was seen.
	urgentFor = time.Minute
	// yieldFor is how long a notice with ample time stays away.
	yieldFor = 5 * time.Minute
)

// expiringFirst restores the outputs that expire soon before the others. The stream hands
// notices out in the order in which they came. In most cases that is the order in which
// outputs expire. After a long outage it is not: an SQS queue has no order, and the sweep
// publishes lost notices late. So a worker that meets an urgent output lets notices
// with ample time wait for some minutes, and the urgent ones come up. The zero value is
// ready.
type expiringFirst struct {
	mu    sync.Mutex // guards until
	until time.Time
}

// yield returns an error of kind Wait if the notice is to come back later.
func (x *expiringFirst) yield(notice events.RetrievalCompleted, now time.Time) error {
	if notice.Status != archive.Succeeded || notice.CompletedAt.IsZero() {
		return nil
	}
	left := notice.CompletedAt.Add(archive.OutputLifetime).Sub(now)
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
