package sns_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "123456789012"

var ctx = context.Background()

// queues keeps what is sent to queues, and refuses those that are not open.
type queues struct {
	mu   sync.Mutex
	open map[string]bool
	sent []sent
}

type sent struct {
	queue, topic, body string
	attributes         map[string]sqs.Attribute
}

func (q *queues) Send(queueARN, topicARN, body string, attributes map[string]sqs.Attribute) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open[queueARN] {
		return errors.New("closed")
	}
	q.sent = append(q.sent, sent{queueARN, topicARN, body, attributes})
	return nil
}

func (q *queues) all() []sent {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sent
}

// endpoint is a web server's handler that needs no network: it keeps what it is
// sent, and answers with the next of its statuses, 200 when they are used up.
type endpoint struct {
	mu       sync.Mutex
	statuses []int // 0 is a connection that breaks
	got      []request
	// hold, if it is there, is waited for before an answer.
	hold    chan struct{}
	running int
	most    int
}

type request struct {
	url, body string
	header    http.Header
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.got = append(e.got, request{r.URL.String(), string(body), r.Header})
	status := 200
	if len(e.statuses) > 0 {
		status, e.statuses = e.statuses[0], e.statuses[1:]
	}
	e.running++
	e.most = max(e.most, e.running)
	hold := e.hold
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.running--
		e.mu.Unlock()
	}()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	rec := httptest.NewRecorder()
	rec.WriteHeader(status)
	return rec.Result(), nil
}

func (e *endpoint) all() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got
}

// stand is a service with a client of AWS's SDK, without a network, so that it
// can live in a synctest bubble.
type stand struct {
	*awssns.Client
	t        testing.TB
	world    *world.World
	service  *sns.Service
	queues   *queues
	endpoint *endpoint
}

func open(t testing.TB, dir string, cfg sns.Config) *stand {
	t.Helper()
	w, err := world.New(dir, "us-east-1", account)
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, world: w, queues: &queues{open: map[string]bool{}}, endpoint: &endpoint{}}
	if cfg.Queues == nil {
		cfg.Queues = s.queues
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Transport: s.endpoint}
	}
	if s.service, err = sns.New(w, cfg); err != nil {
		t.Fatal(err)
	}
	s.Client = awssns.New(awssns.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String("http://sns.test"),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		HTTPClient:   s,
		Retryer:      aws.NopRetryer{},
	})
	return s
}

// Do serves a request of the client.
func (s *stand) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	if op, e := s.service.Operation(r); e != nil {
		s.service.WriteError(rec, r, e)
	} else {
		op.Serve(rec, r)
	}
	return rec.Result(), nil
}

func (s *stand) close() {
	if err := s.world.Close(); err != nil {
		s.t.Error(err)
	}
}

func start(t testing.TB) *stand {
	s := open(t, "", sns.Config{})
	t.Cleanup(s.close)
	return s
}

// topic makes a topic and returns its ARN.
func (s *stand) topic(name string, attributes map[string]string) *string {
	s.t.Helper()
	out, err := s.CreateTopic(ctx, &awssns.CreateTopicInput{Name: &name, Attributes: attributes})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.TopicArn
}

// subscribe subscribes an endpoint, which for SQS is open from now on.
func (s *stand) subscribe(topic *string, protocol, endpoint string, attributes map[string]string) string {
	s.t.Helper()
	if protocol == "sqs" {
		s.queues.open[endpoint] = true
	}
	out, err := s.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: topic, Protocol: &protocol, Endpoint: &endpoint, ReturnSubscriptionArn: true, Attributes: attributes})
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.SubscriptionArn
}

func (s *stand) publish(topic *string, message string) string {
	s.t.Helper()
	out, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: topic, Message: &message})
	if err != nil {
		s.t.Fatal(err)
	}
	return *out.MessageId
}

func queueARN(name string) string { return "arn:aws:sqs:us-east-1:" + account + ":" + name }

func wantCode(t testing.TB, err error, want string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func wantPrefix(t testing.TB, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
}
