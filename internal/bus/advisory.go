package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// What JetStream says when it gives a message up by itself: the subject, which ends
// with the stream and the consumer, and the type (nats-server/server/jetstream_events.go).
// That a message was terminated is not listened to: after a leader has died, the
// next one says it of messages that were acked, whose acks it had not heard of.
const (
	advisoryMaxDeliveries = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."
	typeMaxDeliveries     = "io.nats.jetstream.advisory.v1.max_deliver"
)

// advisorySubject returns where JetStream tells of messages of a stream that it
// gave up; * is any stream.
func advisorySubject(stream string) string { return advisoryMaxDeliveries + stream + ".*" }

// deadSubjects returns what the DEAD stream keeps: our dead letters, and as a
// backstop what JetStream says of our work queues. They are kept by the server
// itself, whether or not any process of ours is alive.
func deadSubjects() []string {
	all := []string{events.SubjectDead}
	for _, stream := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
		all = append(all, advisorySubject(stream))
	}
	return all
}

// advisory is what JetStream said.
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
	if a.Type != typeMaxDeliveries {
		return a, fmt.Errorf("type is %q", a.Type)
	}
	if a.StreamSeq == 0 {
		return a, errors.New("stream_seq is missing")
	}
	return a, errors.Join(events.CheckID("id", a.ID), events.CheckID("stream", a.Stream), events.CheckID("consumer", a.Consumer))
}

// letter returns what the advisory alone says.
func (a advisory) letter() events.DeadLetter {
	return events.DeadLetter{
		ID: a.ID, Stream: a.Stream, Consumer: a.Consumer, Attempts: a.Deliveries,
		FirstAt: a.Time.UTC(), LastAt: a.Time.UTC(), Kind: events.DeadKindUndelivered,
		Reason: fmt.Sprintf("JetStream stopped delivering it after %d deliveries: consumer %s had a MaxDeliver", a.Deliveries, a.Consumer),
	}
}

// fill adds to the letter of an advisory what else is known: the message, if it
// still lies in its stream, and the worker's notes on its failures.
func (d *DeadLetters) fill(ctx context.Context, l *Letter, a advisory) error {
	l.Where = Gone
	m, err := d.original(ctx, a)
	if err != nil {
		return err
	}
	if m != nil {
		l.Where, l.sourceAt = InStream, m.Time
		l.ID = letterID(m.Sequence, m.Time)
		l.SourceSubject, l.Header, l.Payload = workSubject(m.Subject), letterHeader(m.Header), m.Data
		l.FirstAt = m.Time.UTC()
	}
	if kv, err := d.bus.JS.KeyValue(ctx, BucketAttempts); err == nil {
		notes := ledger{kv: kv, prefix: a.Stream + "." + a.Consumer}
		// A note is an extra: without it the letter says what it can.
		n, err := notes.entry(ctx, a.StreamSeq)
		if err == nil && !n.FirstAt.IsZero() && !n.FirstAt.After(a.Time) && !n.Stored.After(a.Time) && (m == nil || n.of(m.Time)) {
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

// original returns the message that the advisory tells of, nil if it is gone.
func (d *DeadLetters) original(ctx context.Context, a advisory) (*jetstream.RawStreamMsg, error) {
	if strings.ContainsAny(a.Stream, ".*> \t") {
		return nil, nil
	}
	st, err := d.bus.stream(ctx, a.Stream)
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
		return nil, nil // the stream was made anew: the number is another message's
	}
	return m, nil
}

// CheckBackstop returns an error if the DEAD stream would not keep what JetStream
// says of messages that it gave up.
func CheckBackstop(ctx context.Context, js jetstream.JetStream) error {
	st, err := js.Stream(ctx, events.StreamDead)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // CheckStreams says that
	}
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", events.StreamDead, err)
	}
	has := map[string]bool{}
	for _, s := range st.CachedInfo().Config.Subjects {
		has[s] = true
	}
	var missing []string
	for _, s := range deadSubjects() {
		if !has[s] {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("stream %s does not keep %s: run `gas provision`", events.StreamDead, strings.Join(missing, ", "))
	}
	return nil
}
