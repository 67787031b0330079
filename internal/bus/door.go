package bus

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// doorLook is how long a worker does not look at its door.
const doorLook = time.Second

// atDoor returns when the door is open, or ctx is over.
func (r *run[E]) atDoor(ctx context.Context) {
	if r.Door == nil {
		return
	}
	began, closed := time.Now(), false
	for ctx.Err() == nil {
		d, why := r.Door()
		if d <= 0 {
			break
		}
		if !closed {
			closed = true
			r.log.Info("door closed", "for", d.Round(time.Second), "why", why)
		}
		pause(ctx, min(d, doorLook))
	}
	if closed && ctx.Err() == nil {
		r.log.Info("door open", "was_closed", time.Since(began).Round(time.Second))
	}
}

// whileOpen returns a context that ends when the door closes: a message that is asked for
// may come long after the door was looked at.
func (r *run[E]) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if r.Door == nil {
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(doorLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if d, _ := r.Door(); d > 0 {
				cancel()
			}
		}
	}()
	return ctx, func() { cancel(); <-done }
}

const (
	// shared is how many messages, one after another, must fail with none between them that
	// does not, until the cause is taken to be one that they share.
	shared = 16
	// owners is of how many users they must be, where the kind is Denied: a policy may
	// forbid what is one user's and let all others work.
	owners = 3
	// firstPause and longestPause are between two messages while it lasts.
	firstPause, longestPause = time.Second, 30 * time.Second
)

// breaker notices that what fails does not fail for reasons of its own: the work is
// then done a message at a time, with pauses, until one does not fail. Without it an
// outage makes every message in the stream one that failed, and waits.
type breaker struct {
	mu     sync.Mutex // guards what follows
	failed map[string]bool
	owners map[string]bool
	pause  time.Duration // before the next message; 0 if all is well
}

// note is told of the outcome of a message, and returns whether that began or ended the
// caution. alone is whether it was begun under it: those that were in hand when it began tell
// nothing new by failing.
func (b *breaker) note(id string, alone bool, outcome Outcome, err error) (began, ended bool) {
	kind := fault.KindOf(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case outcome == HandedBack || outcome == Lost:
		return false, false // nothing is known
	case outcome != Acked && (kind == fault.Transient || kind == fault.Throttled || kind == fault.Denied):
		if b.pause > 0 {
			if alone {
				b.pause = min(2*b.pause, longestPause)
			}
			return false, false
		}
		if b.failed == nil {
			b.failed, b.owners = map[string]bool{}, map[string]bool{}
		}
		// One message that fails again and again has its own reason.
		if len(b.failed) < shared {
			b.failed[id] = true
		}
		if len(b.owners) < owners {
			b.owners[cmp.Or(fault.OwnerOf(err), id)] = true
		}
		if len(b.failed) < shared || kind == fault.Denied && len(b.owners) < owners {
			return false, false
		}
		b.pause, b.failed, b.owners = firstPause, nil, nil
		return true, false
	}
	ended = b.pause > 0
	b.pause, b.failed, b.owners = 0, nil, nil
	return false, ended
}

// wait returns for how long to pause before the next message, 0 if there is no need.
func (b *breaker) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause
}

// judge tells the breaker of an outcome, and whoever watches of what follows.
func (r *run[E]) judge(id string, alone bool, outcome Outcome, err error) {
	began, ended := r.breaker.note(id, alone, outcome, err)
	switch {
	case began:
		r.log.Warn("one message at a time: too many failed in a row", "messages", shared, "kind", fault.KindOf(err), "err", err)
	case ended:
		r.log.Info("messages are handled side by side again")
	default:
		return
	}
	if r.OnCautious != nil {
		r.OnCautious(began)
	}
}
