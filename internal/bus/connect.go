// Package bus is the pipeline's use of NATS JetStream: the streams and
// consumers, publishing, the worker that runs a handler over a consumer's
// messages, the policy that maps an error's kind to what becomes of the
// message, and the dead letters.
package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where NATS is and who connects.
type Config struct {
	// URL is a server's, or several with commas in between: a cluster's.
	URL      string
	User     string
	Password string
	// PasswordFrom, if set, is asked for the password at each connection, in place of
	// Password: one that changed needs no restart.
	PasswordFrom func() (string, error)
	// CAFile is a PEM file with the roots for tls:// URLs; empty for the system's.
	CAFile string
	// Name is how the connection shows up in `nats server report connections`.
	Name string
	// InProcess connects to a server in this process, without a socket.
	InProcess nats.InProcessConnProvider
	Logger    *slog.Logger
}

// Bus is a connection to NATS. Close it.
type Bus struct {
	Conn *nats.Conn
	JS   jetstream.JetStream

	log      *slog.Logger
	recent   recent
	failover failover
	storing  storing
	pulls    pulls

	closing atomic.Bool   // Close was called
	gone    chan struct{} // closed when the connection is closed for good
	cause   error         // why, once gone is closed

	kvsMu   sync.Mutex // guards what follows
	kvs     map[string]jetstream.KeyValue
	streams map[string]jetstream.Stream
}

// InboxPrefix is where user's replies come in. Users may subscribe to their own
// only, so that none reads another's answers.
func InboxPrefix(user string) string { return "_INBOX_" + user }

// maxPending is how many publications may wait for their ack at a time.
const maxPending = 4096

// publishWait is how long a publication waits for its ack.
const publishWait = 10 * time.Second

// Connect connects to NATS and keeps the connection up until Close: it
// reconnects for as long as it takes.
func Connect(ctx context.Context, cfg Config) (*Bus, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		// The client gives a connection up after two equal refusals; the next password may
		// be right.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// What is published while the connection is down fails at once and is
		// tried again by whoever has the message, instead of waiting in memory.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats disconnected", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats reconnected", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			// A denied publish shows up only here; its caller sees a time-out.
			log.Error("nats", "err", err)
		}),
	}
	if cfg.User != "" {
		opts = append(opts, cfg.credentials(log), nats.CustomInboxPrefix(InboxPrefix(cfg.User)))
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile))
	}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	}
	b := &Bus{log: log, failover: failover{last: time.Now()}, gone: make(chan struct{})}
	opts = append(opts, nats.ClosedHandler(b.closed))
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats as %s: %w%s", cfg.User, err, hint(err))
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending), jetstream.WithPublishAsyncTimeout(publishWait))
	b.Conn, b.JS = nc, js
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	if ctx.Err() != nil {
		b.Close()
		return nil, ctx.Err()
	}
	return b, nil
}

// credentials returns the option that says who connects.
func (cfg Config) credentials(log *slog.Logger) nats.Option {
	if cfg.PasswordFrom == nil {
		return nats.UserInfo(cfg.User, cfg.Password)
	}
	// The client asks from one goroutine, at each connection.
	last := cfg.Password
	return nats.UserInfoHandler(func() (user, password string) {
		password, err := cfg.PasswordFrom()
		if err != nil {
			// It may be in the middle of being replaced.
			log.Warn("the password cannot be read: taking the last one", "user", cfg.User, "err", err)
			return cfg.User, last
		}
		last = password
		return cfg.User, password
	})
}

// hint says what an error of connecting may mean that does not say it itself.
func hint(err error) string {
	for _, e := range []error{syscall.EPIPE, syscall.ECONNRESET, io.EOF} {
		if errors.Is(err, e) {
			return ": the server closes connections before they begin; it may have as many as it takes (max_connections)"
		}
	}
	return ""
}

// closed is told that the client has closed the connection, and will not open it again.
func (b *Bus) closed(nc *nats.Conn) {
	b.cause = nc.LastError()
	close(b.gone)
	if !b.closing.Load() {
		b.log.Error("nats closed the connection for good", "err", b.cause)
	}
}

// Watch returns an error when the connection is closed for good though nobody called
// Close: nothing on it works any more, and the process has to be started again. It returns
// nil when drain is closed or ctx ends.
func (b *Bus) Watch(ctx context.Context, drain <-chan struct{}) error {
	select {
	case <-b.gone:
		if b.closing.Load() {
			return nil
		}
		return fmt.Errorf("the connection to nats is closed for good: %w", b.cause)
	case <-drain:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// Ready returns an error while NATS cannot be reached, or has stored nothing of
// what was published for a while.
func (b *Bus) Ready(context.Context) error {
	if s := b.Conn.Status(); s != nats.CONNECTED {
		return b.down(s)
	}
	return b.storing.trouble()
}

// down says that the connection is not up, and why it was lost or not made again.
func (b *Bus) down(s nats.Status) error {
	if err := b.Conn.LastError(); err != nil {
		return fmt.Errorf("nats is %s: %w", s, err)
	}
	return fmt.Errorf("nats is %s", s)
}

// Close ends the connection.
func (b *Bus) Close() {
	b.closing.Store(true)
	b.Conn.Close()
}
