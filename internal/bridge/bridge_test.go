package bridge_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/snsverify"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) {
	// Some goroutines of the server end a moment after its shutdown. If the shutdown
	// interrupted an atomic batch, the goroutines of its files stay until the process ends.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushLoop"))
}

const (
	topic = "arn:aws:sns:us-east-1:000000000000:premium"
	other = "arn:aws:sns:us-east-1:000000000000:restore"
	msgID = "165545c9-2a5c-472c-8df2-7ff2be2b3b1b"
	token = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92"
)

// switched publishes to the bus that is in it now.
type switched struct{ atomic.Pointer[bus.Bus] }

func (s *switched) Look(ctx context.Context) error {
	return bus.NewProbe(s.Load(), events.SubjectPremium).Err(ctx)
}

func (s *switched) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	acks, errs := s.Load().PublishAll(ctx, es)
	duplicates := make([]bool, len(acks))
	for i, a := range acks {
		duplicates[i] = a.Duplicate
	}
	return duplicates, errs
}

// watched reports the number of messages in each call that deletes or returns.
type watched struct {
	*sqs.Queue
	deleted, returned chan int
}

func (w watched) Delete(ctx context.Context, receipts []string) []error {
	errs := w.Queue.Delete(ctx, receipts)
	w.deleted <- count(errs, nil)
	return errs
}

func (w watched) Return(ctx context.Context, receipts []string, after time.Duration) []error {
	errs := w.Queue.Return(ctx, receipts, after)
	w.returned <- count(errs, nil)
	return errs
}

func count(errs []error, want error) (n int) {
	for _, err := range errs {
		if errors.Is(err, want) {
			n++
		}
	}
	return n
}

type fixture struct {
	*bridge.Drain
	t        *testing.T
	aws      *testenv.AWS
	js       jetstream.JetStream
	up, down *bus.Bus
	publish  *switched
	queue    watched
	client   *awssqs.Client
	url      string
}

func newFixture(t *testing.T, ns *server.Server) *fixture {
	t.Helper()
	aws := testenv.NewAWS(t)
	b := &fixture{t: t, aws: aws, js: testenv.Bus(t, ns, "operator").JS, up: testenv.Bus(t, ns, "bridge"), down: testenv.Bus(t, ns, "bridge"), publish: &switched{}}
	b.down.Close()
	b.publish.Store(b.up)
	b.client = awssqs.NewFromConfig(aws.Config)
	name := "premium"
	out, err := b.client.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	b.url = *out.QueueUrl
	b.queue = watched{sqs.New(aws.Config, b.url), make(chan int, 1000), make(chan int, 1000)}
	b.Drain = &bridge.Drain{Source: bridge.PremiumSource(topic), Queue: b.queue, Publish: b.publish, Now: time.Now, Log: testenv.Log(t)}
	return b
}

func (b *fixture) send(bodies ...string) {
	b.t.Helper()
	for _, body := range bodies {
		if _, err := b.client.SendMessage(b.t.Context(), &awssqs.SendMessageInput{QueueUrl: &b.url, MessageBody: &body}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// start runs the drain until the test ends or stop is called.
func (b *fixture) start() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	closed, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); b.Run(ctx, closed) }()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			close(closed)
			<-done
			cancel()
		}
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *fixture) await(from chan int, want int) {
	b.t.Helper()
	limit := time.After(20 * time.Second)
	for got := 0; got < want; {
		select {
		case n := <-from:
			got += n
		case <-limit:
			b.t.Fatalf("%d messages after 20 s, want %d", got, want)
		}
	}
}

// tally compares the counters received, published, duplicate, quarantined and returned with
// want, and checks that they balance.
func (b *fixture) tally(want ...int64) {
	b.t.Helper()
	t := &b.Drain.Tally
	got := []int64{t.Received.Load(), t.Published.Load(), t.Duplicate.Load(), t.Quarantined.Load(), t.Returned.Load()}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("received, published, duplicate, quarantined, returned: got %v, want %v", got, want)
	}
	if got[0] != got[1]+got[2]+got[3]+got[4] {
		b.t.Errorf("the account does not balance: %v", got)
	}
}

// left compares the number of messages in the queue with want. Messages with a lease count
// too.
func (b *fixture) left(want int) {
	b.t.Helper()
	out, err := b.client.GetQueueAttributes(b.t.Context(), &awssqs.GetQueueAttributesInput{QueueUrl: &b.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		b.t.Fatal(err)
	}
	got := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		n, err := strconv.Atoi(out.Attributes[name])
		if err != nil {
			b.t.Fatal(err)
		}
		got += n
	}
	if got != want {
		b.t.Errorf("%d messages left in the queue, want %d", got, want)
	}
}

