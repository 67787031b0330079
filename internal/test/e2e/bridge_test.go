package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/pkg/events"
)

// TestAKilledBridgeLosesAndDoublesNothing kills the bridge at random moments
// while it drains a queue. GAS_E2E_KILLS sets how often.
func TestAKilledBridgeLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	kills, perRound := setting(t, "GAS_E2E_KILLS", 4), 600
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l := up(t, ctx, "aws,nats", "--files", "1")
	l.env = append(l.env, "GAS_WEBHOOK_LISTEN=") // the queue alone
	client, url := sqs.NewFromConfig(l.cfg), l.vars["GAS_PREMIUM_QUEUE_URL"]
	sent := map[string]bool{}
	send := func(n int) {
		for i := 0; i < n; i += 10 {
			var batch []types.SendMessageBatchRequestEntry
			for range 10 {
				id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", len(sent))
				sent["premium:"+id] = true
				body := fmt.Sprintf(`{"Type":"Notification","MessageId":%q,"TopicArn":%q,"Message":"{\"user_id\":\"user-%d\"}","Timestamp":"2026-11-23T10:00:00.000Z"}`,
					id, l.vars["GAS_PREMIUM_TOPIC_ARN"], len(sent))
				batch = append(batch, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(len(batch))), MessageBody: &body})
			}
			if out, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: batch}); err != nil || len(out.Failed) > 0 {
				t.Fatal(err, out)
			}
		}
	}
	left := func() (n int) {
		out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
			each, err := strconv.Atoi(out.Attributes[name])
			if err != nil {
				t.Fatal(err)
			}
			n += each
		}
		return n
	}
	// The messages of a killed bridge come again after their leases have ended.
	advance := func() { l.call("POST", "advance?d=31s", "") }
	l.call("POST", "latency?d=5ms", "") // so that a round takes as long as it may live
	r := rand.New(rand.NewPCG(3, 3))
	inHand := 0
	for range kills {
		send(perRound)
		p := l.start("bridge")
		l.started(p)
		<-time.After(time.Duration(r.IntN(200)) * time.Millisecond)
		p.Process.Kill()
		p.Wait()
		if n := left(); n > 0 {
			inHand++
		}
		advance()
	}
	l.start("bridge")
	tick := 0
	until(t, ctx, "the queue to be empty", func() bool {
		if tick++; tick%40 == 0 {
			advance()
		}
		return left() == 0
	})

	s, err := l.bus().JS.Stream(ctx, events.StreamPremium)
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo().State
	if int(info.Msgs) != len(sent) {
		t.Errorf("%d events stored for %d messages", info.Msgs, len(sent))
	}
	for seq := info.FirstSeq; seq <= info.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		id := m.Header.Get(events.HeaderID)
		if !sent[id] {
			t.Errorf("%s is stored twice or was not sent", id)
		}
		delete(sent, id)
	}
	for id := range sent {
		t.Errorf("%s was lost", id)
	}
	t.Logf("%d kills, %d with messages left: %d events stored, none lost, none doubled", kills, inHand, info.Msgs)
}
