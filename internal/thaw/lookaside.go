package thaw

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// lookasides remembers the accounts that were looked at a moment ago: the tasks
// of one user come in a row, and each asks whether the user is still Premium.
type lookasides struct {
	reads singleflight.Group

	mu   sync.Mutex // guards seen
	seen map[events.UserID]lookaside
}

type lookaside struct {
	account archive.Account
	at      time.Time
}

const (
	// maxLookasides bounds the memory; when it is full, all is forgotten.
	maxLookasides = 10_000
	// lookasideTime bounds a read that several tasks wait for, none of which may end
	// it for the others.
	lookasideTime = 15 * time.Second
)

// forget makes the next look a fresh one.
func (l *lookasides) forget(id events.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, id)
	l.reads.Forget(string(id)) // one that is under way is of before
}

func (l *lookasides) get(ctx context.Context, now func() time.Time, id events.UserID, read func(context.Context, events.UserID) (archive.Account, error)) (archive.Account, error) {
	l.mu.Lock()
	hit, ok := l.seen[id]
	l.mu.Unlock()
	if ok && now().Sub(hit.at) < entitledFor {
		return hit.account, nil
	}
	result := l.reads.DoChan(string(id), func() (any, error) {
		// As of before the read: what changes meanwhile is not known for longer.
		at := now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookasideTime)
		defer cancel()
		account, err := read(ctx, id)
		if err != nil {
			return archive.Account{}, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.seen == nil || len(l.seen) >= maxLookasides {
			l.seen = map[events.UserID]lookaside{}
		}
		l.seen[id] = lookaside{account, at}
		return account, nil
	})
	select {
	case r := <-result:
		account, _ := r.Val.(archive.Account)
		return account, r.Err
	case <-ctx.Done():
		return archive.Account{}, ctx.Err()
	}
}
