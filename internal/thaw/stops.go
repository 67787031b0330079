package thaw

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gas-restore/gas/internal/archive"
)

// Stops is what operators have stopped, as of a moment ago: all tasks ask for it, and
// one of them reads. Make one with NewStops.
type Stops struct {
	from  Switches
	now   func() time.Time
	reads singleflight.Group

	mu    sync.Mutex // guards what follows
	known archive.Switches
	at    time.Time
}

const (
	// stopsAge is how old what is known may be: a stop is obeyed by every worker within
	// five seconds, the call in hand included.
	stopsAge = 2 * time.Second
	// doorLook is after how long a worker looks again at a door that is closed.
	doorLook = time.Second
)

// NewStops returns the stops that from tells of.
func NewStops(from Switches, now func() time.Time) *Stops { return &Stops{from: from, now: now} }

// Switches implements [Switches].
func (s *Stops) Switches(ctx context.Context) (archive.Switches, error) {
	s.mu.Lock()
	known, age := s.known, s.now().Sub(s.at)
	fresh := !s.at.IsZero() && age >= 0 && age < stopsAge
	s.mu.Unlock()
	if fresh {
		return known, nil
	}
	result := s.reads.DoChan("", func() (any, error) {
		at := s.now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedReadTime)
		defer cancel()
		read, err := s.from.Switches(ctx)
		if err == nil {
			s.mu.Lock()
			s.known, s.at = read, at
			s.mu.Unlock()
		}
		return read, err
	})
	select {
	case r := <-result:
		read, _ := r.Val.(archive.Switches)
		return read, r.Err
	case <-ctx.Done():
		return archive.Switches{}, ctx.Err()
	}
}

// Door is closed while an operator has stopped everything: then tasks stay in their
// stream, and no worker has them. It goes by what is known, and looks.
func (s *Stops) Door() (closed time.Duration, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), doorLook)
	defer cancel()
	known, err := s.Switches(ctx)
	if err != nil || known.All == nil {
		return 0, ""
	}
	return doorLook, "an operator stopped everything: " + known.All.Reason
}
