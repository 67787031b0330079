package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// The causes of the worker's own letters; those of handlers come with their errors.
const (
	causeNoEvent = "no event"
	causeKills   = "kills its worker"
)

// lookTime is how long it may take to look whether a letter stands already. It leaves
// time to write one.
const lookTime = 2 * time.Second

// bury stores the dead letter, if none stands for it, and only then ends the message.
func (r *run[E]) bury(ctx context.Context, log *slog.Logger, m jetstream.Msg, meta *jetstream.MsgMetadata, a Attempt) error {
	letter := events.DeadLetter{
		ID:            LetterID(meta.Sequence.Stream, meta.Timestamp),
		Stream:        r.Stream,
		Consumer:      r.Consumer,
		SourceSubject: m.Subject(),
		Header:        LetterHeader(m.Headers()),
		Payload:       m.Data(),
		Reason:        a.Reason,
		Kind:          events.DeadKind(a.Kind),
		Cause:         a.Cause,
		Attempts:      max(a.Failures, 1),
		FirstAt:       a.FirstAt,
		LastAt:        a.LastAt,
	}
	if seq := r.standing(ctx, log, letter); seq > 0 {
		log.Warn("no dead letter is written: one stands for it", "letter", seq, "kind", a.Kind, "cause", a.Cause)
	} else if _, err := r.Bus.Publish(ctx, letter.Again()); err != nil {
		return err
	}
	ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := m.DoubleAck(ackCtx); err != nil {
		// It is delivered once more, with its attempts used up: the same letter again.
		log.Warn("ack of a dead message not confirmed", "err", err)
		return nil
	}
	if err := r.attempts.Forget(ctx, meta.Sequence.Stream); err != nil {
		log.Debug("forget attempts", "err", err)
	}
	return nil
}

// standing returns the number of the letter that says what this one would, 0 if none
// does: the same work died of the same cause before, and nobody has mended it yet. The
// sweep finds such work each time it looks. Without an answer there is none: two letters
// are better than none.
func (r *run[E]) standing(ctx context.Context, log *slog.Logger, letter events.DeadLetter) uint64 {
	// An operator who replays a letter waits for what comes of it; and the bytes of what is
	// no event are nowhere else, nor can another's letter be replayed in their place.
	if len(letter.Header[events.HeaderReplayOf]) > 0 || letter.Cause == causeNoEvent {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	seq, last, err := r.Bus.lastDead(ctx, letter.Subject())
	if err != nil {
		log.Warn("not known whether a dead letter stands for it", "err", err)
		return 0
	}
	if seq == 0 || last.Kind != letter.Kind || last.Cause != letter.Cause {
		return 0
	}
	return seq
}

// lastDead returns the last letter under a subject and its number, 0 if there is none.
func (b *Bus) lastDead(ctx context.Context, subject string) (uint64, events.DeadLetter, error) {
	var m *jetstream.RawStreamMsg
	st, err := b.Stream(ctx, events.StreamDead)
	if err == nil {
		m, err = st.GetLastMsgForSubject(ctx, subject)
	}
	b.heard(err)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, events.DeadLetter{}, nil
	}
	if err != nil {
		return 0, events.DeadLetter{}, fault.Errorf(fault.Transient, "look for %s in stream %s: %w", subject, events.StreamDead, err)
	}
	e, err := events.Decode[events.DeadLetter](m.Data)
	if err != nil {
		return m.Sequence, e, fmt.Errorf("dead letter %d: %w", m.Sequence, err)
	}
	return m.Sequence, e, nil
}

// DeadOf reports whether a dead letter stands for the work that e would be, and of what
// cause it died: until that is mended, e would die of it again.
func (b *Bus) DeadOf(ctx context.Context, e events.Event) (cause string, ok bool, err error) {
	stream, err := queueOf(e)
	if err != nil {
		return "", false, err
	}
	subject := events.DeadLetter{Stream: stream, Consumer: consumerOf(stream), SourceSubject: e.Subject()}.Subject()
	seq, letter, err := b.lastDead(ctx, subject)
	switch {
	case errors.Is(err, events.ErrNewerVersion):
		return "", true, nil
	case errors.Is(err, events.ErrMalformed), err == nil && seq > 0 && letter.Cause == causeNoEvent:
		return "", false, nil // it cannot be replayed
	case err != nil || seq == 0:
		return "", false, err
	}
	return letter.Cause, true, nil
}

// LetterID names the message of a stream that was stored at a time: the same for
// each of its dead letters, and another for what has its number in a stream that
// was made anew.
func LetterID(seq uint64, at time.Time) string {
	return strconv.FormatUint(seq, 10) + "-" + strconv.FormatInt(at.UnixNano(), 36)
}
