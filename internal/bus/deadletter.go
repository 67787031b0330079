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

// The causes of the worker's own letters. The errors of handlers bring their own causes.
const (
	causeNoEvent = "no event"
	causeKills   = "kills its worker"
)

// lookTime is how long a search for an earlier letter may take. It leaves time to write a
// letter.
const lookTime = 2 * time.Second

// deadLetter stores the dead letter, unless an earlier letter covers this death too. Only
// then it acks the message.
func (r *run[E]) deadLetter(ctx context.Context, log *slog.Logger, m jetstream.Msg, meta *jetstream.MsgMetadata, a Attempt) error {
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
		log.Warn("no dead letter is written: an earlier one covers it", "letter", seq, "kind", a.Kind, "cause", a.Cause)
	} else if _, err := r.Bus.Publish(ctx, letter.Again()); err != nil {
		return err
	}
	ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := m.DoubleAck(ackCtx); err != nil {
		// It is delivered once more, with its attempts used up, and leads to the same
		// letter again.
		log.Warn("ack of a dead message not confirmed", "err", err)
		return nil
	}
	if err := r.attempts.Forget(ctx, meta.Sequence.Stream); err != nil {
		log.Debug("forget attempts", "err", err)
	}
	return nil
}

// standing returns the number of an earlier letter that says the same as this one, 0 if
// there is none. Then the same work died of the same cause before, and nobody has fixed
// the cause yet. The sweep finds such work at each pass. Without an answer the result is
// 0: two letters are better than none.
func (r *run[E]) standing(ctx context.Context, log *slog.Logger, letter events.DeadLetter) uint64 {
	// An operator who replays a letter waits for the result. And if the bytes are no
	// event, only the letter has them: another letter cannot be replayed instead.
	if len(letter.Header[events.HeaderReplayOf]) > 0 || letter.Cause == causeNoEvent {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	seq, last, err := r.Bus.lastDead(ctx, letter.Subject())
	if err != nil {
		log.Warn("cannot find out whether an earlier dead letter covers it", "err", err)
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

// DeadOf reports whether a dead letter exists for the work that e would be, and its
// cause. Until somebody fixes the cause, e would die in the same way.
func (b *Bus) DeadOf(ctx context.Context, e events.Event) (cause string, ok bool, err error) {
	_, letter, ok, err := b.LetterOf(ctx, e)
	return letter.Cause, ok, err
}

// LetterOf returns the last dead letter of the work that e would be, and its number. ok is
// false if there is none. A letter of a newer release is empty but for its number.
func (b *Bus) LetterOf(ctx context.Context, e events.Event) (seq uint64, letter events.DeadLetter, ok bool, err error) {
	subject, err := LetterSubject(e)
	if err != nil {
		return 0, letter, false, err
	}
	seq, letter, err = b.lastDead(ctx, subject)
	switch {
	case errors.Is(err, events.ErrNewerVersion):
		return seq, events.DeadLetter{}, true, nil
	case errors.Is(err, events.ErrMalformed), err == nil && seq > 0 && letter.Cause == causeNoEvent:
		return 0, events.DeadLetter{}, false, nil // it cannot be replayed
	case err != nil || seq == 0:
		return 0, events.DeadLetter{}, false, err
	}
	return seq, letter, true, nil
}

// LetterSubject returns the subject of the dead letters of the work that e would be.
func LetterSubject(e events.Event) (string, error) {
	stream, err := queueOf(e)
	if err != nil {
		return "", err
	}
	return events.DeadLetter{Stream: stream, Consumer: queueOfStream(stream).consumer, SourceSubject: e.Subject()}.Subject(), nil
}

// LetterSubjects returns the subjects of all dead letters, in one call: most work has none.
func (b *Bus) LetterSubjects(ctx context.Context) (map[string]uint64, error) {
	st, err := b.Stream(ctx, events.StreamDead)
	if err != nil {
		return nil, err
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter("dead.>"))
	if err != nil {
		return nil, fault.Errorf(fault.Transient, "subjects of stream %s: %w", events.StreamDead, err)
	}
	return info.State.Subjects, nil
}

// LetterID identifies the message that a stream stored at a time. It is the same in each
// dead letter of the message. A stream that was made anew can have another message with
// the same sequence; that message has another id.
func LetterID(seq uint64, at time.Time) string {
	return strconv.FormatUint(seq, 10) + "-" + strconv.FormatInt(at.UnixNano(), 36)
}
