package thaw

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gas-restore/gas/internal/archive"
)

// Stops has the stops of the operators, as of at most two seconds ago. All tasks need them,
// and one task reads them for all. Make a Stops with NewStops.
type Stops struct {
	from  Switches
	now   func() time.Time
	reads singleflight.Group

	mu    sync.Mutex // guards what follows
	known archive.Switches
	at    time.Time
}

const (
	// stopsAge is how old the last read may be. Every worker obeys a stop within five
	// seconds. That includes the time of the call that the worker is making.
	stopsAge = 2 * time.Second
	// doorLook is how long a worker waits at a closed door before it checks the door again.
	doorLook = time.Second
)

// NewStops returns the stops that from has.
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

// Door is closed while an operator has stopped everything. Then workers take no tasks, and
// the tasks stay in their stream.
func (s *Stops) Door() (closed time.Duration, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), doorLook)
	defer cancel()
	known, err := s.Switches(ctx)
	if err != nil || known.All == nil {
		return 0, ""
	}
	return doorLook, "an operator stopped everything: " + known.All.Reason
}
