// Package sns is the stand-in's Amazon SNS: topics with subscriptions to SQS
// and HTTP endpoints over the query protocol, every envelope signed with a
// certificate of a local CA.
//
// From Publish's answer on a message is stored in every queue subscribed, and
// as a delivery for every HTTP endpoint; kill -9 loses none. A queue gets it
// only if the queue's policy lets the topic send, and another service of AWS publishes
// only if the topic's policy lets it, as at AWS, where a policy that does not is a silent
// loss; [Service.Lost] counts those. A message
// that a filter policy holds back is not lost. FIFO topics, SMS, e-mail and platform
// endpoints are refused.
package sns

import (
	"cmp"
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxRequest bounds a request's body: a batch of 256 KiB with every byte
// escaped, and room for the rest.
const maxRequest = 2 << 20

// Queues is where messages for SQS go.
type Queues interface {
	// Send stores a message from the topic in the queue. An error means that it
	// can not be delivered, now or later.
	Send(queueARN, topicARN, body string, attributes map[string]sqs.Attribute) error
}

// Config says what the service is like. Queues is required.
type Config struct {
	Queues Queues
	// HTTPRetries is how often a failed HTTP delivery is tried again; 0 is
	// AWS's 3, a negative number is never.
	HTTPRetries int
	// HTTPRetryDelay is the time between the tries, AWS's 20 s if it is 0.
	HTTPRetryDelay time.Duration
	// HTTPConcurrency is how many deliveries to one endpoint run at a time, 8 if
	// it is 0.
	HTTPConcurrency int
	// HTTPClient makes the deliveries. Without one, connections are made to
	// loopback addresses only and redirects are not followed.
	HTTPClient *http.Client
	// AllowRemote accepts endpoints that are not on this machine. Without it
	// Subscribe refuses them.
	AllowRemote bool
}

// Service is Amazon SNS. It implements [world.Service].
type Service struct {
	w          *world.World
	cfg        Config
	keys       func() *keys
	topics     *store.Table[topic]
	subs       *store.Table[subscription]
	deliveries *store.Table[delivery]
	operations map[string]operation
	out        *dispatcher
	lost       atomic.Int64
	copies     atomic.Pointer[func(topicARN string) []time.Duration]

	// mu is held while topics and subscriptions are changed; reading them needs
	// no more than the tables.
	mu sync.Mutex
}

var _ world.Service = (*Service)(nil)

// operation serves one call. It returns the content of the answer's Result element; nil
// is an answer without one.
type operation func(r *http.Request, in url.Values) (any, *world.Error)

// New returns the service with the state of w, and goes on with the deliveries
// that were not done.
func New(w *world.World, cfg Config) (*Service, error) {
	switch {
	case cfg.HTTPRetries == 0:
		cfg.HTTPRetries = 3
	case cfg.HTTPRetries < 0:
		cfg.HTTPRetries = 0
	}
	cfg.HTTPRetryDelay = cmp.Or(cfg.HTTPRetryDelay, 20*time.Second)
	cfg.HTTPConcurrency = cmp.Or(cfg.HTTPConcurrency, 8)
	own := cfg.HTTPClient == nil
	if own {
		cfg.HTTPClient = loopbackClient(cfg.AllowRemote)
	}
	s := &Service{w: w, cfg: cfg}
	var err error
	if s.topics, err = store.NewTable[topic](w.DB, "sns.topics"); err != nil {
		return nil, err
	}
	if s.subs, err = store.NewTable[subscription](w.DB, "sns.subscriptions"); err != nil {
		return nil, err
	}
	if s.deliveries, err = store.NewTable[delivery](w.DB, "sns.deliveries"); err != nil {
		return nil, err
	}
	if s.keys, err = openKeys(w); err != nil {
		return nil, err
	}
	s.operations = map[string]operation{
		"CreateTopic":               s.createTopic,
		"DeleteTopic":               s.deleteTopic,
		"ListTopics":                s.listTopics,
		"GetTopicAttributes":        s.getTopicAttributes,
		"SetTopicAttributes":        s.setTopicAttributes,
		"ListTagsForResource":       s.listTags,
		"TagResource":               s.tagResource,
		"UntagResource":             s.untagResource,
		"Subscribe":                 s.subscribe,
		"ConfirmSubscription":       s.confirmSubscription,
		"Unsubscribe":               s.unsubscribe,
		"ListSubscriptions":         s.listSubscriptions,
		"ListSubscriptionsByTopic":  s.listSubscriptionsByTopic,
		"GetSubscriptionAttributes": s.getSubscriptionAttributes,
		"SetSubscriptionAttributes": s.setSubscriptionAttributes,
		"Publish":                   s.publish,
		"PublishBatch":              s.publishBatch,
	}
	s.out = newDispatcher(s)
	w.Go(func(ctx context.Context) {
		s.out.run(ctx)
		if own {
			cfg.HTTPClient.CloseIdleConnections()
		}
	})
	return s, nil
}

// SetDelivery lets copies say how each message reaches a queue: once after each of
// the times that it returns, in no order but theirs; not at all if there is none,
// which counts as lost. nil is once and at once, the default. What is to come later
// is in memory only.
func (s *Service) SetDelivery(copies func(topicARN string) []time.Duration) {
	if copies == nil {
		s.copies.Store(nil)
		return
	}
	s.copies.Store(&copies)
}

// Lost returns how many messages no subscriber got because [Service.SetDelivery]
// says so, because the topic did not let the service publish, because the subscription's
// queue was not there or did not let the topic send, or because an HTTP endpoint failed to
// the end, and which no dead-letter queue took.
func (s *Service) Lost() int64 { return s.lost.Load() }

// Name implements [world.Service].
func (s *Service) Name() string { return "sns" }

// Operation implements [world.Service]. The parameters may be in the URL, as
// they are in the links of a message.
func (s *Service) Operation(r *http.Request) (world.Operation, *world.Error) {
	in, e := parameters(r)
	if e != nil {
		return world.Operation{}, e
	}
	name := in.Get("Action")
	serve, ok := s.operations[name]
	if !ok {
		return world.Operation{}, bad("InvalidAction", "The stand-in has no operation %q.", name)
	}
	return world.Operation{Name: name, Serve: func(w http.ResponseWriter, r *http.Request) {
		in, e := parameters(r)
		if e != nil {
			s.WriteError(w, r, e)
			return
		}
		out, e := serve(r, in)
		if e != nil {
			s.WriteError(w, r, e)
			return
		}
		s.answer(w, http.StatusOK, name, out)
	}}, nil
}

func parameters(r *http.Request) (url.Values, *world.Error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("MalformedQueryString", "The query string is malformed: %v", err)
	}
	if r.Method != http.MethodPost {
		return query, nil
	}
	body, err := world.ReadBody(r, maxRequest)
	if err != nil {
		return nil, world.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "read the request: %v", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, bad("MalformedQueryString", "The form is malformed: %v", err)
	}
	for key, values := range form {
		if len(values) > 1 || query.Has(key) {
			return nil, bad("MalformedQueryString", "The parameter %s is there twice.", key)
		}
		query[key] = values
	}
	return query, nil
}

