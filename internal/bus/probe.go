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

// Probe finds out whether JetStream would store a message: whether the connection is up,
// each stream has a leader, and this user may publish there. All callers share one
// answer. It cannot see that a stream or a disk is full: only a publication sees that.
type Probe struct {
	bus      *Bus
	subjects []string
	turn     chan struct{} // its holder asks the server, and may change the fields below
	at       time.Time     // of the last answer
	err      error
}

// NewProbe returns a probe of the streams of the subjects. Each subject has a wildcard
// for an id, for example [events.SubjectPremium].
func NewProbe(b *Bus, subjects ...string) *Probe {
	return &Probe{bus: b, subjects: subjects, turn: make(chan struct{}, 1)}
}

const (
	// probeID takes the place of the id; [events.Token] makes no such token.
	probeID = "=look"
	// probeFor is how long an answer is used.
	probeFor = time.Second
	// answerWait is how long a stream may be silent. An election takes longer, and counts
	// as a short outage.
	answerWait = 3 * time.Second
)

// errStreamNotMatch is the server's code for a message that expects another stream
// (nats-server/server/errors.json). Then nothing is stored.
const errStreamNotMatch jetstream.ErrorCode = 10060

// Err returns the reason why nothing would be stored, nil if there is none. It waits for
// the server's answer, or uses the last one if that is new.
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

// ask publishes to each subject a message that the stream must refuse.
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
