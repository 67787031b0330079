// Package bus is the pipeline's use of NATS JetStream: the streams and
// consumers, publishing, the worker that runs a handler over a consumer's
// messages, the policy that maps an error's kind to what becomes of the
// message, and the dead letters.
package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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

	log     *slog.Logger
	recent  recent
	stray   stray
	storing storing

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
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password), nats.CustomInboxPrefix(InboxPrefix(cfg.User)))
	}
	if cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.CAFile))
	}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	}
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats as %s: %w", cfg.User, err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending), jetstream.WithPublishAsyncTimeout(publishWait))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("use jetstream: %w", err)
	}
	if ctx.Err() != nil {
		nc.Close()
		return nil, ctx.Err()
	}
	return &Bus{Conn: nc, JS: js, log: log, stray: stray{last: time.Now()}}, nil
}

// Ready returns an error while NATS cannot be reached, or has stored nothing of
// what was published for a while.
func (b *Bus) Ready(context.Context) error {
	if s := b.Conn.Status(); s != nats.CONNECTED {
		return fmt.Errorf("nats is %s", s)
	}
	return b.storing.trouble()
}

// Close ends the connection.
func (b *Bus) Close() { b.Conn.Close() }