const namespace = "http://sns.amazonaws.com/doc/2010-03-31/"

// element is an XML element with a name that is known at run time.
type element struct {
	name    string
	content any
}

// MarshalXML implements [xml.Marshaler].
func (e element) MarshalXML(enc *xml.Encoder, _ xml.StartElement) error {
	return enc.EncodeElement(e.content, xml.StartElement{Name: xml.Name{Local: e.name}})
}

func (s *Service) answer(w http.ResponseWriter, status int, operation string, result any) {
	type response struct {
		Namespace string `xml:"xmlns,attr"`
		Result    any
		RequestID string `xml:"ResponseMetadata>RequestId"`
	}
	out := response{Namespace: namespace, RequestID: requestID(w)}
	if result != nil {
		out.Result = element{operation + "Result", result}
	}
	writeXML(w, status, element{operation + "Response", out})
}

// WriteError implements [world.Service].
func (s *Service) WriteError(w http.ResponseWriter, _ *http.Request, e *world.Error) {
	type content struct {
		Namespace string `xml:"xmlns,attr"`
		Type      string `xml:"Error>Type"`
		Code      string `xml:"Error>Code"`
		Message   string `xml:"Error>Message"`
		RequestID string `xml:"RequestId"`
	}
	fault := "Sender"
	if e.Status >= 500 {
		fault = "Receiver"
	}
	writeXML(w, e.Status, element{"ErrorResponse", content{namespace, fault, e.Code, e.Message, requestID(w)}})
}

func requestID(w http.ResponseWriter) string {
	return cmp.Or(w.Header().Get("X-Amzn-Requestid"), "00000000-0000-4000-8000-000000000000")
}

func writeXML(w http.ResponseWriter, status int, root element) {
	raw, err := xml.Marshal(root)
	if err != nil {
		panic("sns: answer is not XML: " + err.Error()) // a programmer's mistake
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	w.Write(raw)
}

func bad(code, format string, args ...any) *world.Error {
	return world.Errorf(http.StatusBadRequest, code, format, args...)
}

func invalid(format string, args ...any) *world.Error {
	return bad("InvalidParameter", "Invalid parameter: "+format, args...)
}

func notFound(what string) *world.Error {
	return world.Errorf(http.StatusNotFound, "NotFound", "%s does not exist", what)
}

// arnOf tells whether s is an ARN of service, and returns its account and
// resource.
func arnOf(s, service string) (account, resource string, ok bool) {
	m := arnPattern.FindStringSubmatch(s)
	if m == nil || m[1] != service {
		return "", "", false
	}
	return m[2], m[3], true
}

var arnPattern = regexp.MustCompile(`^arn:aws[a-z-]*:([a-z]+):[a-z0-9-]+:([0-9]{12}):(\S+)$`)
