package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// partial is a queue in which some entries of a batch fail and the others succeed.
type partial struct {
	*sqs.Queue
	mu   sync.Mutex // guards rand
	rand *rand.Rand
}

var errEntry = fault.New(fault.Transient, errors.New("this entry failed"))

func (p *partial) some(receipts []string, call func([]string) []error) []error {
	errs := make([]error, len(receipts))
	var rest []string
	var places []int
	p.mu.Lock()
	for i, r := range receipts {
		if p.rand.Float64() < 0.03 {
			errs[i] = errEntry
		} else {
			rest, places = append(rest, r), append(places, i)
		}
	}
	p.mu.Unlock()
	if len(rest) == 0 {
		return errs
	}
	for i, err := range call(rest) {
		errs[places[i]] = err
	}
	return errs
}

func (p *partial) Delete(ctx context.Context, receipts []string) []error {
	return p.some(receipts, func(rs []string) []error { return p.Queue.Delete(ctx, rs) })
}

func (p *partial) Return(ctx context.Context, receipts []string, after time.Duration) []error {
	return p.some(receipts, func(rs []string) []error { return p.Queue.Return(ctx, rs, after) })
}

// TestWhateverFailsNothingIsLostAndTheAccountBalances drains a queue with repeated messages,
// and with messages that cannot be understood. Meanwhile each operation of SQS fails now and
// then, before or after it took effect, and JetStream restarts three times.
// GAS_BRIDGE_MESSAGES sets the number of messages.
func TestWhateverFailsNothingIsLostAndTheAccountBalances(t *testing.T) {
	total := 3000
	if s := os.Getenv("GAS_BRIDGE_MESSAGES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	defer func() {
		// If a restart interrupts the commit of a batch, the server never ends the goroutines of the
		// batch's files (see TestMain), and the bubble complains. goleak finds all others.
		if r := recover(); r != nil && !strings.Contains(fmt.Sprint(r), "blocked goroutines remain") {
			panic(r)
		}
	}()
	testenv.InBubble(t, func(t *testing.T, first *server.Server) {
		cloud := testenv.NewAWS(t)
		client := awssqs.NewFromConfig(cloud.Config)
		out, err := client.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: aws.String("premium")})
		if err != nil {
			t.Fatal(err)
		}
		good, poison := fill(t, cloud, client, *out.QueueUrl, total)
		for _, operation := range []string{"ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"} {
			if err := cloud.Faults.Add(
				localaws.Fault{Service: "sqs", Operation: operation, Probability: 0.08, Code: "InternalError", Status: 500},
				localaws.Fault{Service: "sqs", Operation: operation, Probability: 0.04, Code: "ThrottlingException", Status: 400},
				localaws.Fault{Service: "sqs", Operation: operation, Probability: 0.03, Code: "InternalError", Status: 500, After: true},
				localaws.Fault{Service: "sqs", Operation: operation, Probability: 0.02, Cut: true, After: true},
			); err != nil {
				t.Fatal(err)
			}
		}
		ns := &latest{}
		ns.Store(first)
		b, err := bus.Connect(t.Context(), bus.Config{URL: first.ClientURL(), User: "bridge", Password: "dev-bridge", InProcess: ns})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		publish := &switched{}
		publish.Store(b)
		settled := make(chan struct{}, 1)
		d := &bridge.Drain{
			Source: bridge.PremiumSource(topic), Queue: &partial{Queue: sqs.New(cloud.Config, *out.QueueUrl), rand: rand.New(rand.NewPCG(1, 2))},
			Publish: publish, Now: time.Now, Log: testenv.Log(t),
			OnStored: func(time.Duration) {
				select {
				case settled <- struct{}{}:
				default:
				}
			},
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); d.Run(t.Context(), stop) }()

		restarts := 0
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		// Messages that went out with a lost answer come back when their lease ends.
		for limit := time.Now().Add(10 * time.Minute); left(t, client, *out.QueueUrl) > 0; {
			select {
			case <-settled:
				if restarts < 3 && d.Tally.Published.Load()+d.Tally.Quarantined.Load() >= int64((restarts+1)*total/5) {
					restarts++
					ns.Store(testenv.Restart(t, ns.Load(), func() { untilNotReady(t, d) }))
				}
			case <-tick.C:
				if time.Now().After(limit) {
					t.Fatal("not done after 10 minutes")
				}
			}
		}
		close(stop)
		<-done

		tally := &d.Tally
		t.Logf("%d messages sent: %d good, %d poison; received %d = published %d + duplicate %d + quarantined %d + returned %d; %d not deleted at first, %d leases renewed, %d receives; %d restarts; faults %v",
			total, len(good), poison, tally.Received.Load(), tally.Published.Load(), tally.Duplicate.Load(), tally.Quarantined.Load(), tally.Returned.Load(),
			tally.Undeleted.Load(), tally.Extended.Load(), tally.Receives.Load(), restarts, cloud.Faults.Fired())
		if tally.InHand() != 0 {
			t.Errorf("%d messages are in no account", tally.InHand())
		}
		if restarts != 3 {
			t.Errorf("%d restarts, want 3", restarts)
		}
		js := testenv.Bus(t, ns.Load(), "operator").JS
		ids := read(t, js, events.StreamPremium)
		for id, n := range ids {
			id = strings.TrimPrefix(id, "premium:")
			if !good[id] || n != 1 {
				t.Fatalf("event %s is stored %d times; was it sent: %t", id, n, good[id])
			}
		}
		if len(ids) != len(good) {
			t.Errorf("%d events stored, want %d", len(ids), len(good))
		}
		if dead := read(t, js, events.StreamDead); len(dead) != poison {
			t.Errorf("%d dead letters, want %d", len(dead), poison)
		}
	})
}

