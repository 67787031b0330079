package sns_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/local/aws/sns"
)

const hook = "http://127.0.0.1:8080/hook"

// bubble runs f with a stand in a bubble of time.
func bubble(t *testing.T, cfg sns.Config, f func(t *testing.T, s *stand)) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", cfg)
		defer s.close()
		f(t, s)
	})
}

// confirmed subscribes the hook and confirms it with the token that it got.
func (s *stand) confirmed(topic *string, attributes map[string]string) string {
	s.t.Helper()
	s.subscribe(topic, "http", hook, attributes)
	synctest.Wait()
	all := s.endpoint.all()
	m := s.verify(all[len(all)-1].body)
	out, err := s.ConfirmSubscription(ctx, &awssns.ConfirmSubscriptionInput{TopicArn: topic, Token: aws.String(m["Token"])})
	if err != nil {
		s.t.Fatal(err)
	}
	s.endpoint.mu.Lock()
	s.endpoint.got = nil
	s.endpoint.mu.Unlock()
	return *out.SubscriptionArn
}

func TestAnEndpointGetsNotificationsOnceItHasConfirmed(t *testing.T) {
	bubble(t, sns.Config{}, func(t *testing.T, s *stand) {
		arn := s.topic("t", nil)
		out, err := s.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: arn, Protocol: aws.String("http"), Endpoint: aws.String(hook)})
		if err != nil || *out.SubscriptionArn != "pending confirmation" {
			t.Fatalf("got %v, %v", out, err)
		}
		s.publish(arn, "too early")
		synctest.Wait()
		all := s.endpoint.all()
		if len(all) != 1 {
			t.Fatalf("got %d requests, want the confirmation only", len(all))
		}
		m := s.verify(all[0].body)
		h := all[0].header
		if m["Type"] != "SubscriptionConfirmation" || h.Get("X-Amz-Sns-Message-Type") != m["Type"] || h.Get("X-Amz-Sns-Message-Id") != m["MessageId"] ||
			h.Get("X-Amz-Sns-Topic-Arn") != *arn || h.Get("Content-Type") != "text/plain; charset=UTF-8" || all[0].url != hook {
			t.Errorf("got %v %v", m, h)
		}
		wantPrefix(t, m["SubscribeURL"], "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="+*arn+"&Token="+m["Token"])
		wantPrefix(t, m["Message"], "You have chosen to subscribe to the topic "+*arn)
		list, err := s.ListSubscriptionsByTopic(ctx, &awssns.ListSubscriptionsByTopicInput{TopicArn: arn})
		if err != nil || *list.Subscriptions[0].SubscriptionArn != "PendingConfirmation" {
			t.Errorf("listed as %v, %v", list, err)
		}
		_, err = s.ConfirmSubscription(ctx, &awssns.ConfirmSubscriptionInput{TopicArn: arn, Token: aws.String("guess")})
		wantCode(t, err, "InvalidParameter")
		for range 2 { // idempotent
			if _, err := s.ConfirmSubscription(ctx, &awssns.ConfirmSubscriptionInput{TopicArn: arn, Token: aws.String(m["Token"])}); err != nil {
				t.Fatal(err)
			}
		}
		id := s.publish(arn, "hello")
		synctest.Wait()
		all = s.endpoint.all()
		if len(all) != 2 {
			t.Fatalf("got %d requests, want 2", len(all))
		}
		n, h := s.verify(all[1].body), all[1].header
		if n["Message"] != "hello" || n["MessageId"] != id || h.Get("X-Amz-Sns-Message-Type") != "Notification" || h.Get("X-Amz-Sns-Subscription-Arn") == "" || h.Get("X-Amz-Sns-Rawdelivery") != "" {
			t.Errorf("got %v %v", n, h)
		}
		if s.service.PendingDeliveries() != 0 {
			t.Errorf("%d deliveries are pending, want 0", s.service.PendingDeliveries())
		}
	})
}

func TestATokenExpires(t *testing.T) {
	bubble(t, sns.Config{}, func(t *testing.T, s *stand) {
		arn := s.topic("t", nil)
		s.subscribe(arn, "http", hook, nil)
		synctest.Wait()
		token := s.verify(s.endpoint.all()[0].body)["Token"]
		s.world.Clock.Advance(48*time.Hour + time.Second)
		_, err := s.ConfirmSubscription(ctx, &awssns.ConfirmSubscriptionInput{TopicArn: arn, Token: &token})
		wantCode(t, err, "InvalidParameter")
		s.confirmed(arn, nil) // subscribing again sends another
	})
}

