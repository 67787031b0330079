// Package sqs is the stand-in's Amazon SQS: standard queues over the JSON 1.0
// protocol, with long polls, visibility, redrive and retention by the world's
// clock.
//
// Where AWS leaves room, the stand-in takes the side that finds mistakes: a
// receipt handle of an earlier receive is accepted by DeleteMessage and deletes
// nothing. A message can be received twice (when its visibility ends) but is
// never lost, not by kill -9 either. FIFO queues and KMS keys are refused.
package sqs

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxRequest bounds a request's body: a batch of 1 MiB with every character
// escaped, and room for the rest.
const maxRequest = 8 << 20

// Service is Amazon SQS. It implements [world.Service].
type Service struct {
	w          *world.World
	endpoint   atomic.Pointer[string]
	queueRows  *store.Table[queueRow]
	messages   *store.Table[*message]
	receives   *store.Table[receipt]
	taskRows   *store.Table[moveTask]
	operations map[string]operation

	mu     sync.RWMutex // guards what follows
	queues map[string]*queue
	// deleted holds when queues were deleted lately, by name, in milliseconds.
	deleted map[string]int64
	// tasks holds the running move tasks by the name of their source.
	tasks map[string]*runningTask
}

var _ world.Service = (*Service)(nil)

// operation serves one call: in is the request's body. It returns the answer's body; nil
// is an empty answer.
type operation func(r *http.Request, in []byte) (any, *world.Error)

// New returns the service with the queues and messages of w's state. endpoint
// is where clients reach it, the beginning of every queue URL.
func New(w *world.World, endpoint string) (*Service, error) {
	s := &Service{
		w:       w,
		queues:  map[string]*queue{},
		deleted: map[string]int64{},
		tasks:   map[string]*runningTask{},
	}
	s.SetEndpoint(endpoint)
	var err error
	if s.queueRows, err = store.NewTable[queueRow](w.DB, "sqs.queues"); err != nil {
		return nil, err
	}
	if s.messages, err = store.NewTable[*message](w.DB, "sqs.messages"); err != nil {
		return nil, err
	}
	if s.receives, err = store.NewTable[receipt](w.DB, "sqs.receives"); err != nil {
		return nil, err
	}
	if s.taskRows, err = store.NewTable[moveTask](w.DB, "sqs.movetasks"); err != nil {
		return nil, err
	}
	s.operations = map[string]operation{
		"CreateQueue":                  s.createQueue,
		"GetQueueUrl":                  s.getQueueURL,
		"ListQueues":                   s.listQueues,
		"DeleteQueue":                  s.deleteQueue,
		"PurgeQueue":                   s.purgeQueue,
		"GetQueueAttributes":           s.getQueueAttributes,
		"SetQueueAttributes":           s.setQueueAttributes,
		"ListDeadLetterSourceQueues":   s.listDeadLetterSourceQueues,
		"TagQueue":                     s.tagQueue,
		"UntagQueue":                   s.untagQueue,
		"ListQueueTags":                s.listQueueTags,
		"SendMessage":                  s.sendMessage,
		"SendMessageBatch":             s.sendMessageBatch,
		"ReceiveMessage":               s.receiveMessage,
		"DeleteMessage":                s.deleteMessage,
		"DeleteMessageBatch":           s.deleteMessageBatch,
		"ChangeMessageVisibility":      s.changeMessageVisibility,
		"ChangeMessageVisibilityBatch": s.changeMessageVisibilityBatch,
		"StartMessageMoveTask":         s.startMessageMoveTask,
		"ListMessageMoveTasks":         s.listMessageMoveTasks,
		"CancelMessageMoveTask":        s.cancelMessageMoveTask,
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("load queues: %w", err)
	}
	return s, nil
}

// SetEndpoint says where clients reach the service from now on.
func (s *Service) SetEndpoint(url string) {
	url = strings.TrimSuffix(url, "/")
	s.endpoint.Store(&url)
}

// QueueURL returns the URL of the queue called name, whether it exists or not.
func (s *Service) QueueURL(name string) string {
	return *s.endpoint.Load() + "/" + s.w.Account + "/" + name
}

// QueueARN returns the ARN of the queue called name, whether it exists or not.
func (s *Service) QueueARN(name string) string { return s.w.ARN("sqs", name) }

// Name implements [world.Service].
func (s *Service) Name() string { return "sqs" }

