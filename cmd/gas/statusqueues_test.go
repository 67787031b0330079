package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestWhatIsInHandDoesNotWait(t *testing.T) {
	ns := testenv.NATS(t)
	b := testenv.Bus(t, ns, "operator")
	for i := range 5 { // the last one is in the lane
		if _, err := b.Publish(t.Context(), events.ThawRequested{ID: fmt.Sprint("m", i), UserID: "moss", JobID: events.JobID(fmt.Sprint("j", i)), ArchiveID: "a", First: i == 4}); err != nil {
			t.Fatal(err)
		}
	}
	// One was put aside, as a worker does.
	if _, err := b.JS.Publish(t.Context(), "aside.15s.thaw.requested.moss.late", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	c, err := b.JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(2, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range got.Messages() {
		_ = m // a worker has it
	}
	// The server counts what it handed out a moment after it did.
	var all []queue
	var i int
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		if all, err = queues(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		i = slices.IndexFunc(all, func(q queue) bool { return q.Stream == events.StreamThaw })
		q := all[i]
		if q.Waiting == 3 && q.InHand == 2 && q.Aside == 1 && !q.Oldest.IsZero() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %+v, want 3 waiting, 2 in flight, 1 put aside", q)
		}
	}
	if err := b.JS.DeleteConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err != nil {
		t.Fatal(err)
	}
	if all, err = queues(t.Context(), b); err != nil || all[i].Note == "" {
		t.Errorf("without its consumer: %+v, %v", all[i], err)
	}
}

func TestWhatWasCountedAtTwoMomentsAddsUp(t *testing.T) {
	for _, c := range []struct {
		msgs                 uint64
		inHand               int
		pending              uint64
		waiting, hand, aside uint64
	}{
		{10, 3, 5, 5, 3, 2}, {0, 0, 0, 0, 0, 0},
		{2, 3, 0, 0, 2, 0}, // acked in between
		{2, 0, 7, 2, 0, 0}, // published in between
	} {
		var q queue
		q.split(c.msgs, &jetstream.ConsumerInfo{NumAckPending: c.inHand, NumPending: c.pending})
		if q.Waiting != c.waiting || q.InHand != c.hand || q.Aside != c.aside {
			t.Errorf("%+v: got %+v", c, q)
		}
	}
}

func TestStatusShowsWhatIsInSQSAndWhatWasTakenAwayThere(t *testing.T) {
	a := testenv.NewAWS(t)
	account := awsestate.New(a.Config)
	d := &deployment{aws: a.Config}
	for _, c := range estate.Channels() {
		_, url, err := account.MakeChannel(t.Context(), c, c.LocalName(), c.LocalName())
		if err != nil {
			t.Fatal(err)
		}
		if c.Name == estate.Premium {
			d.cfg.PremiumQueue = url
		} else {
			d.cfg.RestoreQueue = url
		}
	}
	queues := sqs.NewFromConfig(a.Config)
	dead, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("gas-dead")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queues.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &d.cfg.PremiumQueue, Attributes: map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:gas-dead","maxReceiveCount":10}`,
	}}); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{d.cfg.PremiumQueue, d.cfg.PremiumQueue, d.cfg.PremiumQueue, *dead.QueueUrl} {
		if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &d.cfg.PremiumQueue}); err != nil {
		t.Fatal(err)
	}
	r := statusReport{At: time.Now(), Billed: new(archive.MicroUSD)}
	r.depths(t.Context(), d)
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`SQS gas-premium +2 +1 `, `SQS gas-dead +1 +0 .*troubleshooting`, `SQS gas-restore +0 +0 `} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("nothing matches %s in\n%s", want, &out)
		}
	}
	// The report names the queue that cannot be read, and shows the others.
	d.cfg.PremiumQueue, d.cfg.RestoreQueue = "", "http://aws.test/000000000000/gone"
	none := statusReport{}
	none.depths(t.Context(), d)
	if len(none.Unseen) != 2 || len(none.Queues) != 0 {
		t.Errorf("got %+v", none)
	}
}