// latest connects to the server that was started last.
type latest struct{ atomic.Pointer[server.Server] }

func (l *latest) InProcessConn() (net.Conn, error) { return l.Load().InProcessConn() }

// untilNotReady waits until the drain is not ready.
func untilNotReady(t *testing.T, d *bridge.Drain) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(30 * time.Second); d.Ready(t.Context()) == nil; <-tick.C {
		if time.Now().After(limit) {
			t.Fatal("ready, with JetStream down for 30 s")
		}
	}
}

// fill sends total messages: 1 % are poison, 5 % repeat an earlier one. It
// returns the ids of the good ones, and how many are poison.
func fill(t *testing.T, cloud *testenv.AWS, client *awssqs.Client, url string, total int) (map[string]bool, int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	good, poison := map[string]bool{}, 0
	var earlier []string
	var batch []types.SendMessageBatchRequestEntry
	for i := range total {
		var body string
		switch {
		case i%100 == 50:
			body = fmt.Sprintf(`{"user_id": %d}`, i)
			poison++
		case i%20 == 19:
			body = earlier[r.IntN(len(earlier))]
		default:
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
			good[id] = true
			body = fmt.Sprintf(`{"Type":"Notification","MessageId":%q,"TopicArn":%q,"Message":"{\"user_id\":\"user-%d\"}","Timestamp":"2026-11-23T10:00:00.000Z"}`, id, topic, i)
			earlier = append(earlier, body)
		}
		batch = append(batch, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &body})
		if len(batch) == 10 || i == total-1 {
			out, err := client.SendMessageBatch(t.Context(), &awssqs.SendMessageBatchInput{QueueUrl: &url, Entries: batch})
			if err != nil || len(out.Failed) > 0 {
				t.Fatal(err, out)
			}
			batch = nil
		}
	}
	return good, poison
}

func left(t *testing.T, client *awssqs.Client, url string) (n int) {
	t.Helper()
	out, err := client.GetQueueAttributes(t.Context(), &awssqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		each, err := strconv.Atoi(out.Attributes[name])
		if err != nil {
			t.Fatal(err)
		}
		n += each
	}
	return n
}

// read returns the number of messages in a stream for each message id.
func read(t *testing.T, js jetstream.JetStream, stream string) map[string]int {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo().State
	ids := map[string]int{}
	for seq := info.FirstSeq; seq <= info.LastSeq && info.Msgs > 0; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		ids[m.Header.Get(events.HeaderID)]++
	}
	return ids
}

// held is a publisher that waits until the test closes let.
type held struct {
	bridge.Publisher
	entered chan struct{}
	let     chan struct{}
	once    atomic.Bool
}

func (h *held) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	if h.once.CompareAndSwap(false, true) {
		close(h.entered)
	}
	<-h.let
	return h.Publisher.Publish(ctx, es)
}

