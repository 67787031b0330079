package sqs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/localaws/sqs"
	"github.com/gas-restore/gas/internal/localaws/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "123456789012"

// stand is a service behind an HTTP server, with a client of AWS's SDK.
type stand struct {
	*awssqs.Client
	t       testing.TB
	world   *world.World
	service *sqs.Service
	server  *httptest.Server
}

func open(t testing.TB, dir string) *stand {
	t.Helper()
	w, err := world.New(dir, "us-east-1", account)
	if err != nil {
		t.Fatal(err)
	}
	service, err := sqs.New(w, "http://queues.example")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		op, e := service.Operation(r)
		if e != nil {
			service.WriteError(rw, r, e)
			return
		}
		op.Serve(rw, r)
	}))
	service.SetEndpoint(server.URL)
	s := &stand{t: t, world: w, service: service, server: server}
	s.Client = awssqs.New(awssqs.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.URL),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		HTTPClient:   server.Client(),
		Retryer:      aws.NopRetryer{},
	})
	return s
}

func (s *stand) close() {
	if err := s.world.Close(); err != nil {
		s.t.Error(err)
	}
	s.server.Close()
}

func start(t testing.TB) *stand {
	s := open(t, "")
	t.Cleanup(s.close)
	return s
}

// queue makes a queue and returns its URL.
func (s *stand) queue(name string, attributes map[string]string) *string {
	s.t.Helper()
	out, err := s.CreateQueue(context.Background(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.QueueUrl
}

func (s *stand) send(url *string, body string) {
	s.t.Helper()
	if _, err := s.SendMessage(context.Background(), &awssqs.SendMessageInput{QueueUrl: url, MessageBody: &body}); err != nil {
		s.t.Fatal(err)
	}
}

// receive receives up to ten messages without waiting.
func (s *stand) receive(url *string) []types.Message {
	s.t.Helper()
	out, err := s.ReceiveMessage(context.Background(), &awssqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: 10,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Messages
}

func (s *stand) bodies(url *string) []string {
	s.t.Helper()
	var out []string
	for _, m := range s.receive(url) {
		out = append(out, *m.Body)
	}
	return out
}

func (s *stand) attribute(url *string, name string) string {
	s.t.Helper()
	out, err := s.GetQueueAttributes(context.Background(), &awssqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Attributes[name]
}

// code returns an error's code as the SDK reads it.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
