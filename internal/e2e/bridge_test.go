package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

// TestAKilledBridgeLosesAndDoublesNothing kills the bridge at random moments
// while it drains a queue. GAS_E2E_KILLS sets how often.
func TestAKilledBridgeLosesAndDoublesNothing(t *testing.T) {
	kills, perRound := 4, 600
	if s := os.Getenv("GAS_E2E_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	w := &world{t: t, bin: binaries(t), env: os.Environ()}
	envFile := filepath.Join(t.TempDir(), "env")
	const free = "127.0.0.1:0"
	w.start("gas", "up", "--only", "aws,nats", "--dir", t.TempDir(), "--env-file", envFile, "--files", "1",
		"--aws-addr", free, "--nats-addr", free, "--idp-addr", free, "--webhook-addr", free, "--web-addr", free)
	until(t, ctx, "the environment file", func() bool { _, err := os.Stat(envFile); return err == nil })
	vars := environment(t, envFile)
	for k, v := range vars {
		if k != "GAS_WEBHOOK_LISTEN" { // the queue alone
			w.env = append(w.env, k+"="+v)
		}
	}
	cfg, err := awsclient.Load(ctx, awsclient.Options{
		Region: vars["AWS_REGION"], Endpoint: vars["AWS_ENDPOINT_URL"], AccessKey: vars["AWS_ACCESS_KEY_ID"], SecretKey: vars["AWS_SECRET_ACCESS_KEY"],
	})
	if err != nil {
		t.Fatal(err)
	}
	client, url := sqs.NewFromConfig(cfg), vars["GAS_PREMIUM_QUEUE_URL"]
	sent := map[string]bool{}
	send := func(n int) {
		for i := 0; i < n; i += 10 {
			var batch []types.SendMessageBatchRequestEntry
			for range 10 {
				id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", len(sent))
				sent["premium:"+id] = true
				body := fmt.Sprintf(`{"Type":"Notification","MessageId":%q,"TopicArn":%q,"Message":"{\"user_id\":\"user-%d\"}","Timestamp":"2026-11-23T10:00:00.000Z"}`,
					id, vars["GAS_PREMIUM_TOPIC_ARN"], len(sent))
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
	tell := func(what string) {
		resp, err := http.Post(vars["AWS_ENDPOINT_URL"]+"/_local/"+what, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s: %s", what, resp.Status)
		}
	}
	// What a killed bridge had in hand is seen again when its lease has ended.
	advance := func() { tell("advance?d=31s") }
	tell("latency?d=5ms") // so that a round takes as long as it may live
	r := rand.New(rand.NewPCG(3, 3))
	inHand := 0
	for range kills {
		send(perRound)
		p := w.start("bridge")
		until(t, ctx, "the bridge to start", func() bool { return strings.Contains(p.log.String(), "msg=started") })
		<-time.After(time.Duration(r.IntN(200)) * time.Millisecond)
		p.Process.Kill()
		p.Wait()
		if n := left(); n > 0 {
			inHand++
		}
		advance()
	}
	w.start("bridge")
	tick := 0
	until(t, ctx, "the queue to be empty", func() bool {
		if tick++; tick%40 == 0 {
			advance()
		}
		return left() == 0
	})

	b, err := bus.Connect(ctx, bus.Config{URL: vars["NATS_URL"], User: vars["NATS_USER"], Password: vars["NATS_PASSWORD"], Name: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := b.JS.Stream(ctx, events.StreamPremium)
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