// stored returns the messages of a stream.
func (b *fixture) stored(stream string) []*jetstream.RawStreamMsg {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), stream)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(b.t.Context(), seq)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func (b *fixture) upgrades() map[string]events.UserUpgraded {
	b.t.Helper()
	all := map[string]events.UserUpgraded{}
	for _, m := range b.stored(events.StreamPremium) {
		e, err := events.Decode[events.UserUpgraded](m.Data)
		if err != nil {
			b.t.Fatal(err)
		}
		if id := m.Header.Get(events.HeaderMsgID); id != e.MessageID() {
			b.t.Errorf("published with id %q, want %q", id, e.MessageID())
		}
		if _, twice := all[e.ID]; twice {
			b.t.Errorf("%s is stored twice", e.ID)
		}
		all[e.ID] = e
	}
	return all
}

func (b *fixture) envelope(m sns.Message) string {
	if m.TopicARN == "" {
		m.TopicARN = topic
	}
	return string(b.aws.SNS.Envelope(m))
}

func TestGoodMessagesArePublishedOnceAndDeleted(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		b.send(b.envelope(sns.Message{MessageID: msgID, Message: `{"user_id":"ünal"}`}), `{"user_id":"raw"}`,
			b.envelope(sns.Message{MessageID: msgID, Message: `{"user_id":"ünal"}`})) // SQS brings it twice
		stop := b.start()
		b.await(b.queue.deleted, 3)
		stop()
		b.tally(3, 2, 1, 0, 0)
		b.left(0)
		got := b.upgrades()
		if e := got[msgID]; len(got) != 2 || e.UserID != "ünal" || e.Via != "sns" {
			t.Errorf("got %+v, want ünal's upgrade under the SNS id and one more", got)
		}
		for id, e := range got {
			if id != msgID && (e.UserID != "raw" || e.Via != "sqs-raw" || e.UpgradedAt.IsZero()) {
				t.Errorf("raw: got %+v", e)
			}
		}
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestARawBodyMayHaveFieldsNamedLikeAnEnvelopes: a body is an envelope only if it has Type and
// TopicArn with the values and the spelling of SNS.
func TestARawBodyMayHaveFieldsNamedLikeAnEnvelopes(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		raw := []string{
			`{"user_id":"u","timestamp":1764200000}`,
			`{"user_id":"u","Timestamp":"yesterday"}`,
			`{"user_id":"u","TIMESTAMP":{"s":1}}`,
			`{"user_id":"u","type":"upgrade"}`,
			`{"user_id":"u","Type":"upgrade"}`,
			`{"user_id":"u","type":7,"topicarn":"elsewhere"}`,
			`{"user_id":"u","type":"Notification","topicArn":"` + topic + `"}`,
			`{"user_id":"u","message":{"text":"welcome"}}`,
			`{"user_id":"u","Message":null,"messageid":4}`,
			`{"user_id":"u","MessageId":"m","Message":"hello"}`,
			`{"user_id":"u","TopicArn":"` + topic + `"}`,
			`{"user_id":"u","User_ID":7,"UPGRADED_AT":"yesterday","Plan_Id":""}`,
		}
		b := newFixture(t, ns)
		b.send(raw...)
		stop := b.start()
		b.await(b.queue.deleted, len(raw))
		stop()
		b.tally(int64(len(raw)), int64(len(raw)), 0, 0, 0)
		for _, m := range b.stored(events.StreamDead) {
			d, err := events.Decode[events.DeadLetter](m.Data)
			t.Errorf("refused %s: %s %v", d.Payload, d.Reason, err)
		}
		for _, e := range b.upgrades() {
			if e.UserID != "u" || e.Via != "sqs-raw" || e.Plan != "" {
				t.Errorf("got %+v", e)
			}
		}
		for _, body := range []string{`{"USER_ID":"u"}`, `{"User_id":"u","user_ID":"u"}`, `{"u\u0073er_ıd":"u"}`, `{"uſer_id":"u"}`} {
			if e, err := bridge.PremiumSource(topic).Parse(bridge.Notification{ID: msgID, At: time.Now(), Body: body}); err == nil {
				t.Errorf("%s is taken for %+v", body, e)
			}
		}
		if e, err := bridge.RestoreSource(other).Parse(bridge.Notification{ID: msgID, Body: strings.Replace(completion, `"JobDescription"`, `"jobdescription"`, 1)}); err == nil {
			t.Errorf("a notification without JobDescription is taken for %+v", e)
		}
	})
}

