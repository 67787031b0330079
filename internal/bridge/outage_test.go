package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// plug is the connection to a server. While the plug is out, nobody can reach the server.
type plug struct {
	*server.Server
	mu    sync.Mutex // guards the fields below
	out   bool
	conns []net.Conn
}

func (p *plug) InProcessConn() (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out {
		return nil, errors.New("the server is away")
	}
	c, err := p.Server.InProcessConn()
	if err == nil {
		p.conns = append(p.conns, c)
	}
	return c, err
}

func (p *plug) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = true
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *plug) push() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = false
}

// redriven is a queue that gives a message up after three receives.
type redriven struct {
	client    *awssqs.Client
	url, dead string
	sent      int
}

func newRedriven(t *testing.T, cloud *testenv.AWS) *redriven {
	t.Helper()
	q := &redriven{client: awssqs.NewFromConfig(cloud.Config)}
	create := func(name string, attributes map[string]string) string {
		out, err := q.client.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		return *out.QueueUrl
	}
	q.dead = create("given-up", nil)
	q.url = create("premium", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:given-up","maxReceiveCount":3}`})
	return q
}

func (q *redriven) send(t *testing.T, n int) {
	t.Helper()
	for range n {
		body := fmt.Sprintf(`{"user_id":"u%d"}`, q.sent)
		if _, err := q.client.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
		q.sent++
	}
}

// outage is a drain in a bubble, with a server that can be unplugged.
type outage struct {
	*bridge.Drain
	t     *testing.T
	queue *redriven
	plug  *plug
	bus   *bus.Bus
}

func newOutage(t *testing.T, ns *server.Server) *outage {
	cloud := testenv.NewAWS(t)
	o := &outage{t: t, queue: newRedriven(t, cloud), plug: &plug{Server: ns}}
	b, err := bus.Connect(t.Context(), bus.Config{URL: ns.ClientURL(), User: "bridge", Password: "dev-bridge", InProcess: o.plug})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	o.bus = b
	o.Drain = o.newDrain(cloud)
	return o
}

func (o *outage) newDrain(cloud *testenv.AWS) *bridge.Drain {
	publish := &switched{}
	publish.Store(o.bus)
	return &bridge.Drain{Source: bridge.PremiumSource(topic), Queue: sqs.New(cloud.Config, o.queue.url), Publish: publish, Now: time.Now, Log: testenv.Log(o.t)}
}

// run runs the drain, and returns the function that stops it.
func (o *outage) run() (stop func()) {
	closed, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); o.Run(o.t.Context(), closed) }()
	return func() { close(closed); <-done }
}

// counts returns the number of messages that the redrive policy gave up, and the number in
// the queue.
func (o *outage) counts() (givenUp, waiting int) {
	o.t.Helper()
	return left(o.t, o.queue.client, o.queue.dead), left(o.t, o.queue.client, o.queue.url)
}

func TestAQueueWithARedrivePolicyLosesNothingWhileJetStreamIsAway(t *testing.T) {
	for _, away := range []time.Duration{20 * time.Second, 10 * time.Minute, 3 * time.Hour, 30 * time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
				o := newOutage(t, ns)
				stop := o.run()
				o.queue.send(t, 3)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if dead, waiting := o.counts(); dead != 0 || waiting != 0 {
					t.Fatalf("before: %d given up, %d left", dead, waiting)
				}
				o.plug.pull()
				o.queue.send(t, 40)
				time.Sleep(away)
				if err := o.Ready(t.Context()); err == nil {
					t.Error("ready, with JetStream away")
				}
				o.plug.push()
				time.Sleep(2 * time.Minute)
				dead, waiting := o.counts()
				if dead != 0 || waiting != 0 {
					t.Errorf("%d given up, %d left after JetStream was away for %s and came back", dead, waiting, away)
				}
				stop()
				if got := len(read(t, testenv.Bus(t, ns, "operator").JS, events.StreamPremium)); got != o.queue.sent {
					t.Errorf("%d stored, want %d", got, o.queue.sent)
				}
				if err := o.Ready(t.Context()); err != nil {
					t.Errorf("Ready is %v after all went well", err)
				}
			})
		})
	}
}

func TestARestartDuringAnOutageReceivesNothing(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		o := newOutage(t, ns)
		o.plug.pull()
		o.queue.send(t, 5)
		for range 6 {
			stop := o.run()
			time.Sleep(10 * time.Minute)
			stop()
		}
		if n := o.Tally.Receives.Load(); n != 0 {
			t.Errorf("%d receives with JetStream away, want none", n)
		}
		o.plug.push()
		time.Sleep(10 * time.Second)
		stop := o.run()
		time.Sleep(time.Minute)
		stop()
		if givenUp, waiting := o.counts(); givenUp != 0 || waiting != 0 {
			t.Errorf("%d given up, %d left", givenUp, waiting)
		}
	})
}

