package sqs

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/policy"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

const (
	// sender is who sent what came over the wire, snsSender what SNS delivered.
	sender    = "AIDALOCALSTANDIN00000"
	snsSender = "AIDAISMY7JYY5F7RTT6AO"
	maxBatch  = 10
)

// sendEntry is a message to send, alone or in a batch.
type sendEntry struct {
	Id                      string
	MessageBody             string
	DelaySeconds            *int
	MessageAttributes       map[string]Attribute
	MessageSystemAttributes map[string]Attribute
	MessageDeduplicationId  string
	MessageGroupId          string
}

// sent is the answer to a message, alone or in a batch.
type sent struct {
	Id                           string `json:",omitempty"`
	MessageId                    string
	MD5OfMessageBody             string
	MD5OfMessageAttributes       string `json:",omitempty"`
	MD5OfMessageSystemAttributes string `json:",omitempty"`
}

// failure is the answer to a batch's entry that was refused.
type failure struct {
	Id          string
	SenderFault bool
	Code        string
	Message     string
}

func failed(id string, e *world.Error) failure {
	code := e.Code
	if q, ok := queryCodes[code]; ok {
		code = q
	}
	return failure{id, e.Status < 500, code, e.Message}
}

// check makes the message of an entry, or says what AWS has against it.
func (q *queue) check(in sendEntry, now int64) (*message, sent, *world.Error) {
	set := q.settings.Load()
	delay := set.delay
	if in.DelaySeconds != nil {
		delay = *in.DelaySeconds
	}
	if delay < 0 || delay > 900 {
		return nil, sent{}, invalid(delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
	}
	if in.MessageDeduplicationId != "" {
		return nil, sent{}, invalid(in.MessageDeduplicationId, "MessageDeduplicationId", "The request includes a parameter that is not valid for this queue type.")
	}
	if e := checkBody(in.MessageBody); e != nil {
		return nil, sent{}, e
	}
	if e := checkAttributes(in.MessageAttributes); e != nil {
		return nil, sent{}, e
	}
	if size(in.MessageBody, in.MessageAttributes) > set.maxSize {
		return nil, sent{}, bad("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", set.maxSize)
	}
	trace := ""
	for name, a := range in.MessageSystemAttributes {
		if name != "AWSTraceHeader" || a.DataType != "String" || a.StringValue == "" {
			return nil, sent{}, bad("InvalidParameterValue", "Message system attribute %q is invalid: only AWSTraceHeader, a String, can be sent.", name)
		}
		trace = a.StringValue
	}
	m := &message{
		ID:         world.UUID(),
		Body:       in.MessageBody,
		Attributes: in.MessageAttributes,
		Trace:      trace,
		Sender:     sender,
		Sent:       now,
	}
	if delay > 0 {
		m.Visible = now + int64(delay)*1000
	}
	return m, sent{
		Id:                           in.Id,
		MessageId:                    m.ID,
		MD5OfMessageBody:             md5Of(m.Body),
		MD5OfMessageAttributes:       md5OfAttributes(m.Attributes),
		MD5OfMessageSystemAttributes: md5OfAttributes(in.MessageSystemAttributes),
	}, nil
}

func (s *Service) sendMessage(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl string
		sendEntry
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	req.Id = ""
	m, out, e := q.check(req.sendEntry, s.now())
	if e != nil {
		return nil, e
	}
	if !q.add(m) {
		return nil, noQueue()
	}
	return out, nil
}

func (s *Service) sendMessageBatch(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl string
		Entries  []sendEntry
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	if e := checkBatch(len(req.Entries), func(i int) string { return req.Entries[i].Id }); e != nil {
		return nil, e
	}
	total := 0
	for _, entry := range req.Entries {
		total += size(entry.MessageBody, entry.MessageAttributes)
	}
	if total > MaxMessageSize {
		return nil, bad("BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", MaxMessageSize, total)
	}
	out := struct {
		Successful []sent
		Failed     []failure
	}{[]sent{}, []failure{}}
	var messages []*message
	now := s.now()
	for _, entry := range req.Entries {
		m, ok, e := q.check(entry, now)
		if e != nil {
			out.Failed = append(out.Failed, failed(entry.Id, e))
			continue
		}
		messages = append(messages, m)
		out.Successful = append(out.Successful, ok)
	}
	if !q.add(messages...) {
		return nil, noQueue()
	}
	return out, nil
}

var batchID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkBatch refuses a batch for its size or its ids.
func checkBatch(n int, id func(int) string) *world.Error {
	switch {
	case n == 0:
		return bad("EmptyBatchRequest", "There should be at least one entry in the request.")
	case n > maxBatch:
		return bad("TooManyEntriesInBatchRequest", "Maximum number of entries per request are %d. You have sent %d.", maxBatch, n)
	}
	seen := map[string]bool{}
	for i := range n {
		switch name := id(i); {
		case !batchID.MatchString(name):
			return bad("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		case seen[name]:
			return bad("BatchEntryIdsNotDistinct", "Id %s repeated.", name)
		default:
			seen[name] = true
		}
	}
	return nil
}

// received is a message as ReceiveMessage answers it.
type received struct {
	MessageId              string
	ReceiptHandle          string
	MD5OfBody              string
	Body                   string
	Attributes             map[string]string    `json:",omitempty"`
	MD5OfMessageAttributes string               `json:",omitempty"`
	MessageAttributes      map[string]Attribute `json:",omitempty"`
}

// systemAttributes are those that a receive may ask for.
var systemAttributes = map[string]bool{
	"All": true, "SenderId": true, "SentTimestamp": true, "ApproximateReceiveCount": true,
	"ApproximateFirstReceiveTimestamp": true, "AWSTraceHeader": true, "DeadLetterQueueSourceArn": true,
	// Those of FIFO queues and others that no message here has.
	"SequenceNumber": false, "MessageDeduplicationId": false, "MessageGroupId": false,
}

func (s *Service) receiveMessage(r *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl                    string
		AttributeNames              []string
		MessageSystemAttributeNames []string
		MessageAttributeNames       []string
		MaxNumberOfMessages         *int
		VisibilityTimeout           *int
		WaitTimeSeconds             *int
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	n := 1
	if req.MaxNumberOfMessages != nil {
		if n = *req.MaxNumberOfMessages; n < 1 || n > maxBatch {
			return nil, invalid(n, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
		}
	}
	set := q.settings.Load()
	visibility := set.visibility
	if req.VisibilityTimeout != nil {
		if visibility = *req.VisibilityTimeout; visibility < 0 || visibility > 43200 {
			return nil, invalid(visibility, "VisibilityTimeout", "Must be between 0 and 43200, if provided.")
		}
	}
	wait := set.wait
	if req.WaitTimeSeconds != nil {
		if wait = *req.WaitTimeSeconds; wait < 0 || wait > 20 {
			return nil, invalid(wait, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
		}
	}
	names := map[string]bool{}
	for _, name := range append(req.AttributeNames, req.MessageSystemAttributeNames...) {
		if _, known := systemAttributes[name]; !known {
			return nil, bad("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
		names[name] = true
	}

	deliveries, e := q.receive(r.Context().Done(), n, int64(visibility)*1000, time.Duration(wait)*time.Second)
	if e != nil {
		return nil, e
	}
	var out struct {
		Messages []received `json:",omitempty"`
	}
	for _, d := range deliveries {
		attributes := selectAttributes(d.m.Attributes, req.MessageAttributeNames)
		out.Messages = append(out.Messages, received{
			MessageId:              d.m.ID,
			ReceiptHandle:          d.handle.String(),
			MD5OfBody:              md5Of(d.m.Body),
			Body:                   d.m.Body,
			Attributes:             d.system(names),
			MD5OfMessageAttributes: md5OfAttributes(attributes),
			MessageAttributes:      attributes,
		})
	}
	return out, nil
}

// system returns the system attributes among names.
func (d delivery) system(names map[string]bool) map[string]string {
	if len(names) == 0 {
		return nil
	}
	all := map[string]string{
		"SenderId":                         d.m.Sender,
		"SentTimestamp":                    strconv.FormatInt(d.m.Sent, 10),
		"ApproximateReceiveCount":          strconv.FormatUint(uint64(d.count), 10),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(d.first, 10),
	}
	if d.m.Trace != "" {
		all["AWSTraceHeader"] = d.m.Trace
	}
	if d.m.Source != "" {
		all["DeadLetterQueueSourceArn"] = d.m.Source
	}
	if !names["All"] {
		for name := range all {
			if !names[name] {
				delete(all, name)
			}
		}
	}
	return all
}

// receive takes up to n messages, waiting for the first until wait has passed,
// the receiver has gone, or the world has ended.
func (q *queue) receive(gone <-chan struct{}, n int, visibility int64, wait time.Duration) ([]delivery, *world.Error) {
	clock := q.s.w.Clock
	deadline := clock.Now().Add(wait)
	for {
		select {
		case <-gone:
			return nil, nil
		default:
		}
		now := clock.Now()
		var target string
		var most uint32
		if redrive := q.settings.Load().redrive; redrive != nil && q.s.queue(redrive.target) != nil {
			target, most = redrive.target, redrive.max
		}
		q.mu.Lock()
		if q.gone {
			q.mu.Unlock()
			return nil, noQueue()
		}
		out, over, overLimit := q.take(now.UnixMilli(), n, visibility, most)
		until := deadline
		var arrived <-chan struct{}
		if len(out) == 0 && now.Before(deadline) {
			if next := q.timers.first(); next != nil && !overLimit {
				if at := time.UnixMilli(next.until); at.Before(until) {
					until = at
				}
			}
			arrived = q.arrived()
		}
		q.mu.Unlock()
		q.moveDead(over, target)
		switch {
		case len(out) > 0:
			return out, nil
		case overLimit && wait == 0:
			return nil, world.Errorf(http.StatusForbidden, "OverLimit", "Too many messages in flight: a queue has up to %d.", maxInFlight)
		case arrived == nil:
			return nil, nil
		}
		due := make(chan struct{})
		timer := clock.At(until, func() { close(due) })
		select {
		case <-arrived:
		case <-due:
		case <-gone:
		case <-q.s.w.Context().Done():
			timer.Stop()
			return nil, nil
		}
		timer.Stop()
	}
}

func (s *Service) deleteMessage(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct{ QueueUrl, ReceiptHandle string }
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	if req.ReceiptHandle == "" {
		return nil, missing("ReceiptHandle")
	}
	return nil, q.remove(req.ReceiptHandle)
}

func (s *Service) changeMessageVisibility(_ *http.Request, in []byte) (any, *world.Error) {
	var req struct {
		QueueUrl string
		changeEntry
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	return nil, q.change(req.changeEntry)
}

// changeEntry is a change of a message's visibility, alone or in a batch.
type changeEntry struct {
	Id                string
	ReceiptHandle     string
	VisibilityTimeout *int
}

func (q *queue) change(in changeEntry) *world.Error {
	switch {
	case in.ReceiptHandle == "":
		return missing("ReceiptHandle")
	case in.VisibilityTimeout == nil:
		return missing("VisibilityTimeout")
	case *in.VisibilityTimeout < 0 || *in.VisibilityTimeout > 43200:
		return invalid(*in.VisibilityTimeout, "VisibilityTimeout", "Must be between 0 and 43200.")
	}
	return q.hide(in.ReceiptHandle, time.Duration(*in.VisibilityTimeout)*time.Second)
}

// batchResult is the answer of the batches that answer ids only.
type batchResult struct {
	Successful []batchOK
	Failed     []failure
}

type batchOK struct{ Id string }

func (s *Service) deleteMessageBatch(_ *http.Request, in []byte) (any, *world.Error) {
	return s.changeBatch(in, func(q *queue, entry changeEntry) *world.Error { return q.remove(entry.ReceiptHandle) })
}

func (s *Service) changeMessageVisibilityBatch(_ *http.Request, in []byte) (any, *world.Error) {
	return s.changeBatch(in, (*queue).change)
}

func (s *Service) changeBatch(in []byte, change func(*queue, changeEntry) *world.Error) (any, *world.Error) {
	var req struct {
		QueueUrl string
		Entries  []changeEntry
	}
	if e := decode(in, &req); e != nil {
		return nil, e
	}
	q, e := s.named(req.QueueUrl)
	if e != nil {
		return nil, e
	}
	if e := checkBatch(len(req.Entries), func(i int) string { return req.Entries[i].Id }); e != nil {
		return nil, e
	}
	out := batchResult{[]batchOK{}, []failure{}}
	for _, entry := range req.Entries {
		if e := change(q, entry); e != nil {
			out.Failed = append(out.Failed, failed(entry.Id, e))
		} else {
			out.Successful = append(out.Successful, batchOK{entry.Id})
		}
	}
	return out, nil
}

// Send puts a message into the queue as Amazon SNS does: by the queue's ARN, and
// if the queue's policy lets topicARN. When it returns without an error the
// message is stored. The error says why the message can not be delivered; no
// later try will do better.
func (s *Service) Send(queueARN, topicARN, body string, attributes map[string]Attribute) error {
	return s.send("sns.amazonaws.com", snsSender, topicARN, queueARN, sendEntry{MessageBody: body, MessageAttributes: attributes})
}

// SendAs puts a message into the queue as another service of AWS does, as Send does for
// SNS: service is the principal, "s3.amazonaws.com" for example, and source the ARN of what
// the message is about.
func (s *Service) SendAs(service, source, queueARN, body string) error {
	return s.send(service, service, source, queueARN, sendEntry{MessageBody: body})
}

// Accepts tells why the queue would not take a message of SendAs; nil if it would.
func (s *Service) Accepts(service, source, queueARN string) error {
	_, err := s.openTo(service, source, queueARN)
	return err
}

// openTo returns the queue, if it lets the service send for the source.
func (s *Service) openTo(service, source, queueARN string) (*queue, error) {
	q := s.queueByARN(queueARN)
	if q == nil {
		return nil, fmt.Errorf("send to %s: the queue does not exist", queueARN)
	}
	send := policy.Request{Service: service, Account: s.w.Account, Source: source, Action: "sqs:SendMessage", Resource: queueARN}
	if !q.settings.Load().policy.Allows(send) {
		return nil, fmt.Errorf("send to %s: the queue's policy does not allow sqs:SendMessage for %s from %s", queueARN, service, source)
	}
	return q, nil
}

func (s *Service) send(service, sender, source, queueARN string, entry sendEntry) error {
	q, err := s.openTo(service, source, queueARN)
	if err != nil {
		return err
	}
	m, _, e := q.check(entry, s.now())
	if e != nil {
		return fmt.Errorf("send to %s: %w", queueARN, e)
	}
	m.Sender = sender
	if !q.add(m) {
		return fmt.Errorf("send to %s: the queue does not exist", queueARN)
	}
	return nil
}
