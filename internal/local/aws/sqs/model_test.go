package sqs_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"pgregory.net/rapid"
)

// modelled is what a message of the model is.
type modelled struct {
	visible time.Time
	flying  bool
	count   int
	handles []string // of all its receives, the latest last
}

// TestAQueueDoesWhatItsModelDoes makes calls in any order, with time and restarts between
// them, to a queue and to a model of the queue: nothing is lost, and nothing is received
// while it is hidden or after it was deleted.
func TestAQueueDoesWhatItsModelDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(inBubble{t}, checkModel) })
}

// inBubble is a T without the deadline, which a bubble has none of.
type inBubble struct{ *testing.T }

func (inBubble) Deadline() (time.Time, bool) { return time.Time{}, false }

func checkModel(t *rapid.T) {
	dir, remove := tempDir(t)
	defer remove()
	s := open(t, dir)
	defer func() { s.close() }()
	url := s.queue("q", map[string]string{"VisibilityTimeout": "30"})
	model := map[string]*modelled{}
	var deleted []string
	now := func() time.Time { return s.world.Clock.Now() }
	pick := func(t *rapid.T) (string, *modelled) {
		var received []string
		for _, body := range slices.Sorted(maps.Keys(model)) {
			if len(model[body].handles) > 0 {
				received = append(received, body)
			}
		}
		if len(received) == 0 {
			t.Skip("nothing was received")
		}
		body := rapid.SampledFrom(received).Draw(t, "body")
		return body, model[body]
	}
	n := 0
	actions := map[string]func(*rapid.T){
		"send": func(t *rapid.T) {
			n++
			body := fmt.Sprint(n)
			delay := rapid.Int32Range(0, 20).Draw(t, "delay")
			if _, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: &body, DelaySeconds: delay}); err != nil {
				t.Fatal(err)
			}
			model[body] = &modelled{visible: now().Add(time.Duration(delay) * time.Second)}
		},
		"receive": func(t *rapid.T) {
			most := rapid.Int32Range(1, 10).Draw(t, "most")
			visibility := rapid.Int32Range(1, 20).Draw(t, "visibility")
			ready := 0
			for _, m := range model {
				if !m.visible.After(now()) {
					ready++
				}
			}
			out, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: most, VisibilityTimeout: visibility})
			if err != nil {
				t.Fatal(err)
			}
			if want := min(ready, int(most)); len(out.Messages) != want {
				t.Fatalf("received %d messages, want %d", len(out.Messages), want)
			}
			for _, got := range out.Messages {
				m := model[*got.Body]
				if m == nil || m.visible.After(now()) {
					t.Fatalf("received %s, which is deleted or hidden: %+v", *got.Body, m)
				}
				m.count++
				m.flying = true
				m.visible = now().Add(time.Duration(visibility) * time.Second)
				m.handles = append(m.handles, *got.ReceiptHandle)
			}
		},
		"delete": func(t *rapid.T) {
			body, m := pick(t)
			if err := s.delete(url, &m.handles[len(m.handles)-1]); err != nil {
				t.Fatal(err)
			}
			deleted = append(deleted, m.handles...)
			delete(model, body)
		},
		"delete by an old handle": func(t *rapid.T) {
			_, m := pick(t)
			if len(m.handles) < 2 {
				t.Skip("received once only")
			}
			if err := s.delete(url, &m.handles[0]); err != nil {
				t.Fatal(err)
			}
		},
		"delete again": func(t *rapid.T) {
			if len(deleted) == 0 {
				t.Skip("nothing was deleted")
			}
			if err := s.delete(url, aws.String(rapid.SampledFrom(deleted).Draw(t, "handle"))); err != nil {
				t.Fatal(err)
			}
		},
		"hide": func(t *rapid.T) {
			_, m := pick(t)
			seconds := rapid.Int32Range(0, 60).Draw(t, "seconds")
			err := s.hide(url, &m.handles[len(m.handles)-1], seconds)
			if !m.visible.After(now()) {
				if err == nil {
					t.Fatal("hid a message that is not in flight")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m.visible = now().Add(time.Duration(seconds) * time.Second)
		},
		"wait": func(t *rapid.T) {
			<-time.After(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "ms")) * time.Millisecond)
		},
		"restart": func(*rapid.T) {
			s.close()
			s = open(t, dir)
		},
		"": func(t *rapid.T) {
			visible, hidden, delayed := 0, 0, 0
			for _, m := range model {
				switch {
				case !m.visible.After(now()):
					visible++
				case m.flying:
					hidden++
				default:
					delayed++
				}
			}
			a := s.attributes(url)
			got := a["ApproximateNumberOfMessages"] + " " + a["ApproximateNumberOfMessagesNotVisible"] + " " + a["ApproximateNumberOfMessagesDelayed"]
			if want := fmt.Sprint(visible, hidden, delayed); got != want {
				t.Fatalf("visible, hidden, delayed: got %s, want %s", got, want)
			}
		},
	}
	for range 3 { // more steps than rapid makes of itself
		t.Repeat(actions)
	}
}
