package restore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// status makes an event that reports the file's state to the file's owner.
func (r *Restorer) status(f *file, state archive.State, step string, size int64) events.StatusChanged {
	return events.StatusChanged{
		JobID:  f.job.ID,
		UserID: f.job.UserID,
		State:  state,
		At:     r.Now().UTC(),
		Tier:   f.job.Tier.Told(),
		Size:   size,
		Step:   step,
	}
}

// progressEvery is the shortest time between two progress reports of a copy.
const progressEvery = time.Second

// progress reports how many bytes of a large file have arrived and match, at most once a
// second.
type progress struct {
	r *Restorer
	f *file

	mu   sync.Mutex // guards what follows, and calls of emit
	done int64
	told time.Time
}

func (p *progress) add(ctx context.Context, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// If a part is sent again, its bytes arrive and count again.
	p.done = min(p.done+n, p.f.content.Size)
	now := p.r.Now()
	if now.Sub(p.told) < progressEvery {
		return nil
	}
	p.told = now
	s := p.r.status(p.f, archive.Copying, "", p.f.content.Size)
	s.Bytes = p.done
	if err := p.f.emit(ctx, s); err != nil {
		return fmt.Errorf("tell progress: %w", err)
	}
	return nil
}
