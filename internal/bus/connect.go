// Package bus is the pipeline's use of NATS JetStream. It makes the streams, consumers
// and buckets, publishes events, and runs handlers over the messages of a consumer.
//
// A message is acked only after its outputs are stored. The kind of an error decides what
// happens to a message: a table (policy.go) says when it comes back, or that it becomes a
// dead letter in DEAD. A message that must wait for long is put aside and holds no slot
// (ADR 16). Workers count attempts themselves (ADR 4).
package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/outage"
)

// Config says where NATS is and who connects.
type Config struct {
	// URL is the URL of one server, or of several with commas between them.
	URL      string
	User     string
	Password string
	// PasswordFrom, if set, returns the password at each connection, in place of
	// Password. So a changed password needs no restart.
	PasswordFrom func() (string, error)
	// CAFile is a PEM file with the roots for tls:// URLs; empty means the system's
	// roots.
	CAFile string
	// Name is the name of the connection in `nats server report connections`.
	Name string
	// InProcess connects to a server in this process, without a socket.
	InProcess nats.InProcessConnProvider
	Logger    *slog.Logger
}

// Bus is a connection to NATS. The caller must close it.
type Bus struct {
	Conn *nats.Conn
	JS   jetstream.JetStream

	log      *slog.Logger
	recent   recent
	failover failover
	storing  storing
	pulls    pulls
	feeding  outage.Log // of the status feeds

	closing atomic.Bool   // Close was called
	gone    chan struct{} // closed when the connection is closed for good
	cause   error         // why, once gone is closed

	kvsMu   sync.Mutex // guards what follows
	kvs     map[string]jetstream.KeyValue
	streams map[string]jetstream.Stream
}

// InboxPrefix begins the subjects on which a user receives replies. A user may subscribe
// only to these, so no user reads another's answers.
func InboxPrefix(user string) string { return "_INBOX_" + user }

// maxPending is the greatest number of publications that wait for their acks.
const maxPending = 4096

// publishWait is how long a publication waits for its ack.
const publishWait = 10 * time.Second

// Connect connects to NATS. The bus reconnects again and again until Close.
func Connect(ctx context.Context, cfg Config) (*Bus, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		// The client would give up after two equal refusals. But the next password may be
		// right.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// While the connection is down, a publication fails at once and does not wait in
		// memory. The worker that has the message tries again.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats disconnected", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats reconnected", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			// A denied publication is reported only here; its caller gets a time-out.
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
		return nil, fmt.Errorf("connect to nats at %s as %s: %w%s", hosts(cfg.URL), cfg.User, err, hint(err))
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

// credentials returns the option with the user and the password.
func (cfg Config) credentials(log *slog.Logger) nats.Option {
	if cfg.PasswordFrom == nil {
		return nats.UserInfo(cfg.User, cfg.Password)
	}
	// The client calls this from one goroutine, at each connection.
	last := cfg.Password
	return nats.UserInfoHandler(func() (user, password string) {
		password, err := cfg.PasswordFrom()
		if err != nil {
			// Somebody may be replacing the file just now.
			log.Warn("the password cannot be read: the last one is used", "user", cfg.User, "err", err)
			return cfg.User, last
		}
		last = password
		return cfg.User, password
	})
}

// hosts returns the URLs without the passwords that they may have.
func hosts(urls string) string {
	var all []string
	for one := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			continue // it was checked before
		}
		all = append(all, u.Redacted())
	}
	return strings.Join(all, ",")
}

// hint returns a likely reason for an error of connecting that does not name it.
func hint(err error) string {
	for _, e := range []error{syscall.EPIPE, syscall.ECONNRESET, io.EOF} {
		if errors.Is(err, e) {
			return ": the server closes connections before they begin; it may have reached its limit (max_connections)"
		}
	}
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, syscall.ECONNREFUSED) {
		return ": start the server, or correct GAS_NATS_URL"
	}
	return ""
}

// closed is called when the client has closed the connection and will not open it again.
func (b *Bus) closed(nc *nats.Conn) {
	b.cause = nc.LastError()
	close(b.gone)
	if !b.closing.Load() {
		b.log.Error("nats closed the connection for good", "err", b.cause)
	}
}

// Watch returns an error when the connection is closed for good and nobody called Close.
// Then nothing works any more, and the process must be started again. It returns nil when
// drain is closed or ctx ends.
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

// Ready returns an error while NATS cannot be reached, or while JetStream has stored
// nothing for some time although something was published.
func (b *Bus) Ready(context.Context) error {
	if s := b.Conn.Status(); s != nats.CONNECTED {
		return b.down(s)
	}
	return b.storing.trouble()
}

// down returns an error with the state of the connection and the reason for it.
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
