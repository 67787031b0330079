package sqs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	topic   = "arn:aws:sns:us-east-1:" + account + ":topic"
)

var ctx = context.Background()

// tester is what testing's and rapid's T have in common.
type tester interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// stand is a service with a client of AWS's SDK. The client calls the handler
// without a network, so that a stand can live in a synctest bubble.
type stand struct {
	*awssqs.Client
	t       tester
	world   *world.World
	service *sqs.Service
}

func open(t tester, dir string) *stand {
	t.Helper()
	w, err := world.New(dir, "us-east-1", account)
	if err != nil {
		t.Fatal(err)
	}
	service, err := sqs.New(w, "http://sqs.test/")
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, world: w, service: service}
	s.Client = awssqs.New(awssqs.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String("http://sqs.test"),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		HTTPClient:   s,
		Retryer:      aws.NopRetryer{},
	})
	return s
}

// Do serves a request of the client.
func (s *stand) Do(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if op, e := s.service.Operation(r); e != nil {
		s.service.WriteError(rec, r, e)
	} else {
		op.Serve(rec, r)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func (s *stand) close() {
	if err := s.world.Close(); err != nil {
		s.t.Error(err)
	}
}

func start(t testing.TB) *stand {
	s := open(t, "")
	t.Cleanup(s.close)
	return s
}

// queue makes a queue and returns its URL.
func (s *stand) queue(name string, attributes map[string]string) *string {
	s.t.Helper()
	out, err := s.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.QueueUrl
}

func (s *stand) send(url *string, bodies ...string) {
	s.t.Helper()
	for _, body := range bodies {
		if _, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: &body}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// receive receives up to ten messages without waiting.
func (s *stand) receive(url *string) []types.Message {
	s.t.Helper()
	out, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: 10,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Messages
}

// wantBodies receives and compares the bodies.
func (s *stand) wantBodies(url *string, want ...string) []types.Message {
	s.t.Helper()
	ms := s.receive(url)
	var got []string
	for _, m := range ms {
		got = append(got, *m.Body)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("received %q, want %q", got, want)
	}
	return ms
}

func (s *stand) delete(url, handle *string) error {
	_, err := s.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: handle})
	return err
}

func (s *stand) hide(url, handle *string, seconds int32) error {
	_, err := s.ChangeMessageVisibility(ctx, &awssqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: handle, VisibilityTimeout: seconds})
	return err
}

func (s *stand) attributes(url *string) map[string]string {
	s.t.Helper()
	out, err := s.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Attributes
}

// wantCounts compares the numbers of visible, hidden and delayed messages.
func (s *stand) wantCounts(url *string, visible, hidden, delayed string) {
	s.t.Helper()
	a := s.attributes(url)
	got := [3]string{a["ApproximateNumberOfMessages"], a["ApproximateNumberOfMessagesNotVisible"], a["ApproximateNumberOfMessagesDelayed"]}
	if want := [3]string{visible, hidden, delayed}; got != want {
		s.t.Errorf("visible, hidden, delayed: got %v, want %v", got, want)
	}
}

// wantCode compares an error's code as the SDK reads it.
func wantCode(t testing.TB, err error, want string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
