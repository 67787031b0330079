package thaw

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// accountCache keeps each account for a second. The tasks of one user come in a row, and the
// requester needs the account for each task, to know whether the user still has a plan.
type accountCache struct {
	reads singleflight.Group

	mu   sync.Mutex // guards seen
	seen map[events.UserID]cachedAccount
}

type cachedAccount struct {
	account archive.Account
	at      time.Time
}

const (
	// maxCachedAccounts bounds the memory. A full cache forgets all accounts.
	maxCachedAccounts = 10_000
	// sharedReadTime bounds a read that several tasks wait for. No task can cancel the read
	// for the others.
	sharedReadTime = 15 * time.Second
)

// forget makes the next get read the account.
func (c *accountCache) forget(id events.UserID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, id)
	c.reads.Forget(string(id)) // a read that is under way began before
}

// get returns an account that was read at most a second ago.
func (c *accountCache) get(ctx context.Context, now func() time.Time, id events.UserID, read func(context.Context, events.UserID) (archive.Account, error)) (archive.Account, error) {
	c.mu.Lock()
	hit, ok := c.seen[id]
	c.mu.Unlock()
	if ok && now().Sub(hit.at) < entitledFor {
		return hit.account, nil
	}
	result := c.reads.DoChan(string(id), func() (any, error) {
		// The time before the read counts: the account may change while it is read.
		at := now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedReadTime)
		defer cancel()
		account, err := read(ctx, id)
		if err != nil {
			return archive.Account{}, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.seen == nil || len(c.seen) >= maxCachedAccounts {
			c.seen = map[events.UserID]cachedAccount{}
		}
		c.seen[id] = cachedAccount{account, at}
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
