package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

// advisory is a message of JetStream about a message that it gave up.
type advisory struct {
	Type       string    `json:"type"`
	ID         string    `json:"id"`
	Time       time.Time `json:"timestamp"`
	Stream     string    `json:"stream"`
	Consumer   string    `json:"consumer"`
	StreamSeq  uint64    `json:"stream_seq"`
	Deliveries int       `json:"deliveries"`
}

func readAdvisory(data []byte) (advisory, error) {
	var a advisory
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	if a.Type != bus.TypeMaxDeliveries {
		return a, fmt.Errorf("type is %q", a.Type)
	}
	if a.StreamSeq == 0 {
		return a, errors.New("stream_seq is missing")
	}
	return a, errors.Join(events.CheckID("id", a.ID), events.CheckID("stream", a.Stream), events.CheckID("consumer", a.Consumer))
}

// letter returns a letter with the contents of the advisory alone.
func (a advisory) letter() events.DeadLetter {
	return events.DeadLetter{
		ID: a.ID, Stream: a.Stream, Consumer: a.Consumer, Attempts: a.Deliveries,
		FirstAt: a.Time.UTC(), LastAt: a.Time.UTC(), Kind: events.DeadKindUndelivered,
		Reason: fmt.Sprintf("JetStream stopped delivering it after %d deliveries: consumer %s had a MaxDeliver", a.Deliveries, a.Consumer),
	}
}

// fill adds more to the letter of an advisory: the message, if its stream still has it,
// and the recorded failures of its worker.
func (d *Store) fill(ctx context.Context, l *Letter, a advisory) error {
	l.Where = Gone
	m, err := d.original(ctx, a)
	if err != nil {
		return err
	}
	if m != nil {
		l.Where, l.sourceAt = InStream, m.Time
		l.ID = bus.LetterID(m.Sequence, m.Time)
		l.SourceSubject, l.Header, l.Payload = bus.WorkSubject(m.Subject), bus.LetterHeader(m.Header), m.Data
		l.FirstAt = m.Time.UTC()
	}
	if attempts, err := d.bus.Attempts(ctx, a.Stream, a.Consumer); err == nil {
		// The record is an extra: without it the letter says less.
		n, err := attempts.Entry(ctx, a.StreamSeq)
		if err == nil && !n.FirstAt.IsZero() && !n.FirstAt.After(a.Time) && !n.Stored.After(a.Time) && (m == nil || n.Of(m.Time)) {
			l.FirstAt = n.FirstAt
			if n.Reason != "" {
				l.Reason += "; the last error of its worker: " + n.Reason
			}
			if l.SourceSubject == "" {
				l.SourceSubject = n.Subject
			}
		}
	}
	l.DeadLetter = l.Again()
	l.JobID, l.UserID = owner(l.SourceSubject, l.Payload)
	return nil
}

// original returns the message that the advisory names, nil if it is gone.
func (d *Store) original(ctx context.Context, a advisory) (*jetstream.RawStreamMsg, error) {
	if strings.ContainsAny(a.Stream, ".*> \t") {
		return nil, nil
	}
	st, err := d.bus.Stream(ctx, a.Stream)
	var m *jetstream.RawStreamMsg
	if err == nil {
		m, err = st.GetMsg(ctx, a.StreamSeq)
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) || ok && api.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("message %d of stream %s: %w", a.StreamSeq, a.Stream, err)
	}
	if m.Time.After(a.Time) {
		return nil, nil // the stream was made anew: the sequence belongs to another message
	}
	return m, nil
}
