package thaw

import (
	"context"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// lookasides remembers the accounts that were looked at a moment ago: the tasks
// of one user come in a row, and each asks whether the user is still Premium.
type lookasides struct {
	mu   sync.Mutex // guards seen
	seen map[events.UserID]lookaside
}

type lookaside struct {
	account archive.Account
	at      time.Time
}

// maxLookasides bounds the memory; when it is full, all is forgotten.
const maxLookasides = 10_000

func (l *lookasides) get(ctx context.Context, now time.Time, id events.UserID, read func(context.Context, events.UserID) (archive.Account, error)) (archive.Account, error) {
	l.mu.Lock()
	hit, ok := l.seen[id]
	l.mu.Unlock()
	if ok && now.Sub(hit.at) < entitledFor {
		return hit.account, nil
	}
	account, err := read(ctx, id)
	if err != nil {
		return archive.Account{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || len(l.seen) >= maxLookasides {
		l.seen = map[events.UserID]lookaside{}
	}
	l.seen[id] = lookaside{account, now}
	return account, nil
}
