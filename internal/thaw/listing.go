package thaw

import (
	"context"
	"sync"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// listing shares one pass over Glacier's list of jobs among all who look for
// something in it: after a crash each of a worker's tasks does, and the list has
// one page for every fifty jobs of the vault. What is looked for was asked for
// before the pass begins, so a pass that is under way serves nobody new.
type listing struct {
	mu      sync.Mutex // guards what follows
	waiting []*search
	busy    bool
}

type search struct {
	archive events.ArchiveID
	job     events.JobID
	found   []archive.Retrieval
	err     error
	// turn is closed when the search is done, or gets a value when it is this one's
	// turn to list for all who wait.
	turn chan bool
}

// find returns the retrievals of the job's archive that Glacier lists.
func (l *listing) find(ctx context.Context, job archive.Job, vault Vault) ([]archive.Retrieval, error) {
	s := &search{archive: job.ArchiveID, job: job.ID, turn: make(chan bool, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, s)
	if !l.busy {
		l.busy = true
		s.turn <- true
	}
	l.mu.Unlock()
	select {
	case mine := <-s.turn:
		if mine {
			l.list(ctx, vault)
		}
		return s.found, s.err
	case <-ctx.Done():
		l.leave(s)
		return nil, ctx.Err()
	}
}

// list passes over the list once, for all who wait, and hands over to the next.
func (l *listing) list(ctx context.Context, vault Vault) {
	l.mu.Lock()
	batch := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	wanted := make(map[events.ArchiveID][]*search, len(batch))
	for _, s := range batch {
		wanted[s.archive] = append(wanted[s.archive], s)
	}
	var failed error
	for r, err := range vault.Retrievals(ctx) {
		if err != nil {
			failed = err
			break
		}
		for _, s := range wanted[r.ArchiveID] {
			if r.Description == string(s.job) {
				s.found = append(s.found, r)
			}
		}
	}
	if failed != nil && ctx.Err() != nil {
		// Who listed is gone. That is nothing to hold against the others.
		failed = fault.Errorf(fault.Transient, "list retrievals: %w", failed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range batch {
		s.err = failed
		close(s.turn)
	}
	l.next()
}

// leave takes a search back whose caller is gone.
func (l *listing) leave(s *search) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == s {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			break
		}
	}
	select {
	case mine := <-s.turn:
		if mine {
			l.next()
		}
	default:
	}
}

// next lets one of those who wait list. The caller holds l.mu.
func (l *listing) next() {
	l.busy = len(l.waiting) > 0
	if l.busy {
		l.waiting[0].turn <- true
	}
}
