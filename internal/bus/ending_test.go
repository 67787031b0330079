package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// sockets are connections to a server in this process that take what the client writes before
// the server reads it, as a socket does. Without that, a client that writes to a server that
// writes does not read why its connection ends.
type sockets struct{ nats.InProcessConnProvider }

func (s sockets) InProcessConn() (net.Conn, error) {
	c, err := s.InProcessConnProvider.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &socket{Conn: c}, nil
}

type socket struct {
	net.Conn
	mu      sync.Mutex // guards what follows
	written [][]byte
	writing bool // somebody gives the server what was written
}

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, bytes.Clone(b))
	if !s.writing {
		s.writing = true
		go s.give()
	}
	return len(b), nil
}

func (s *socket) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.written) > 0 {
		b := s.written[0]
		s.written = s.written[1:]
		s.mu.Unlock()
		_, _ = s.Conn.Write(b) // who reads sees the end of the connection too
		s.mu.Lock()
	}
	s.writing = false
}

// eventually calls ok every 20 ms until it returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func TestAPasswordThatIsRefusedForLongIsReadAgain(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		passwords := make(chan string, 1)
		passwords <- "dev-thaw"
		asked := make(chan struct{}, 100)
		b, err := bus.Connect(t.Context(), bus.Config{URL: ns.ClientURL(), User: "thaw", InProcess: sockets{ns}, Logger: testenv.Log(t), PasswordFrom: func() (string, error) {
			select {
			case asked <- struct{}{}:
			default:
			}
			p := <-passwords
			passwords <- p
			if p == "" {
				return "", errors.New("the file is being written")
			}
			return p, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		testenv.Reload(t, ns, "password: dev-thaw", "password: another")
		for range 6 { // at first, and refused five times: the client would give up after two
			<-asked
		}
		if err := b.Ready(t.Context()); err == nil || !strings.Contains(strings.ToLower(err.Error()), "authorization") {
			t.Errorf("while it is refused, the bus is %v", err)
		}
		<-passwords
		passwords <- ""
		<-asked
		<-asked
		<-passwords
		passwords <- "another"
		eventually(t, "the connection", func() bool { return b.Ready(t.Context()) == nil })
		if _, err := b.JS.Stream(t.Context(), events.StreamThaw); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatEndsAConnectionForGoodIsTold lowers the server's limit for a message. The
// server does not tell its clients. Then a client sends more: the server ends the
// connection, and the client does not make another.
func TestWhatEndsAConnectionForGoodIsTold(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b, err := bus.Connect(t.Context(), bus.Config{URL: ns.ClientURL(), User: "bridge", Password: "dev-bridge", InProcess: sockets{ns}, Logger: testenv.Log(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		testenv.Reload(t, ns, "max_payload: 4MB", "max_payload: 1KB")
		ended := make(chan error, 1)
		go func() { ended <- b.Watch(t.Context(), nil) }()
		if err := b.Conn.Publish("premium.upgraded.u", make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		err = <-ended
		if err == nil || !strings.Contains(err.Error(), "closed for good") || !strings.Contains(strings.ToLower(err.Error()), "payload") {
			t.Errorf("the end is told as %v", err)
		}
		if b.Ready(t.Context()) == nil {
			t.Error("a bus without a connection is ready")
		}
	})
}

func TestAConnectionThatIsClosedOnPurposeIsNoEnd(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		for name, stop := range map[string]func(b *bus.Bus, drain chan struct{}, cancel func()){
			"closed": func(b *bus.Bus, _ chan struct{}, _ func()) { b.Close() },
			"drain":  func(_ *bus.Bus, drain chan struct{}, _ func()) { close(drain) },
			"ctx":    func(_ *bus.Bus, _ chan struct{}, cancel func()) { cancel() },
		} {
			b := testenv.Bus(t, ns, "thaw")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			drain, ended := make(chan struct{}), make(chan error, 1)
			go func() { ended <- b.Watch(ctx, drain) }()
			stop(b, drain, cancel)
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAServerThatIsFullAtStartGivesAHint(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close() // as a server does that has as many as it takes
		}
	}()
	_, err = bus.Connect(t.Context(), bus.Config{URL: "nats://" + ln.Addr().String(), User: "thaw", Password: "x"})
	if err == nil || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("got %v", err)
	}
}

// TestReadyMeansThatWhatComesNextWouldWork takes away the things that a service needs, one at
// a time. The service names the missing thing, and is ready again when it is back.
func TestReadyMeansThatWhatComesNextWouldWork(t *testing.T) {
	gone := func(stream string) func(*testing.T, *server.Server, *bus.Bus) {
		return func(t *testing.T, _ *server.Server, op *bus.Bus) {
			if err := op.JS.DeleteStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		}
	}
	consumer := func(stream, name string) func(*testing.T, *server.Server, *bus.Bus) {
		return func(t *testing.T, _ *server.Server, op *bus.Bus) {
			if err := op.JS.DeleteConsumer(t.Context(), stream, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	denied := func(subject string) func(*testing.T, *server.Server, *bus.Bus) {
		return func(t *testing.T, ns *server.Server, _ *bus.Bus) {
			testenv.Reload(t, ns, `"`+subject+`"`, `"no.such.subject"`)
		}
	}
	cases := []struct {
		name, user string
		take       func(*testing.T, *server.Server, *bus.Bus)
		says       string
	}{
		{"thaw's consumer", "thaw", consumer(events.StreamThaw, bus.ConsumerRequest), "consumer " + bus.ConsumerRequest},
		{"restore's consumer", "restore", consumer(events.StreamRestore, bus.ConsumerRestore), "consumer " + bus.ConsumerRestore},
		{"thaw's stream", "thaw", gone(events.StreamThaw), events.StreamThaw},
		{"the stream of statuses, for thaw", "thaw", gone(events.StreamStatus), "status"},
		{"the stream of statuses, for web", "web", gone(events.StreamStatus), events.StreamStatus},
		{"the sessions", "web", gone("KV_" + bus.BucketSessions), bus.BucketSessions},
		{"the logins", "web", gone("KV_" + bus.BucketLogins), bus.BucketLogins},
		{"the attempts", "restore", gone("KV_" + bus.BucketAttempts), bus.BucketAttempts},
		{"the stream of dead letters", "bridge", gone(events.StreamDead), events.StreamDead},
		{"the sweep's stream", "sweep", gone(events.StreamPremium), events.StreamPremium},
		{"the sweep's permission to publish", "sweep", denied("restore.completed.*"), "restore.completed"},
		{"the bridge's permission to publish", "bridge", denied("premium.upgraded.*"), "premium.upgraded"},
		{"that thaw may write letters", "thaw", denied("dead.THAW.>"), "dead.THAW"},
		{"that web may write sessions", "web", denied("$KV.SESSIONS.>"), "SESSIONS"},
		{"that web may read statuses", "web", denied("$JS.API.STREAM.INFO.STATUS"), events.StreamStatus},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
				op, b := testenv.Bus(t, ns, "operator"), testenv.Bus(t, ns, c.user)
				outlook := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					return b.Outlook(c.user).Err(ctx)
				}
				if err := outlook(); err != nil {
					t.Fatalf("at first: %v", err)
				}
				c.take(t, ns, op)
				if err := outlook(); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want an error that names %s", err, c.says)
				}
				testenv.Reload(t, ns)
				eventually(t, "the operator", func() bool { return op.Ready(t.Context()) == nil })
				if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
					t.Fatal(err)
				}
				eventually(t, "all to be well again", func() bool { return outlook() == nil })
			})
		})
	}
}

