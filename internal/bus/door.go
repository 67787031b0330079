package bus

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/wait"
)

// doorLook is how long a worker uses the last answer of its door.
const doorLook = time.Second

// atDoor returns when the door is open or ctx ends.
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
		wait.For(ctx, min(d, doorLook))
	}
	if closed && ctx.Err() == nil {
		r.log.Info("door open", "was_closed", time.Since(began).Round(time.Second))
	}
}

// whileOpen returns a context that ends when the door closes. A message can arrive long
// after the worker asked the door.
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
	// shared is the number of messages in a row that must fail before the worker assumes
	// that they have one common cause.
	shared = 16
	// owners is the number of users that these messages must belong to if the kind is
	// Denied: a policy may forbid the objects of one user, and let all others work.
	owners = 3
	// firstPause and longestPause bound the pause between two messages during that time.
	firstPause, longestPause = time.Second, 30 * time.Second
)

// breaker sees when messages fail for a common reason. Then the worker handles one
// message at a time, with pauses, until one succeeds. Without the breaker, an outage
// would make every message of the stream fail and wait.
type breaker struct {
	mu     sync.Mutex // guards what follows
	failed map[string]bool
	owners map[string]bool
	pause  time.Duration // before the next message; 0 if all is well
}

// note records the outcome of a message, and returns whether it began or ended the
// caution. alone is true if the message was fetched under caution: the messages that were
// already fetched tell nothing new when they fail.
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

// wait returns how long to pause before the next message, 0 for no pause.
func (b *breaker) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause
}

// judge gives the breaker an outcome, and logs and reports a change.
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
