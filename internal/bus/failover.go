package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// failover detects that this connection's server is cut off from its cluster. Such a
// server keeps its clients and answers their pings, but serves no stream. The client sees
// a connection that is up, and would stay with it.
type failover struct {
	mu        sync.Mutex // guards what follows
	last      time.Time  // when JetStream last answered, or the connection changed
	relearned time.Time  // when the connection was made anew to hear what the server takes
}

// failoverAfter is how long JetStream must be silent. An election after the death of a
// leader takes about five seconds.
const failoverAfter = 8 * time.Second

// errNoLeader is the server's code for a cluster without a leader
// (nats-server/server/errors.json).
const errNoLeader jetstream.ErrorCode = 10008

// heard receives the outcome of each use of JetStream. After too long a silence it moves
// the connection to another server, if there is one.
func (b *Bus) heard(err error) {
	if errors.Is(err, nats.ErrMaxPayload) {
		b.relearn()
	}
	s := &b.failover
	s.mu.Lock()
	defer s.mu.Unlock()
	if !unanswered(err) {
		s.last = time.Now()
		return
	}
	silent := time.Since(s.last)
	if silent < failoverAfter || b.Conn.Status() != nats.CONNECTED || len(b.Conn.Servers()) < 2 {
		return
	}
	s.last = time.Now()
	b.log.Warn("the server does not reach JetStream: the connection moves to another server", "server", b.Conn.ConnectedServerName(), "silent", silent.Round(time.Second), "err", err)
	go func() { // it asks the network, and callers hold nothing up
		if err := b.Conn.ForceReconnect(); err != nil {
			b.log.Warn("not reconnected", "err", err)
		}
	}()
}

// relearnEvery is the shortest time between two connections that are made to learn the
// server's limit.
const relearnEvery = time.Minute

// relearn makes the connection anew. The server tells its limit for a message only when a
// client connects. A client that was told a lower limit would keep to that limit for
// ever.
func (b *Bus) relearn() {
	b.failover.mu.Lock()
	soon := time.Since(b.failover.relearned) < relearnEvery
	if !soon {
		b.failover.relearned = time.Now()
	}
	b.failover.mu.Unlock()
	if soon {
		return
	}
	go func() {
		if err := b.Conn.ForceReconnect(); err != nil {
			b.log.Warn("not reconnected", "err", err)
		}
	}()
}

func unanswered(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	for _, e := range []error{nats.ErrNoResponders, nats.ErrTimeout, jetstream.ErrNoStreamResponse, jetstream.ErrNoHeartbeat,
		jetstream.ErrAsyncPublishTimeout, jetstream.ErrJetStreamNotEnabled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == errNoLeader
}