// Operation implements [world.Service].
func (s *Service) Operation(r *http.Request) (world.Operation, *world.Error) {
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if !ok {
		return world.Operation{}, world.Errorf(http.StatusNotFound, "UnknownOperationException",
			"the stand-in speaks SQS's JSON protocol only, as clients do since November 2023: the X-Amz-Target header must be AmazonSQS.<operation>")
	}
	serve, ok := s.operations[name]
	if !ok {
		return world.Operation{}, world.Errorf(http.StatusNotFound, "UnknownOperationException", "the stand-in has no operation %q", name)
	}
	return world.Operation{Name: name, Serve: func(w http.ResponseWriter, r *http.Request) {
		body, err := world.ReadBody(r, maxRequest)
		if err != nil {
			s.WriteError(w, r, world.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "read the request: %v", err))
			return
		}
		out, e := serve(r, body)
		if e != nil {
			s.WriteError(w, r, e)
			return
		}
		if r.Context().Err() != nil {
			return
		}
		answer(w, http.StatusOK, out)
	}}, nil
}

func answer(w http.ResponseWriter, status int, body any) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			panic(fmt.Sprintf("sqs: answer is not JSON: %v", err)) // a programmer's mistake
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	w.WriteHeader(status)
	w.Write(raw)
}

// queryCodes are the codes that the service's older protocol had. The SDKs
// read them from a header and prefer them to the shape's name.
var queryCodes = map[string]string{
	"BatchEntryIdsNotDistinct":     "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
	"BatchRequestTooLong":          "AWS.SimpleQueueService.BatchRequestTooLong",
	"EmptyBatchRequest":            "AWS.SimpleQueueService.EmptyBatchRequest",
	"InvalidBatchEntryId":          "AWS.SimpleQueueService.InvalidBatchEntryId",
	"MessageNotInflight":           "AWS.SimpleQueueService.MessageNotInflight",
	"PurgeQueueInProgress":         "AWS.SimpleQueueService.PurgeQueueInProgress",
	"QueueDeletedRecently":         "AWS.SimpleQueueService.QueueDeletedRecently",
	"QueueDoesNotExist":            "AWS.SimpleQueueService.NonExistentQueue",
	"QueueNameExists":              "QueueAlreadyExists",
	"TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
	"UnsupportedOperation":         "AWS.SimpleQueueService.UnsupportedOperation",
}

// WriteError implements [world.Service].
func (s *Service) WriteError(w http.ResponseWriter, r *http.Request, e *world.Error) {
	fault := "Sender"
	if e.Status >= 500 {
		fault = "Receiver"
	}
	if r.Header.Get("X-Amz-Target") == "" {
		writeOld(w, e, fault)
		return
	}
	code := e.Code
	if q, ok := queryCodes[code]; ok {
		code = q
	}
	w.Header().Set("X-Amzn-Query-Error", code+";"+fault)
	body := map[string]any{"__type": "com.amazonaws.sqs#" + e.Code, "message": e.Message}
	for k, v := range e.Fields {
		body[k] = v
	}
	answer(w, e.Status, body)
}

// writeOld answers a client that speaks the older query protocol. Such a client can read an
// error only as XML.
func writeOld(w http.ResponseWriter, e *world.Error, fault string) {
	raw, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"http://queue.amazonaws.com/doc/2012-11-05/ ErrorResponse"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}{Type: fault, Code: e.Code, Message: e.Message})
	if err != nil {
		panic("sqs: answer is not XML: " + err.Error()) // a programmer's mistake
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.Status)
	w.Write(raw)
}

// decode reads a request's body into v.
func decode(in []byte, v any) *world.Error {
	if len(in) == 0 {
		in = []byte("{}")
	}
	if err := json.Unmarshal(in, v); err != nil {
		return bad("SerializationException", "the request is not what the operation takes: %v", err)
	}
	return nil
}

func bad(code, format string, args ...any) *world.Error {
	return world.Errorf(http.StatusBadRequest, code, format, args...)
}

// invalid is the error for a parameter that is out of its bounds, in AWS's words.
func invalid(value any, parameter, reason string) *world.Error {
	return bad("InvalidParameterValue", "Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason)
}

func missing(parameter string) *world.Error {
	return bad("MissingParameter", "The request must contain the parameter %s.", parameter)
}
