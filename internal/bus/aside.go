package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// asidePrefix begins the subjects of messages that were put aside: aside, the class, and
// the subject that they go back to.
const asidePrefix = "aside."

// class is for how long messages are put aside. All of a class wait equally long from when
// they were stored, so they are due in the order in which they lie there, and who waits
// for the first waits for all.
type class struct {
	name string
	wait time.Duration
}

// classes are all of them. What waits less than the first is not put aside.
var classes = []class{
	{"15s", 15 * time.Second}, {"1m", time.Minute}, {"5m", 5 * time.Minute}, {"15m", 15 * time.Minute}, {"1h", time.Hour},
}

// classFor returns the longest class that is no longer than d; false if all are.
func classFor(d time.Duration) (class, bool) {
	for i := len(classes) - 1; i >= 0; i-- {
		if classes[i].wait <= d {
			return classes[i], true
		}
	}
	return class{}, false
}

// consumer names the consumer of the class, beside the one of the work.
func (c class) consumer(work string) string { return work + "-aside-" + c.name }

// WorkSubject returns where a message is handled: what was put aside goes back there.
func WorkSubject(subject string) string {
	if rest, ok := strings.CutPrefix(subject, asidePrefix); ok {
		if _, work, ok := strings.Cut(rest, "."); ok {
			return work
		}
	}
	return subject
}

// note is the header of a message that was put aside: what it has been through, and what it
// has still to wait.
type note struct {
	Attempt
	// Until is when it is to be tried again, for people; it is nobody's alarm clock.
	Until time.Time `json:"until,omitzero"`
	// Left is how long it has to wait on when its class has waited.
	Left time.Duration `json:"left_ns,omitempty"`
}

// leastLeft is what is not worth waiting for.
const leastLeft = time.Second

// maxNotedReason bounds the reason in a header, all of which may have 64 KiB; a dead letter
// has the reason of the last attempt in full.
const maxNotedReason = 2000

// noted returns what a message's header says; nothing if it does not say so in a way that
// can be read.
func noted(h nats.Header) note {
	var n note
	if v := h.Get(events.HeaderAttempts); v == "" || json.Unmarshal([]byte(v), &n) != nil {
		return note{}
	}
	return n
}

// putAside stores the message under an aside subject and then acks it, so that it holds no
// place among those that the consumer waits for. Cut short between the two, it is delivered
// again; what is then put aside once more is a repetition.
func (r *run[E]) putAside(ctx context.Context, m jetstream.Msg, meta *jetstream.MsgMetadata, a Attempt, delay time.Duration) error {
	c, ok := classFor(delay)
	if !ok {
		return fault.Errorf(fault.Invalid, "put aside for %s: that is too short", delay)
	}
	n := note{Attempt: a, Until: time.Now().Add(delay).UTC().Truncate(time.Millisecond), Left: delay - c.wait}
	moved, err := move(m, meta, asidePrefix+c.name+"."+m.Subject(), n)
	if err != nil {
		return err
	}
	f, err := r.Bus.send(moved)
	if err == nil {
		_, err = f.wait(ctx)
	}
	if err != nil {
		return err
	}
	r.confirm(ctx, m)
	if meta.NumDelivered > 1 {
		if err := r.attempts.Forget(ctx, meta.Sequence.Stream); err != nil {
			r.log.Debug("forget attempts", "err", err)
		}
	}
	return nil
}

// move returns the message for another subject of its stream. Its id says which message it
// was, so that however often it is moved, it is stored there once.
func move(m jetstream.Msg, meta *jetstream.MsgMetadata, subject string, n note) (*nats.Msg, error) {
	n.Stored = time.Time{} // the new message's is another
	n.Reason = events.Cut(n.Reason, maxNotedReason)
	value, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("note attempts: %w", err)
	}
	to := nats.NewMsg(subject)
	to.Data = m.Data()
	for k, v := range m.Headers() {
		// What is JetStream's own was about the first publication: its place in a batch, say.
		if !strings.HasPrefix(k, "Nats-") {
			to.Header[k] = v
		}
	}
	to.Header.Set(events.HeaderMsgID, "moved:"+LetterID(meta.Sequence.Stream, meta.Timestamp))
	to.Header.Set(events.HeaderAttempts, string(value))
	return to, nil
}

// confirm acks a message. One whose ack got lost is delivered again; whoever gets it then
// does again what was done.
func (r *run[E]) confirm(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := m.DoubleAck(ctx); err != nil {
		r.log.Warn("ack not confirmed", "subject", m.Subject(), "err", err)
	}
}