// TestAnUpgradeIsAsOldAsItSays: if an upgrade was undone meanwhile, its message must not look
// younger than the downgrade.
func TestAnUpgradeIsAsOldAsItSays(t *testing.T) {
	sent := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	for body, want := range map[string]time.Time{
		`{"user_id":"u"}`:                                                sent,
		`{"user_id":"u","upgraded_at":null}`:                             sent,
		`{"user_id":"u","upgraded_at":"2026-11-26T09:59:58.5Z"}`:         sent.Add(-1500 * time.Millisecond),
		`{"user_id":"u","upgraded_at":"2026-11-26T10:59:00+01:00"}`:      sent.Add(-time.Minute),
		`{"user_id":"u","upgraded_at":"2027-01-01T00:00:00Z"}`:           sent, // nobody's clock makes it younger
		`{"user_id":"u","upgraded_at":"2020-01-01T00:00:00Z","more": 1}`: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		e, err := bridge.PremiumSource(topic).Parse(bridge.Notification{ID: msgID, At: sent, Body: body, Via: "sns"})
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if got := e.(events.UserUpgraded).UpgradedAt; !got.Equal(want) {
			t.Errorf("%s is of %s, want %s", body, got, want)
		}
	}
}

func TestPoisonGoesToTheDeadLettersAsItCame(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		poison := []string{
			"rubbish", "[]", `{"user_id":"u","upgraded_at":"yesterday"}`, `{"user_id":"u","upgraded_at":7}`, `{"user_id":""}`, `{"user_id":7}`, `{}`, `{"user_id":"u"}{}`,
			b.envelope(sns.Message{TopicARN: other, Message: `{"user_id":"u"}`}),
			b.envelope(sns.Message{Message: `nothing`}),
			b.envelope(sns.Message{Type: sns.TypeSubscriptionConfirmation, TopicARN: other, Token: token, Message: "x"}),
			`{"Type":"Notification","TopicArn":"` + topic + `","MessageId":"1","Message":"{}","Timestamp":"yesterday"}`,
			`{"user_id":"` + strings.Repeat("x", events.MaxIDLength+1) + `"}`,
		}
		b.send(poison...)
		b.send(`{"user_id":"good"}`)
		stop := b.start()
		b.await(b.queue.deleted, len(poison)+1)
		stop()
		n := int64(len(poison))
		b.tally(n+1, 1, 0, n, 0)
		b.left(0)
		want := map[string]bool{}
		for _, p := range poison {
			want[p] = true
		}
		for _, m := range b.stored(events.StreamDead) {
			d, err := events.Decode[events.DeadLetter](m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if !want[string(d.Payload)] || d.Reason == "" || d.Consumer != "premium" || d.Stream != "SQS" || d.Attempts != 1 {
				t.Errorf("dead letter %+v of %q", d, d.Payload)
			}
			delete(want, string(d.Payload))
		}
		for p := range want {
			t.Errorf("no dead letter of %q", p)
		}
	})
}

func TestNothingIsDeletedWhileJetStreamIsDown(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		b.publish.Store(b.down)
		const n = 4
		for i := range n - 1 {
			b.send(fmt.Sprintf(`{"user_id":"u%d"}`, i))
		}
		b.send("poison")
		stop := b.start()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for b.Ready(t.Context()) == nil {
			<-tick.C
		}
		stop()
		if err := b.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "premium queue") {
			t.Errorf("Ready is %v, want an error that names the queue", err)
		}
		b.left(n)
		if len(b.queue.deleted) != 0 {
			t.Error("something was deleted")
		}
		b.tally(0, 0, 0, 0, 0)

		b.publish.Store(b.up)
		stop = b.start()
		b.await(b.queue.deleted, n)
		stop()
		b.tally(n, n-1, 0, 1, 0)
		b.left(0)
		if got := len(b.upgrades()); got != n-1 {
			t.Errorf("%d events, want %d", got, n-1)
		}
		if err := b.Ready(t.Context()); err != nil {
			t.Errorf("Ready is %v after all went well", err)
		}
	})
}

// confirmer records the subscriptions that it must confirm.
type confirmer struct {
	calls []string
	err   error
}

func (c *confirmer) ConfirmSubscription(_ context.Context, topic, token string) error {
	c.calls = append(c.calls, topic+" "+token)
	return c.err
}

func (b *fixture) webhook() (*bridge.Webhook, *confirmer) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.aws.SNS.CACertPEM())
	c := &confirmer{}
	return &bridge.Webhook{
		Verify: snsverify.New(snsverify.Config{Topics: []string{topic, other}, Roots: roots, CertEndpoint: b.aws.Endpoint(),
			Client: &http.Client{Transport: b.aws.Transport()}}),
		Confirm: c, Drains: []*bridge.Drain{b.Drain}, Log: testenv.Log(b.t),
	}, c
}