func TestWhoMayNotPublishReceivesNothing(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		o := newOutage(t, ns)
		o.bus = testenv.Bus(t, ns, "web")
		publish := &switched{}
		publish.Store(o.bus)
		o.Drain.Publish = publish
		o.queue.send(t, 5)
		stop := o.run()
		time.Sleep(time.Hour)
		if n := o.Tally.Receives.Load(); n != 0 {
			t.Errorf("%d receives without the permission to publish, want none", n)
		}
		if err := o.Ready(t.Context()); err == nil {
			t.Error("ready, without the permission to publish")
		}
		stop()
	})
}

func TestAFullStreamCostsAMessageOneReceive(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		o := newOutage(t, ns)
		js := testenv.Bus(t, ns, "operator").JS
		room := func(messages int64) {
			s, err := js.Stream(t.Context(), events.StreamPremium)
			if err != nil {
				t.Fatal(err)
			}
			c := s.CachedInfo().Config
			c.MaxMsgs = messages
			if _, err := js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		room(2)
		o.queue.send(t, 60)
		stop := o.run()
		time.Sleep(4 * time.Hour)
		room(20) // for some
		time.Sleep(4 * time.Hour)
		room(-1)
		time.Sleep(5 * time.Minute)
		stop()
		if givenUp, waiting := o.counts(); givenUp != 0 || waiting != 0 {
			t.Errorf("%d given up, %d left after the stream was full", givenUp, waiting)
		}
		if got, want := o.Tally.Received.Load(), int64(60); got != want {
			t.Errorf("%d received for %d messages", got, want)
		}
		if got := len(read(t, js, events.StreamPremium)); got != 60 {
			t.Errorf("%d stored, want 60", got)
		}
	})
}

// picky stores the events of all users but one. For this user, its error looks like an outage.
type picky struct{ *switched }

func (p picky) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	var rest []events.Event
	var places []int
	duplicates, errs := make([]bool, len(es)), make([]error, len(es))
	for i, e := range es {
		if u, ok := e.(events.UserUpgraded); ok && u.UserID == "u3" {
			errs[i] = fault.New(fault.Transient, errors.New("no answer"))
			continue
		}
		rest, places = append(rest, e), append(places, i)
	}
	ds, es2 := p.switched.Publish(ctx, rest)
	for j, i := range places {
		duplicates[i], errs[i] = ds[j], es2[j]
	}
	return duplicates, errs
}

func TestAMessageThatAloneCannotBeStoredHoldsUpNoOther(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		o := newOutage(t, ns)
		publish := &switched{}
		publish.Store(o.bus)
		o.Drain.Publish = picky{publish}
		stop := o.run()
		o.queue.send(t, 60)
		for range 240 { // upgrades go on
			time.Sleep(time.Minute)
			o.queue.send(t, 1)
		}
		time.Sleep(time.Hour)
		stop()
		if got := len(read(t, testenv.Bus(t, ns, "operator").JS, events.StreamPremium)); got != o.queue.sent-1 {
			t.Errorf("%d stored, want %d", got, o.queue.sent-1)
		}
	})
}

// stuck answers the probe and stores nothing, like a server that had a full disk.
type stuck struct {
	*switched
	on atomic.Bool
}

func (s *stuck) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	if !s.on.Load() {
		return s.switched.Publish(ctx, es)
	}
	errs := make([]error, len(es))
	for i := range errs {
		errs[i] = fault.New(fault.Transient, errors.New("no space left on device"))
	}
	return make([]bool, len(es)), errs
}

func TestAServerThatStoresNothingCostsAMessageOneReceive(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		o := newOutage(t, ns)
		s := &stuck{switched: &switched{}}
		s.Store(o.bus)
		s.on.Store(true)
		o.Drain.Publish = s
		o.queue.send(t, 60)
		stop := o.run()
		time.Sleep(8 * time.Hour)
		if err := o.Ready(t.Context()); err == nil {
			t.Error("ready, and nothing is stored")
		}
		s.on.Store(false)
		time.Sleep(5 * time.Minute)
		stop()
		if givenUp, waiting := o.counts(); givenUp != 0 || waiting != 0 || o.Tally.Received.Load() != 60 {
			t.Errorf("%d given up, %d left, %d received for 60", givenUp, waiting, o.Tally.Received.Load())
		}
	})
}
