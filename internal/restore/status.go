package restore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// status is what the file's owner is told of it.
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

// progressEvery is how often a copy tells how far it is.
const progressEvery = time.Second

// progress tells how many bytes of a large file came and match, at most once a second.
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
	// A part that is sent again comes again.
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
