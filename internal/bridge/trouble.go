package bridge

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// stage is a part of the drain that can be down while the others work.
type stage int

const (
	looking stage = iota // at JetStream
	receiving
	publishing
	deleting
)

func (s stage) String() string {
	return [...]string{"checking jetstream", "receiving", "publishing", "deleting"}[s]
}

// failed slows the drain down: one receive at a time, after a pause that grows. Calls
// that were already in flight when the pause began count as the same failure.
func (r *run) failed(what stage, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.width = 1
	st := &r.stages[what]
	st.err = err
	r.tell()
	now := time.Now()
	same := st.failures > 0 && now.Before(st.until)
	pause := min(shortestPause<<min(st.failures, 16), longestPause)
	if !same {
		st.failures++
		st.until = now.Add(pause)
	}
	if st.until.After(r.notUntil) {
		r.notUntil = st.until
	}
	if same {
		return
	}
	st.log.Failed(r.Log, "drain pauses", "queue", r.Queue.Name(), "while", what, "pause", pause, "err", err)
}

// worked ends the trouble of a stage.
func (r *run) worked(what stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := &r.stages[what]; st.failures > 0 {
		st.failures, st.err = 0, nil
		st.log.Over(r.Log, "drain works again", "queue", r.Queue.Name(), "after", what)
		r.tell()
		r.nudge()
	}
}

// nudge makes receiveAll check again whether it may receive.
func (r *run) nudge() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// tell makes [Drain.Ready] return the trouble of the first stage that has any. Callers
// hold r.mu.
func (r *run) tell() {
	for i := range r.stages {
		if err := r.stages[i].err; err != nil {
			err = fmt.Errorf("%s: %w", stage(i), err)
			r.trouble.Store(&err)
			return
		}
	}
	r.trouble.Store(nil)
}

// shared reports whether an error of publishing probably affects every message. Then the
// bridge keeps the message until the trouble ends. Otherwise the message has a reason of
// its own and goes back to its queue; in the end a redrive policy may take it away.
// others is true if other events of the same type were stored when this one failed again.
func shared(err error, others bool) bool {
	switch fault.KindOf(err) {
	case fault.Throttled: // there was room for some
		return true
	case fault.Invalid:
		return false
	}
	return !others
}

// hold waits for the end of the pause after a failure to publish. It returns false if the
// drain stops first.
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

// full reports whether JetStream has no room. The messages that the bridge has will show
// when there is room again; more messages would only wait too. Callers hold r.mu.
func (r *run) full() bool { return fault.Is(r.stages[publishing].err, fault.Throttled) }
