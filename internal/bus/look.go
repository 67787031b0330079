package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Look asks whether what is published would be stored: whether the connection is up,
// each stream has a leader, and this user may publish there. It is shared by all who
// wait for the same answer. A stream or a disk that is full it cannot see: who
// publishes does.
type Look struct {
	bus      *Bus
	subjects []string
	turn     chan struct{} // who has it asks the server, and may touch what follows
	at       time.Time     // of the last answer
	err      error
}

// NewLook returns a look at the streams of the subjects, each of which has a wildcard
// for an id: [events.SubjectPremium] for example.
func NewLook(b *Bus, subjects ...string) *Look {
	return &Look{bus: b, subjects: subjects, turn: make(chan struct{}, 1)}
}

const (
	// lookID is in the place of the id; [events.Token] makes no such token.
	lookID = "=look"
	// lookFor is how long an answer holds.
	lookFor = time.Second
	// lookWait is for how long a stream may say nothing. An election takes longer: it
	// is an outage, a short one.
	lookWait = 3 * time.Second
)

// errStreamNotMatch is the server's code for a message that expects another stream
// (nats-server/server/errors.json). Nothing is stored then.
const errStreamNotMatch jetstream.ErrorCode = 10060

// Err returns why nothing would be stored, nil if it would be. It waits for the
// server's answer, or takes one that is a moment old.
func (l *Look) Err(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	if s := l.bus.Conn.Status(); s != nats.CONNECTED {
		return fmt.Errorf("nats is %s", s)
	}
	if !l.at.IsZero() && time.Since(l.at) < lookFor {
		return l.err
	}
	err := l.ask(ctx)
	if ctx.Err() == nil {
		l.at, l.err = time.Now(), err
	}
	return err
}

// ask publishes to each subject what the stream refuses to store.
func (l *Look) ask(ctx context.Context) error {
	for _, subject := range l.subjects {
		subject = strings.ReplaceAll(subject, "*", lookID)
		callCtx, cancel := context.WithTimeout(ctx, lookWait)
		_, err := l.bus.JS.PublishMsg(callCtx, &nats.Msg{Subject: subject}, jetstream.WithExpectStream(lookID))
		cancel()
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == errStreamNotMatch {
			err = nil
		}
		l.bus.heard(err)
		if err != nil {
			return publishError(subject, err)
		}
	}
	return nil
}
