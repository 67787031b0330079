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

// Probe asks whether what is published would be stored: whether the connection is up,
// each stream has a leader, and this user may publish there. It is shared by all who
// wait for the same answer. A stream or a disk that is full it cannot see: who
// publishes does.
type Probe struct {
	bus      *Bus
	subjects []string
	turn     chan struct{} // who has it asks the server, and may touch what follows
	at       time.Time     // of the last answer
	err      error
}

// NewProbe returns a probe of the streams of the subjects, each of which has a wildcard
// for an id: [events.SubjectPremium] for example.
func NewProbe(b *Bus, subjects ...string) *Probe {
	return &Probe{bus: b, subjects: subjects, turn: make(chan struct{}, 1)}
}

const (
	// probeID is in the place of the id; [events.Token] makes no such token.
	probeID = "=look"
	// probeFor is how long an answer holds.
	probeFor = time.Second
	// answerWait is for how long a stream may say nothing. An election takes longer: it
	// is an outage, a short one.
	answerWait = 3 * time.Second
)

// errStreamNotMatch is the server's code for a message that expects another stream
// (nats-server/server/errors.json). Nothing is stored then.
const errStreamNotMatch jetstream.ErrorCode = 10060

// Err returns why nothing would be stored, nil if it would be. It waits for the
// server's answer, or takes one that is a moment old.
func (p *Probe) Err(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	if s := p.bus.Conn.Status(); s != nats.CONNECTED {
		return fmt.Errorf("nats is %s", s)
	}
	if !p.at.IsZero() && time.Since(p.at) < probeFor {
		return p.err
	}
	err := p.ask(ctx)
	if ctx.Err() == nil {
		p.at, p.err = time.Now(), err
	}
	return err
}

// ask publishes to each subject what the stream refuses to store.
func (p *Probe) ask(ctx context.Context) error {
	for _, subject := range p.subjects {
		subject = strings.ReplaceAll(subject, "*", probeID)
		callCtx, cancel := context.WithTimeout(ctx, answerWait)
		_, err := p.bus.JS.PublishMsg(callCtx, &nats.Msg{Subject: subject}, jetstream.WithExpectStream(probeID))
		cancel()
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == errStreamNotMatch {
			err = nil
		}
		p.bus.heard(err)
		if err != nil {
			return publishError(subject, err)
		}
	}
	return nil
}