func post(h http.Handler, typ, body string, edit ...func(*http.Request)) int {
	r := httptest.NewRequest(http.MethodPost, "/sns/premium", strings.NewReader(body))
	r.Header.Set("X-Amz-Sns-Message-Type", typ)
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestTheWebhookAnswersWhatSNSIsToDo(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		h, c := b.webhook()
		good := b.envelope(sns.Message{Message: `{"user_id":"u"}`})
		confirm := b.envelope(sns.Message{Type: sns.TypeSubscriptionConfirmation, Token: token, Message: "x"})
		method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
		path := func(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }
		for _, x := range []struct {
			name, typ, body string
			edit            func(*http.Request)
			want            int
		}{
			{"tampered", "Notification", strings.Replace(good, "user_id", "user_ID", 1), nil, 403},
			{"header of another type", sns.TypeSubscriptionConfirmation, good, nil, 403},
			{"unknown topic", "Notification", b.envelope(sns.Message{TopicARN: topic + "x", Message: "{}"}), nil, 403},
			{"the other topic", "Notification", b.envelope(sns.Message{TopicARN: other, Message: "{}"}), nil, 403},
			{"old", "Notification", b.envelope(sns.Message{Message: "{}", Timestamp: time.Now().Add(-2 * time.Hour)}), nil, 403},
			{"malformed", "Notification", "{", nil, 400},
			{"empty", "Notification", "", nil, 400},
			{"raw delivery", "Notification", good, func(r *http.Request) { r.Header.Set("X-Amz-Sns-Rawdelivery", "true") }, 400},
			{"unknown path", "Notification", good, path("/sns/elsewhere"), 404},
			{"path below", "Notification", good, path("/sns/premium/"), 404},
			{"GET", "Notification", good, method("GET"), 405},
			{"PUT", "Notification", good, method("PUT"), 405},
			{"too large", "Notification", strings.Repeat("x", snsverify.MaxBody+1), nil, 413},
			{"genuine and not understood", "Notification", b.envelope(sns.Message{Message: `{"user_id":""}`}), nil, 422},
			{"unsubscribed", sns.TypeUnsubscribeConfirmation, b.envelope(sns.Message{Type: sns.TypeUnsubscribeConfirmation, Token: token, Message: "x"}), nil, 200},
			{"confirmation of the other topic", sns.TypeSubscriptionConfirmation, b.envelope(sns.Message{Type: sns.TypeSubscriptionConfirmation, TopicARN: other, Token: token, Message: "x"}), nil, 403},
			{"confirmation tampered", sns.TypeSubscriptionConfirmation, strings.Replace(confirm, token, "f"+token[1:], 1), nil, 403},
		} {
			edit := x.edit
			if edit == nil {
				edit = func(*http.Request) {}
			}
			if got := post(h, x.typ, x.body, edit); got != x.want {
				t.Errorf("%s: answered %d, want %d", x.name, got, x.want)
			}
		}
		if got := b.upgrades(); len(got) != 0 {
			t.Errorf("stored %+v, want nothing", got)
		}
		if len(c.calls) != 0 {
			t.Errorf("confirmed %q, want nothing", c.calls)
		}
		if got := h.Refused(); got[snsverify.Signature] != 2 || got[snsverify.Topic] != 3 || got[snsverify.Malformed] != 3 || got[snsverify.Stale] != 1 || got[snsverify.TypeHeader] != 1 {
			t.Errorf("refused: got %v", got)
		}

		if got := post(h, sns.TypeSubscriptionConfirmation, confirm); got != 200 || len(c.calls) != 1 || c.calls[0] != topic+" "+token {
			t.Errorf("confirmation: answered %d, confirmed %q", got, c.calls)
		}
		c.err = errors.New("not now")
		if got := post(h, sns.TypeSubscriptionConfirmation, confirm); got != 502 {
			t.Errorf("confirmation that AWS refuses: answered %d, want 502", got)
		}
		balance(t, h)
	})
}

// balance checks that each posted message counts in one counter beside received.
func balance(t *testing.T, h *bridge.Webhook) {
	t.Helper()
	ta := &h.Tally
	sum := ta.Published.Load() + ta.Duplicate.Load() + ta.Failed.Load() + ta.NotUnderstood.Load() + ta.Foreign.Load() + ta.Handshakes.Load()
	for _, n := range h.Refused() {
		sum += n
	}
	if got := ta.Received.Load(); got != sum || got == 0 {
		t.Errorf("the webhook received %d and accounts for %d", got, sum)
	}
}

