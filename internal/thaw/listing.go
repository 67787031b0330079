package thaw

import (
	"context"
	"sync"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// listing lets several tasks read Glacier's list of jobs together. After a crash, every task
// of a worker searches the list for its retrieval, and the list has a page for every fifty
// jobs of the vault. A task that comes during a reading waits for the next reading: the
// retrieval may be on a page that was read already.
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
	// turn gets a value when this search must read the list for all that wait. It is closed
	// when the search is done.
	turn chan bool
}

// find returns the retrievals of the job's archive. It searches Glacier's list, or looks at
// the archive if its class has no list.
func (l *listing) find(ctx context.Context, job archive.Job, vault Vault) ([]archive.Retrieval, error) {
	if class, _ := job.Copy.StorageClass().Ability(); !class.Listed { // nobody lists an unknown class
		r, err := vault.Describe(ctx, job)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		return []archive.Retrieval{r}, err
	}
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

// list reads the list once for all searches that wait, and then lets the next one read.
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
	for r, err := range vault.Retrievals(ctx, nil, nil) {
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
		// Only the caller that read the list is gone. The others try again.
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

// leave removes a search when its caller is gone.
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

// next lets one of the waiting searches read the list. The caller holds l.mu.
func (l *listing) next() {
	l.busy = len(l.waiting) > 0
	if l.busy {
		l.waiting[0].turn <- true
	}
}