func TestTheLinksInAMessageWorkWithoutASignature(t *testing.T) {
	bubble(t, sns.Config{}, func(t *testing.T, s *stand) {
		arn := s.topic("t", nil)
		s.subscribe(arn, "http", hook, nil)
		synctest.Wait()
		get := func(link string) *http.Response {
			resp, err := s.Do(httptest.NewRequest("GET", strings.TrimPrefix(link, "https://sns.us-east-1.amazonaws.com"), nil))
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		if resp := get(s.verify(s.endpoint.all()[0].body)["SubscribeURL"]); resp.StatusCode != 200 {
			t.Errorf("SubscribeURL: got %d", resp.StatusCode)
		}
		s.publish(arn, "hello")
		synctest.Wait()
		if resp := get(s.verify(s.endpoint.all()[1].body)["UnsubscribeURL"]); resp.StatusCode != 200 {
			t.Errorf("UnsubscribeURL: got %d", resp.StatusCode)
		}
		synctest.Wait()
		m := s.verify(s.endpoint.all()[2].body)
		if m["Type"] != "UnsubscribeConfirmation" || len(s.service.Subscriptions(*arn)) != 0 {
			t.Errorf("got %v", m)
		}
	})
}

func TestAnEndpointThatAsksForItIsUnsubscribedWithASignatureOnly(t *testing.T) {
	bubble(t, sns.Config{}, func(t *testing.T, s *stand) {
		arn := s.topic("t", nil)
		s.subscribe(arn, "http", hook, nil)
		synctest.Wait()
		token := s.verify(s.endpoint.all()[0].body)["Token"]
		out, err := s.ConfirmSubscription(ctx, &awssns.ConfirmSubscriptionInput{TopicArn: arn, Token: &token, AuthenticateOnUnsubscribe: aws.String("true")})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Do(httptest.NewRequest("GET", "/?Action=Unsubscribe&SubscriptionArn="+*out.SubscriptionArn, nil))
		if err != nil || resp.StatusCode != 403 {
			t.Errorf("got %v, %v, want 403", resp, err)
		}
		if _, err := s.Unsubscribe(ctx, &awssns.UnsubscribeInput{SubscriptionArn: out.SubscriptionArn}); err != nil {
			t.Error(err)
		}
	})
}

func TestAFailedDeliveryIsTriedThreeMoreTimes(t *testing.T) {
	for _, c := range []struct {
		name     string
		statuses []int
		tries    int
		lost     int64
	}{
		{"at once", nil, 1, 0},
		{"then well", []int{503, 0, 429}, 4, 0},
		{"never well", []int{500, 500, 500, 500, 500}, 4, 1},
		{"for good", []int{403}, 1, 1},
		{"redirected", []int{302}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, sns.Config{}, func(t *testing.T, s *stand) {
				arn := s.topic("t", nil)
				s.confirmed(arn, nil)
				s.endpoint.statuses = c.statuses
				s.publish(arn, "x")
				synctest.Wait()
				for try := 1; try < c.tries; try++ {
					if n := len(s.endpoint.all()); n != try {
						t.Errorf("after %d delays: got %d tries, want %d", try-1, n, try)
					}
					s.world.Clock.Advance(20*time.Second - time.Millisecond)
					synctest.Wait()
					if n := len(s.endpoint.all()); n != try {
						t.Errorf("before the delay is over: got %d tries, want %d", n, try)
					}
					s.world.Clock.Advance(time.Millisecond)
					synctest.Wait()
				}
				s.world.Clock.Advance(time.Hour)
				synctest.Wait()
				if n := len(s.endpoint.all()); n != c.tries {
					t.Errorf("got %d tries, want %d", n, c.tries)
				}
				if s.service.Lost() != c.lost || s.service.PendingDeliveries() != 0 {
					t.Errorf("lost %d, pending %d, want %d and 0", s.service.Lost(), s.service.PendingDeliveries(), c.lost)
				}
				for _, r := range s.endpoint.all() {
					if r.body != s.endpoint.all()[0].body {
						t.Error("another body at another try")
					}
				}
			})
		})
	}
}