func TestTheWebhookAndTheQueueStoreOneEvent(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		h, _ := b.webhook()
		first := b.envelope(sns.Message{MessageID: msgID, Message: `{"user_id":"u"}`})
		b.publish.Store(b.down)
		if got := post(h, "Notification", first); got != 503 {
			t.Errorf("with JetStream down: answered %d, want 503", got)
		}
		b.publish.Store(b.up)
		for range 2 { // SNS tries again, once too often
			if got := post(h, "Notification", first); got != 200 {
				t.Errorf("answered %d, want 200", got)
			}
		}
		b.send(first)
		stop := b.start()
		b.await(b.queue.deleted, 1)
		stop()
		b.tally(1, 0, 1, 0, 0)
		balance(t, h)
		if f, p, d := h.Tally.Failed.Load(), h.Tally.Published.Load(), h.Tally.Duplicate.Load(); f != 1 || p != 1 || d != 1 {
			t.Errorf("webhook: failed %d, published %d, duplicate %d, want 1 each", f, p, d)
		}
		if got := b.upgrades(); len(got) != 1 || got[msgID].UserID != "u" || got[msgID].Via != "sns" {
			t.Errorf("got %+v, want one event with id %s", got, msgID)
		}
	})
}

func fuzzParse(f *testing.F, s bridge.Source, seeds ...string) {
	for _, seed := range append(seeds, "", "{", "null", `{"user_id":null}`, "{}{}") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e, err := s.Parse(bridge.Notification{ID: msgID, At: time.Unix(0, 0), Body: body, Via: "sns"})
		if err != nil {
			return
		}
		if _, err := events.Encode(e); err != nil && len(body) < events.MaxSize/8 {
			t.Errorf("understood and cannot be published: %v", err)
		}
	})
}

func FuzzParsePremiumGivesWhatCanBePublished(f *testing.F) {
	fuzzParse(f, bridge.PremiumSource(topic), `{"user_id":"u"}`, `{"user_id":"\u0000 .*>"}`)
}

const completion = `{"Action":"ArchiveRetrieval","ArchiveId":"a","ArchiveSHA256TreeHash":"00","ArchiveSizeInBytes":7,"Completed":true,` +
	`"CompletionDate":"2026-11-23T10:00:00.000Z","JobDescription":"job","JobId":"r","StatusCode":"Succeeded","StatusMessage":"Succeeded","Tier":"Expedited"}`

func FuzzParseCompletionGivesWhatCanBePublished(f *testing.F) {
	fuzzParse(f, bridge.RestoreSource(other), completion, strings.Replace(completion, "Succeeded", "Failed", 1), strings.Replace(completion, "2026-11-23T10:00:00.000Z", "", 1))
}

func TestACompletionIsReadAsGlacierWritesIt(t *testing.T) {
	parse := bridge.RestoreSource(other).Parse
	got, err := parse(bridge.Notification{ID: msgID, Body: completion})
	want := events.RetrievalCompleted{Notification: msgID, JobID: "job", ArchiveID: "a", RetrievalID: "r", Status: "Succeeded", Reason: "Succeeded", Tier: "Expedited",
		Size: 7, TreeHash: "00", CompletedAt: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	if err == nil {
		want.ID = got.(events.RetrievalCompleted).ID // see TestTwoNotificationsOfARetrievalAreOneEvent
	}
	if err != nil || got != events.Event(want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if e, err := parse(bridge.Notification{ID: msgID, Body: strings.Replace(completion, `"Expedited"`, `"Overnight"`, 1)}); err != nil || e.(events.RetrievalCompleted).Tier != "" {
		t.Errorf("in a tier that this release does not know: got %+v, %v, want it without a tier", e, err)
	}
	for member, bad := range map[string]any{
		"Action": "InventoryRetrieval", "Completed": false, "StatusCode": "InProgress", "ArchiveSizeInBytes": -1,
		"JobDescription": nil, "ArchiveId": "", "JobId": nil, "CompletionDate": "today",
	} {
		var m map[string]any
		if err := json.Unmarshal([]byte(completion), &m); err != nil {
			t.Fatal(err)
		}
		m[member] = bad
		body, _ := json.Marshal(m)
		if e, err := parse(bridge.Notification{ID: msgID, Body: string(body)}); err == nil || !strings.Contains(err.Error(), member) {
			t.Errorf("%s %v: got %+v, %v, want an error that names it", member, bad, e, err)
		}
	}
}