// TestWhoMayNotPullIsNotReady takes away thaw's permission to pull. The server does not
// answer such a pull, so the worker must find out in another way.
func TestWhoMayNotPullIsNotReady(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "thaw")
		w := &bus.Worker[events.ThawRequested]{Bus: b, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 1, Logger: testenv.Log(t),
			Handle: func(context.Context, events.ThawRequested, bus.Emit) error { return nil }}
		drain, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- w.Run(t.Context(), drain) }()
		outlook := b.Outlook("thaw")
		if err := outlook.Err(t.Context()); err != nil {
			t.Fatal(err)
		}
		testenv.Reload(t, ns, `"$JS.API.CONSUMER.MSG.NEXT.THAW.*"`, `"no.such.subject"`)
		said := ""
		eventually(t, "the worker to be not ready", func() bool {
			if err := outlook.Err(t.Context()); err != nil {
				said = err.Error()
			}
			return strings.Contains(said, "nothing can be fetched from consumer "+bus.ConsumerRequest)
		})
		testenv.Reload(t, ns)
		eventually(t, "the worker to be ready again", func() bool { return outlook.Err(t.Context()) == nil })
		close(drain)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAnAccountAtItsLimitIsNotTakenForAFullDisk lowers the account's limit below the bytes
// that it already stores.
func TestAnAccountAtItsLimitIsNotTakenForAFullDisk(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "bridge")
		testenv.Reload(t, ns, "jetstream: enabled", "jetstream { max_file: 1 }")
		n := 0
		publish := func() error {
			n++
			_, err := b.Publish(t.Context(), events.UserUpgraded{ID: fmt.Sprint("m", n), UserID: "u", UpgradedAt: time.Now(), Via: events.ViaSNS})
			return err
		}
		eventually(t, "the limit", func() bool { return publish() != nil })
		if err := publish(); !fault.Is(err, fault.Throttled) || !strings.Contains(err.Error(), "resource limits exceeded for account") {
			t.Fatalf("got %v of kind %s", err, fault.KindOf(err))
		}
		eventually(t, "the bus to be not ready", func() bool { return publish() == nil || b.Ready(t.Context()) != nil })
		if err := b.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the account's limit of storage is reached") || strings.Contains(err.Error(), "restarted") {
			t.Errorf("got %v", err)
		}
	})
}
