package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	localnats "github.com/gas-restore/gas/internal/local/nats"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// changing is a server with a configuration that changes while it runs.
type changing struct {
	t    *testing.T
	ns   *server.Server
	dir  string
	host string
	port int
}

func newChanging(t *testing.T) *changing {
	t.Helper()
	c := &changing{t: t, dir: testenv.Memory(t)}
	ns, err := localnats.Start(c.dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.ns, c.host, c.port = ns, "127.0.0.1", ns.Addr().(*net.TCPAddr).Port
	t.Cleanup(func() { localnats.Stop(ns) })
	if err := bus.Provision(t.Context(), testenv.Bus(t, ns, "operator").JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// reload makes the server use nats.conf with some words replaced.
func (c *changing) reload(replace ...string) {
	c.t.Helper()
	conf := gas.NATSConf
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(conf, replace[i]) {
			c.t.Fatalf("nats.conf has no %q", replace[i])
		}
		conf = strings.ReplaceAll(conf, replace[i], replace[i+1])
	}
	opts := &server.Options{}
	if err := opts.ProcessConfigString(conf); err != nil {
		c.t.Fatal(err)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs, opts.NoLog = c.host, c.port, 0, c.dir, true, true
	if err := c.ns.ReloadOptions(opts); err != nil {
		c.t.Fatal(err)
	}
}

// over connects over a socket: some ends of a connection happen only there, not on a
// connection inside the process.
func (c *changing) over(user string, password func() (string, error)) *bus.Bus {
	c.t.Helper()
	b, err := bus.Connect(c.t.Context(), bus.Config{URL: c.ns.ClientURL(), User: user, PasswordFrom: password, Password: "dev-" + user, Name: c.t.Name(), Logger: testenv.Log(c.t)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(b.Close)
	return b
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
	t.Parallel()
	c := newChanging(t)
	passwords := make(chan string, 1)
	passwords <- "dev-thaw"
	asked := make(chan struct{}, 100)
	b := c.over("thaw", func() (string, error) {
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
	})
	c.reload("password: dev-thaw", "password: another")
	for range 5 { // refused five times: the client would give up after two
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
}

// TestWhatEndsAConnectionForGoodIsTold lowers the server's limit for a message. The
// server does not tell its clients. Then a client sends more: the server ends the
// connection, and the client does not make another.
func TestWhatEndsAConnectionForGoodIsTold(t *testing.T) {
	c := newChanging(t)
	b := c.over("bridge", nil)
	c.reload("max_payload: 4MB", "max_payload: 1KB")
	ended := make(chan error, 1)
	go func() { ended <- b.Watch(t.Context(), nil) }()
	if err := b.Conn.Publish("premium.upgraded.u", make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "closed for good") || !strings.Contains(strings.ToLower(err.Error()), "payload") {
		t.Errorf("the end is told as %v", err)
	}
	if b.Ready(t.Context()) == nil {
		t.Error("a bus without a connection is ready")
	}
}

func TestAConnectionThatIsClosedOnPurposeIsNoEnd(t *testing.T) {
	ns := testenv.NATS(t)
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
	gone := func(stream string) func(*testing.T, *changing, *bus.Bus) {
		return func(t *testing.T, _ *changing, op *bus.Bus) {
			if err := op.JS.DeleteStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		}
	}
	consumer := func(stream, name string) func(*testing.T, *changing, *bus.Bus) {
		return func(t *testing.T, _ *changing, op *bus.Bus) {
			if err := op.JS.DeleteConsumer(t.Context(), stream, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	denied := func(subject string) func(*testing.T, *changing, *bus.Bus) {
		return func(_ *testing.T, c *changing, _ *bus.Bus) { c.reload(`"`+subject+`"`, `"no.such.subject"`) }
	}
	cases := []struct {
		name, user string
		take       func(*testing.T, *changing, *bus.Bus)
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
			t.Parallel()
			s := newChanging(t)
			op, b := testenv.Bus(t, s.ns, "operator"), s.over(c.user, nil)
			outlook := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				return b.Outlook(c.user).Err(ctx)
			}
			if err := outlook(); err != nil {
				t.Fatalf("at first: %v", err)
			}
			c.take(t, s, op)
			if err := outlook(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that names %s", err, c.says)
			}
			s.reload()
			eventually(t, "the operator", func() bool { return op.Ready(t.Context()) == nil })
			if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all to be well again", func() bool { return outlook() == nil })
		})
	}
}

// TestWhoMayNotPullIsNotReady takes away thaw's permission to pull. The server does not
// answer such a pull, so the worker must find out in another way.
func TestWhoMayNotPullIsNotReady(t *testing.T) {
	t.Parallel()
	s := newChanging(t)
	b := s.over("thaw", nil)
	w := &bus.Worker[events.ThawRequested]{Bus: b, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 1, Logger: testenv.Log(t),
		Handle: func(context.Context, events.ThawRequested, bus.Emit) error { return nil }}
	bus.PullFor(w, 3*time.Second)
	drain, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.Run(t.Context(), drain) }()
	outlook := b.Outlook("thaw")
	if err := outlook.Err(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.reload(`"$JS.API.CONSUMER.MSG.NEXT.THAW.*"`, `"no.such.subject"`)
	said := ""
	eventually(t, "the worker to be not ready", func() bool {
		if err := outlook.Err(t.Context()); err != nil {
			said = err.Error()
		}
		return strings.Contains(said, "nothing can be fetched from consumer "+bus.ConsumerRequest)
	})
	s.reload()
	eventually(t, "the worker to be ready again", func() bool { return outlook.Err(t.Context()) == nil })
	close(drain)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestAnAccountAtItsLimitIsNotTakenForAFullDisk lowers the account's limit below the bytes
// that it already stores.
func TestAnAccountAtItsLimitIsNotTakenForAFullDisk(t *testing.T) {
	t.Parallel()
	s := newChanging(t)
	b := s.over("bridge", nil)
	s.reload("jetstream: enabled", "jetstream { max_file: 1 }")
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
}
