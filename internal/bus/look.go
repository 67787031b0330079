package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Look asks whether what is published would be stored: whether the connection is up,
// each stream has a leader, and this user may publish there. It is shared by all who
// wait for the same answer. A stream or a disk that is full it cannot see: who
// publishes does.
type Look struct {
	Bus *Bus
	// Subjects are those that are published to, with a wildcard for the id:
	// [events.SubjectPremium] for example.
	Subjects []string

	mu  sync.Mutex // guards what follows; held while the server is asked
	at  time.Time  // of the last answer
	err error
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.Bus.Conn.Status(); s != nats.CONNECTED {
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
	for _, subject := range l.Subjects {
		subject = strings.Replace(subject, "*", lookID, 1)
		callCtx, cancel := context.WithTimeout(ctx, lookWait)
		_, err := l.Bus.JS.PublishMsg(callCtx, &nats.Msg{Subject: subject}, jetstream.WithExpectStream(lookID))
		cancel()
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == errStreamNotMatch {
			err = nil
		}
		l.Bus.heard(err)
		if err != nil {
			return publishError(subject, err)
		}
	}
	return nil
}
