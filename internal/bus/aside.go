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

// asidePrefix begins the subjects of messages that are put aside. The class follows, and
// then the subject to which the message goes back.
const asidePrefix = "aside."

// class says how long messages are put aside. All messages of a class wait equally long
// after they were stored. So they become due in the order in which they lie in the
// stream, and a reader that waits for the first one waits for all of them. See ADR 16.
type class struct {
	name string
	wait time.Duration
}

// classes has all classes. A message with a shorter wait than the first class is not put
// aside.
var classes = []class{
	{"15s", 15 * time.Second}, {"1m", time.Minute}, {"5m", 5 * time.Minute}, {"15m", 15 * time.Minute}, {"1h", time.Hour},
}

// classFor returns the longest class that is no longer than d; false if all are longer.
func classFor(d time.Duration) (class, bool) {
	for i := len(classes) - 1; i >= 0; i-- {
		if classes[i].wait <= d {
			return classes[i], true
		}
	}
	return class{}, false
}

// consumer returns the name of the consumer that reads the class, for one consumer of
// work.
func (c class) consumer(work string) string { return work + "-aside-" + c.name }

// WorkSubject returns the subject under which workers get a message. A message that was
// put aside goes back to this subject.
func WorkSubject(subject string) string {
	if rest, ok := strings.CutPrefix(subject, asidePrefix); ok {
		if _, work, ok := strings.Cut(rest, "."); ok {
			return work
		}
	}
	return subject
}

// note is the header of a message that was put aside. It has the attempts so far, and the
// rest of the delay.
type note struct {
	Attempt
	// Until is the time of the next try. It is for people only: no code reads it.
	Until time.Time `json:"until,omitzero"`
	// Left is the rest of the delay after the message has waited in its class.
	Left time.Duration `json:"left_ns,omitempty"`
}

// leastLeft is the shortest rest of a delay that a message still waits for.
const leastLeft = time.Second

// maxNotedReason bounds the reason in a header: all headers together may have 64 KiB. A
// dead letter has the whole reason of the last attempt.
const maxNotedReason = 2000

// noted returns the note in a message's header, or an empty note if there is none that
// can be read.
func noted(h nats.Header) note {
	var n note
	if v := h.Get(events.HeaderAttempts); v == "" || json.Unmarshal([]byte(v), &n) != nil {
		return note{}
	}
	return n
}

// putAside stores the message under an aside subject, and then acks the message. So the
// message no longer counts among those that the consumer waits for. After a crash between
// the two steps the message is delivered again. If it is put aside again, the stream
// drops the second copy as a duplicate.
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

// move returns a copy of the message for another subject of the same stream. The copy's
// id is made from the message, so the stream stores it once, however often it is moved.
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
		// JetStream's own headers describe the first publication, for example its place
		// in a batch.
		if !strings.HasPrefix(k, "Nats-") {
			to.Header[k] = v
		}
	}
	to.Header.Set(events.HeaderMsgID, "moved:"+LetterID(meta.Sequence.Stream, meta.Timestamp))
	to.Header.Set(events.HeaderAttempts, string(value))
	return to, nil
}

// confirm acks a message. If the ack gets lost, the message is delivered again, and the
// worker repeats its last step, which changes nothing.
func (r *run[E]) confirm(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := m.DoubleAck(ctx); err != nil {
		r.log.Warn("ack not confirmed", "subject", m.Subject(), "err", err)
	}
}
