package stack_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// lines collects a log.
type lines struct {
	mu   sync.Mutex // guards what follows
	b    bytes.Buffer
	news chan struct{} // closed with the next line, if somebody waits
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
	return l.b.Write(p)
}

// with returns the log's lines that have all the words.
func (l *lines) with(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
next:
	for line := range strings.Lines(l.b.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// await waits until a line has all the words, and returns those that have.
func (l *lines) await(t *testing.T, words ...string) []string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		l.mu.Lock()
		if l.news == nil {
			l.news = make(chan struct{})
		}
		news := l.news
		l.mu.Unlock()
		if found := l.with(words...); len(found) > 0 {
			return found
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("no line in the log with %q", words)
		}
	}
}

// up starts everything; it stops with the test.
func up(t *testing.T, dir string, people []stack.Person) (*stack.Stack, *lines) {
	t.Helper()
	log := &lines{}
	return upWith(t, stack.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil))}, people), log
}

// upWith starts everything with the options, at free addresses; it stops with the test.
func upWith(t *testing.T, o stack.Options, people []stack.Person) *stack.Stack {
	t.Helper()
	const free = "127.0.0.1:0"
	o.ExpeditedDelay = 50 * time.Millisecond
	o.AWSAddr, o.NATSAddr, o.IDPAddr, o.WebAddr, o.WebhookAddr = free, free, free, free, free
	s, err := stack.Start(t.Context(), o, people)
	if err != nil {
		t.Fatal(err)
	}
	stopper, ctx := daemon.NewStopper(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, stopper, 10*time.Second, s.Parts...) }()
	t.Cleanup(func() {
		stopper.Stop(10 * time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
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
	people := []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 2}}
	s, log := up(t, t.TempDir(), people)
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
		if got := log.await(t, words...); len(got) != 1 {
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
	if resp.StatusCode != http.StatusForbidden || len(log.with("refused", "signature")) != 1 {
		t.Errorf("forged: answered %s, logged %q", resp.Status, log.with("refused"))
	}

	// And the next message is handled.
	if _, err := topics.Publish(t.Context(), &sns.PublishInput{TopicArn: &s.Config.PremiumTopic, Message: aws.String(`{"user_id": "fern"}`)}); err != nil {
		t.Fatal(err)
	}
	restored(t, s, "fern", 2)
}

func TestALaterRunContinuesWhereAnEarlierOneStopped(t *testing.T) {
	dir := t.TempDir()
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
