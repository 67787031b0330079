package stack_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// up starts everything; it stops with the test.
func up(t *testing.T, dir string, people []stack.Person) (*stack.Stack, *testlog.Lines) {
	t.Helper()
	log := &testlog.Lines{}
	return upWith(t, stack.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil))}, people), log
}

// upWith starts everything with the options, at free addresses; it stops with the test.
func upWith(t *testing.T, o stack.Options, people []stack.Person) *stack.Stack {
	t.Helper()
	o.ExpeditedDelay = 50 * time.Millisecond
	return stacktest.Up(t, o, people...)
}

// restored waits until the user's jobs have no archive any more.
func restored(t *testing.T, s *stack.Stack, user events.UserID, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	back := map[events.JobID]bool{}
	for e := range s.Bus.FollowStatus(ctx, user, events.Position{}) {
		if e.State == archive.Restored {
			back[e.JobID] = true
		}
		if len(back) == want {
			return
		}
	}
	t.Fatalf("%d of %d files of %s are back", len(back), want, user)
}

// dead waits for n dead letters and returns them.
func dead(t *testing.T, s *stack.Stack, n int) []events.DeadLetter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := s.Bus.JS.Stream(ctx, events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	var all []events.DeadLetter
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for seq := uint64(1); len(all) < n; {
		m, err := st.GetMsg(ctx, seq)
		if ctx.Err() != nil {
			t.Fatalf("%d dead letters, want %d", len(all), n)
		}
		if err != nil {
			<-tick.C
			continue
		}
		e, err := events.Decode[events.DeadLetter](m.Data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		seq++
	}
	return all
}

func TestBadInputGetsOneLineAndADeadLetterAndTheNextIsHandled(t *testing.T) {
	t.Parallel()
	people := []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 2}}
	s, log := up(t, testenv.Memory(t), people)
	topics, queues := sns.NewFromConfig(s.AWSConfig), sqs.NewFromConfig(s.AWSConfig)
	job, err := dynamodb.New(s.AWSConfig, wiring.Tables(s.Config)).Job(t.Context(), "fern-0000")
	if err != nil {
		t.Fatal(err)
	}
	notification := func(job, archive string) string {
		return fmt.Sprintf(`{"Action":"ArchiveRetrieval","ArchiveId":%q,"JobDescription":%q,"JobId":%q,"StatusCode":"Succeeded","Completed":true,"ArchiveSizeInBytes":1,"SNSTopic":%q}`, archive, job, "retrieval-of-"+job, s.Config.RestoreTopic)
	}
	for _, c := range []struct{ topic, message, says string }{
		{s.Config.PremiumTopic, `not JSON`, "message is not a JSON object"},
		{s.Config.PremiumTopic, `{"user": "fern"}`, "user_id is missing"},
		{s.Config.PremiumTopic, `{"user_id": 7}`, "user_id is a JSON number"},
		{s.Config.PremiumTopic, `{"user_id": "nobody"}`, `unknown user \"nobody\"`},
		{s.Config.RestoreTopic, notification("no-such-job", "a"), `unknown job \"no-such-job\"`},
		{s.Config.RestoreTopic, notification(string(job.ID), "another-archive"), "wrong archive id"},
		{s.Config.RestoreTopic, `{"Action":"InventoryRetrieval"}`, "not for us"},
	} {
		if _, err := topics.Publish(t.Context(), &sns.PublishInput{TopicArn: &c.topic, Message: &c.message}); err != nil {
			t.Fatal(err)
		}
	}
	// A message that no topic sent.
	if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &s.Config.PremiumQueue, MessageBody: aws.String(`[]`)}); err != nil {
		t.Fatal(err)
	}
	letters := dead(t, s, 7)
	for _, want := range []string{"not a JSON object", "user_id is missing", "user_id is a JSON number", `unknown user "nobody"`, `unknown job "no-such-job"`, "wrong archive id"} {
		n := 0
		for _, d := range letters {
			if strings.Contains(d.Reason, want) {
				n++
			}
		}
		if n == 0 {
			t.Errorf("no dead letter says %q", want)
		}
	}
	for _, words := range [][]string{{"level=INFO", "not for us", "InventoryRetrieval"}, {"level=ERROR", "user_id is missing"}, {"level=ERROR", "unknown user"}, {"level=ERROR", "unknown job"}, {"level=ERROR", "wrong archive id"}} {
		// The line follows the dead letter.
		if got := log.Await(t, words...); len(got) != 1 {
			t.Errorf("%d lines in the log with %q, want 1: %s", len(got), words, got)
		}
	}

	// A forged message on the webhook.
	forged := `{"Type":"Notification","MessageId":"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324","TopicArn":"` + s.Config.PremiumTopic + `","Message":"{\"user_id\":\"fern\"}","Timestamp":"` +
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z") + `","SignatureVersion":"2","Signature":"` + strings.Repeat("QUFB", 86)[:344] + `","SigningCertURL":"https://sns.us-east-1.amazonaws.com` + s.AWS.SNS.CertPath() + `"}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Config.WebhookListen+"/sns/premium", strings.NewReader(forged))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Sns-Message-Type", "Notification")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || len(log.With("refused", "signature")) != 1 {
		t.Errorf("forged: answered %s, logged %q", resp.Status, log.With("refused"))
	}

	// And the next message is handled.
	if _, err := topics.Publish(t.Context(), &sns.PublishInput{TopicArn: &s.Config.PremiumTopic, Message: aws.String(`{"user_id": "fern"}`)}); err != nil {
		t.Fatal(err)
	}
	restored(t, s, "fern", 2)
}

func TestALaterRunContinuesWhereAnEarlierOneStopped(t *testing.T) {
	t.Parallel()
	dir := testenv.Memory(t)
	people := []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 3}}
	t.Run("first", func(t *testing.T) {
		s, _ := up(t, dir, people)
		if n := len(s.AWS.Glacier.Archives(s.Config.Vault)); n != 3 {
			t.Fatalf("%d archives", n)
		}
	})
	t.Run("second", func(t *testing.T) {
		s, _ := up(t, dir, people)
		if n := len(s.AWS.Glacier.Archives(s.Config.Vault)); n != 3 {
			t.Fatalf("%d archives after a restart, want the same 3", n)
		}
		topics := sns.NewFromConfig(s.AWSConfig)
		if _, err := topics.Publish(t.Context(), &sns.PublishInput{TopicArn: &s.Config.PremiumTopic, Message: aws.String(`{"user_id": "fern"}`)}); err != nil {
			t.Fatal(err)
		}
		restored(t, s, "fern", 3)
	})
}

func TestPartsThatDoNotExistAreNamed(t *testing.T) {
	if err := (stack.Options{Only: []string{"aws", "s4"}}).Check(); err == nil || !strings.Contains(err.Error(), `"s4"`) {
		t.Errorf("got %v", err)
	}
	if err := (stack.Options{Only: []string{"services"}}).Check(); err == nil {
		t.Error("services alone are accepted")
	}
}
