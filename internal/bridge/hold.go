package bridge

import (
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// shared reports whether an error of publishing is taken to be that of every message:
// then the message stays in hand until it passes. Else the message has a reason of its
// own, and goes back to its queue, where a redrive policy may give it up in the end.
// others is whether others of its kind were stored when it failed once more.
func shared(err error, others bool) bool {
	switch fault.KindOf(err) {
	case fault.Throttled: // there was room for some
		return true
	case fault.Invalid:
		return false
	}
	return !others
}

// hold waits for the end of the pause that a failure to publish made. It returns false
// if the drain is stopped before.
func (r *run) hold() bool {
	r.mu.Lock()
	pause := max(time.Until(r.stages[publishing].until), shortestPause)
	r.mu.Unlock()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.stopped:
		return false
	}
}

// full reports whether JetStream has no room: what is in hand shows when it has, and
// what is received until then would be held as well. Callers hold r.mu.
func (r *run) full() bool { return fault.Is(r.stages[publishing].err, fault.Throttled) }