func TestALeaseIsRenewedWhileAPublicationWaits(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		h := &held{Publisher: b.publish, entered: make(chan struct{}), let: make(chan struct{})}
		b.Drain.Publish, b.Drain.Lease = h, 6*time.Second
		b.send(`{"user_id":"u"}`)
		stop := b.start()
		<-h.entered
		time.Sleep(10 * time.Minute) // after each lease, the queue would give the message out again
		if b.Tally.Extended.Load() == 0 {
			t.Error("the lease was not renewed")
		}
		close(h.let)
		b.await(b.queue.deleted, 1)
		stop()
		b.tally(1, 1, 0, 0, 0)
		b.left(0)
	})
}

func TestAnIdleQueueHasOneReceiveInFlight(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		for i := range 300 {
			b.send(fmt.Sprintf(`{"user_id":"u%d"}`, i))
		}
		stop := b.start()
		b.await(b.queue.deleted, 300)
		time.Sleep(time.Minute) // the last receives of the backlog end, and one long poll begins
		before := b.Tally.Receives.Load()
		time.Sleep(10 * time.Minute)
		if n := b.Tally.Receives.Load() - before; n < 29 || n > 31 {
			t.Errorf("%d receives within ten minutes of an idle queue, want one each 20 s", n)
		}
		stop()
	})
}

func TestAFullStreamStopsTheReceivingUntilThereIsRoom(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		stream, err := b.js.Stream(t.Context(), events.StreamPremium)
		if err != nil {
			t.Fatal(err)
		}
		room := func(messages int64) {
			c := stream.CachedInfo().Config
			c.MaxMsgs = messages
			if _, err := b.js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		room(1)
		if _, errs := b.publish.Publish(t.Context(), []events.Event{events.UserUpgraded{ID: "first", UserID: "u", UpgradedAt: time.Now().UTC(), Via: events.ViaSNS}}); errs[0] != nil {
			t.Fatal(errs[0])
		}
		const n = 40
		for i := range n {
			b.send(fmt.Sprintf(`{"user_id":"u%d"}`, i))
		}
		h, _ := b.webhook()
		stop := b.start()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for b.Ready(t.Context()) == nil {
			<-tick.C
		}
		if got := post(h, "Notification", b.envelope(sns.Message{MessageID: msgID, Message: `{"user_id":"w"}`})); got != 503 {
			t.Errorf("webhook with a full stream: answered %d, want 503", got)
		}
		if got := len(b.stored(events.StreamPremium)); got != 1 || len(b.queue.deleted) != 0 {
			t.Errorf("%d stored in a stream of 1, %d batches deleted from the queue", got, len(b.queue.deleted))
		}
		room(-1)
		time.Sleep(30 * time.Second)
		b.left(0)
		stop()
		if err := b.Ready(t.Context()); err != nil {
			t.Errorf("Ready is %v after all went well", err)
		}
		if got := len(read(t, b.js, events.StreamPremium)); got != n+1 {
			t.Errorf("%d stored, want %d", got, n+1)
		}
		if b.Tally.InHand() != 0 {
			t.Errorf("%d messages are in no account", b.Tally.InHand())
		}
	})
}

func TestAWakeUpEndsThePauseAndManyAreOne(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		if err := b.aws.Faults.Add(localaws.Fault{Service: "sqs", Operation: "ReceiveMessage", Code: "InternalError", Status: 500}); err != nil {
			t.Fatal(err)
		}
		stop := b.start()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for b.Tally.Receives.Load() < 6 { // the sixth failure pauses for 3.2 s
			<-tick.C
		}
		for b.aws.Faults.Fired()["sqs.ReceiveMessage"] < 6*3 {
			<-tick.C
		}
		b.aws.Faults.Clear()
		b.send(`{"user_id":"u"}`)
		began, before := time.Now(), b.Tally.Receives.Load()
		for range 10 { // as webhooks come in
			for range 10 {
				b.Wake()
			}
			<-tick.C
		}
		b.await(b.queue.deleted, 1)
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("the message was taken after %s, want at once", took)
		}
		if n := b.Tally.Receives.Load() - before; n > 4 {
			t.Errorf("100 wake-ups led to %d receives", n)
		}
		stop()
		if err := b.Ready(t.Context()); err != nil {
			t.Errorf("Ready is %v after all went well", err)
		}
	})
}