func TestWhatAnEndpointDoesNotTakeGoesToTheDeadLetterQueue(t *testing.T) {
	bubble(t, sns.Config{HTTPRetries: -1}, func(t *testing.T, s *stand) {
		s.queues.open[queueARN("dead")] = true
		arn := s.topic("t", nil)
		s.confirmed(arn, map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + queueARN("dead") + `"}`})
		s.endpoint.statuses = []int{500}
		s.publish(arn, "x")
		synctest.Wait()
		if all := s.queues.all(); len(all) != 1 || s.verify(all[0].body)["Message"] != "x" {
			t.Errorf("sent %+v", all)
		}
	})
}

func TestDeliveriesGoOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, sns.Config{})
		arn := s.topic("t", nil)
		s.confirmed(arn, map[string]string{"RawMessageDelivery": "true"})
		s.endpoint.hold = make(chan struct{}) // it never answers
		for i := range 30 {
			s.publish(arn, fmt.Sprint(i))
		}
		synctest.Wait()
		s.close()

		s = open(t, dir, sns.Config{})
		defer s.close()
		synctest.Wait()
		got := map[string]bool{}
		for _, r := range s.endpoint.all() {
			got[r.body] = true
			if r.header.Get("X-Amz-Sns-Rawdelivery") != "true" {
				t.Error("raw delivery is not marked")
			}
		}
		if len(got) != 30 || len(s.endpoint.all()) != 30 || s.service.PendingDeliveries() != 0 {
			t.Errorf("got %d messages in %d requests, want 30 in 30", len(got), len(s.endpoint.all()))
		}
	})
}

func TestASlowEndpointHoldsNobodyUp(t *testing.T) {
	bubble(t, sns.Config{HTTPConcurrency: 3}, func(t *testing.T, s *stand) {
		arn := s.topic("t", nil)
		s.confirmed(arn, nil)
		s.subscribe(arn, "sqs", queueARN("q"), nil)
		s.endpoint.hold = make(chan struct{})
		began := time.Now()
		for range 10 {
			s.publish(arn, "x")
		}
		synctest.Wait()
		if d := time.Since(began); d != 0 || len(s.queues.all()) != 10 {
			t.Errorf("publishing took %v, and the queue got %d messages, want 10", d, len(s.queues.all()))
		}
		close(s.endpoint.hold)
		synctest.Wait()
		if s.endpoint.most != 3 || len(s.endpoint.all()) != 10 {
			t.Errorf("%d deliveries at a time, %d in all, want 3 and 10", s.endpoint.most, len(s.endpoint.all()))
		}
	})
}

func TestAnEndpointThatDoesNotAnswerIsGivenUpAfterFifteenSeconds(t *testing.T) {
	bubble(t, sns.Config{HTTPRetries: -1}, func(t *testing.T, s *stand) {
		arn := s.topic("t", nil)
		s.confirmed(arn, nil)
		s.endpoint.hold = make(chan struct{})
		s.publish(arn, "x")
		<-time.After(15*time.Second + time.Millisecond)
		synctest.Wait()
		if s.service.Lost() != 1 {
			t.Errorf("lost %d, want 1", s.service.Lost())
		}
	})
}

func TestTheDefaultClientReachesThisMachineOnlyAndFollowsNothing(t *testing.T) {
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.URL.Path
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	s := open(t, "", sns.Config{HTTPClient: sns.LoopbackClient(), HTTPRetries: -1})
	defer s.close()
	arn := s.topic("t", nil)
	s.subscribe(arn, "http", server.URL+"/hook", nil)
	if path := <-got; path != "/hook" {
		t.Errorf("got %s, want /hook", path)
	}
	for _, address := range []string{"http://192.0.2.1:80/", "http://[2001:db8::1]:80/"} {
		if _, err := sns.LoopbackClient().Get(address); err == nil || !strings.Contains(err.Error(), "this machine only") {
			t.Errorf("%s: got %v", address, err)
		}
	}
	select {
	case path := <-got:
		t.Errorf("the redirect to %s was followed", path)
	default:
	}
}
