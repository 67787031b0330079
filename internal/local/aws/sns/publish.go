package sns

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/local/aws/policy"
	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// MaxMessageSize is the size of the largest message, attributes included, and
// of the largest batch.
const MaxMessageSize = 256 << 10

// publication is a message to publish, checked.
type publication struct {
	subject    string
	message    string
	perChannel map[string]string // by protocol, with MessageStructure=json
	attributes map[string]sqs.Attribute
}

func (p publication) size() int {
	n := len(p.message)
	for name, a := range p.attributes {
		n += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

// text returns the message for a protocol.
func (p publication) text(protocol string) string {
	if p.perChannel == nil {
		return p.message
	}
	if text, ok := p.perChannel[protocol]; ok {
		return text
	}
	return p.perChannel["default"]
}

var attributeName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// parsePublication reads the message with parameters that begin with prefix.
func parsePublication(in url.Values, prefix string) (publication, *world.Error) {
	p := publication{message: in.Get(prefix + "Message"), subject: in.Get(prefix + "Subject")}
	switch {
	case p.message == "":
		return p, invalid("Message Reason: Empty message")
	case !utf8.ValidString(p.message):
		return p, invalid("Message Reason: not UTF-8")
	case in.Get(prefix+"MessageDeduplicationId") != "":
		return p, invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	}
	if e := checkSubject(p.subject, in.Has(prefix+"Subject")); e != nil {
		return p, e
	}
	switch structure := in.Get(prefix + "MessageStructure"); structure {
	case "":
	case "json":
		if err := json.Unmarshal([]byte(p.message), &p.perChannel); err != nil {
			return p, invalid("Message Structure - JSON message body failed to parse")
		}
		if _, ok := p.perChannel["default"]; !ok {
			return p, invalid("Message Structure - No default entry in JSON message body")
		}
	default:
		return p, invalid("MessageStructure Reason: must be json, if provided, not %q", structure)
	}
	var e *world.Error
	if p.attributes, e = parseAttributes(in, prefix+"MessageAttributes.entry."); e != nil {
		return p, e
	}
	if p.size() > MaxMessageSize {
		return p, invalid("Message too long")
	}
	return p, nil
}

// checkSubject holds a subject to AWS's rule: up to 100 ASCII characters,
// beginning with a letter, a digit or a punctuation mark, without line breaks.
func checkSubject(subject string, there bool) *world.Error {
	if !there {
		return nil
	}
	if subject == "" || len(subject) > 100 || subject[0] == ' ' {
		return invalid("Subject")
	}
	for i := range len(subject) {
		if subject[i] < 0x20 || subject[i] > 0x7e {
			return invalid("Subject")
		}
	}
	return nil
}

func parseAttributes(in url.Values, prefix string) (map[string]sqs.Attribute, *world.Error) {
	var out map[string]sqs.Attribute
	for i := 1; in.Has(prefix + strconv.Itoa(i) + ".Name"); i++ {
		p := prefix + strconv.Itoa(i) + "."
		name := in.Get(p + "Name")
		a := sqs.Attribute{DataType: in.Get(p + "Value.DataType"), StringValue: in.Get(p + "Value.StringValue")}
		lower := strings.ToLower(name)
		if len(name) > 256 || !attributeName.MatchString(name) || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
			return nil, bad("ParameterValueInvalid", "Invalid message attribute name %q.", name)
		}
		kind, _, _ := strings.Cut(a.DataType, ".")
		switch kind {
		case "String", "Number":
			if a.StringValue == "" || in.Has(p+"Value.BinaryValue") {
				return nil, bad("ParameterValueInvalid", "The message attribute '%s' with type '%s' must use field 'String', and must not be empty.", name, kind)
			}
			if _, err := strconv.ParseFloat(a.StringValue, 64); kind == "Number" && err != nil {
				return nil, bad("ParameterValueInvalid", "Could not cast message attribute '%s' value to number.", name)
			}
		case "Binary":
			value, err := base64.StdEncoding.DecodeString(in.Get(p + "Value.BinaryValue"))
			if err != nil || len(value) == 0 || a.StringValue != "" {
				return nil, bad("ParameterValueInvalid", "The message attribute '%s' with type 'Binary' must use field 'Binary', and must not be empty.", name)
			}
			a.BinaryValue = value
		default:
			return nil, bad("ParameterValueInvalid", "The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
		}
		if _, ok := out[name]; ok {
			return nil, bad("ParameterValueInvalid", "Message attribute '%s' is there twice.", name)
		}
		if out == nil {
			out = map[string]sqs.Attribute{}
		}
		out[name] = a
	}
	return out, nil
}

func (s *Service) publish(_ *http.Request, in url.Values) (any, *world.Error) {
	if in.Get("PhoneNumber") != "" {
		return nil, invalid("PhoneNumber Reason: the stand-in sends no SMS")
	}
	parameter := "TopicArn"
	if !in.Has(parameter) && in.Has("TargetArn") {
		parameter = "TargetArn"
	}
	t, e := s.topicOf(in, parameter)
	if e != nil {
		return nil, e
	}
	if e := s.mayPublish(t); e != nil {
		return nil, e
	}
	p, e := parsePublication(in, "")
	if e != nil {
		return nil, e
	}
	return struct{ MessageId string }{s.fanOut(t, p)}, nil
}

func (s *Service) publishBatch(_ *http.Request, in url.Values) (any, *world.Error) {
	t, e := s.topicOf(in, "TopicArn")
	if e != nil {
		return nil, e
	}
	if e := s.mayPublish(t); e != nil {
		return nil, e
	}
	const prefix = "PublishBatchRequestEntries.member."
	var ids []string
	seen := map[string]bool{}
	for i := 1; in.Has(prefix + strconv.Itoa(i) + ".Id"); i++ {
		id := in.Get(prefix + strconv.Itoa(i) + ".Id")
		switch {
		case !batchID.MatchString(id):
			return nil, bad("InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the specification.")
		case seen[id]:
			return nil, bad("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		seen[id] = true
		ids = append(ids, id)
	}
	switch {
	case len(ids) == 0:
		return nil, bad("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(ids) > 10:
		return nil, bad("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	type ok struct{ Id, MessageId string }
	type failed struct {
		Id, Code, Message string
		SenderFault       bool
	}
	var out struct {
		Successful []ok     `xml:"Successful>member"`
		Failed     []failed `xml:"Failed>member"`
	}
	total := 0
	good := map[string]publication{}
	for i, id := range ids {
		p, e := parsePublication(in, prefix+strconv.Itoa(i+1)+".")
		if e != nil {
			out.Failed = append(out.Failed, failed{id, e.Code, e.Message, true})
			continue
		}
		good[id] = p
		total += p.size()
	}
	if total > MaxMessageSize {
		return nil, bad("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	for _, id := range ids {
		if p, fine := good[id]; fine {
			out.Successful = append(out.Successful, ok{id, s.fanOut(t, p)})
		}
	}
	return out, nil
}

var batchID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// Publish publishes as another service of AWS does, Glacier for example. Where the
// topic does not exist, or its policy does not let the service publish, the message is
// lost without an error, as it is there. An error says that the message or the subject is
// none that SNS takes.
func (s *Service) Publish(n world.Notification) error {
	t, err := s.openTo(n)
	if err != nil {
		s.lost.Add(1)
		return nil
	}
	in := url.Values{"Message": {n.Message}}
	if n.Subject != "" {
		in.Set("Subject", n.Subject)
	}
	p, e := parsePublication(in, "")
	if e != nil {
		return fmt.Errorf("publish to %s: %w", n.Topic, e)
	}
	s.fanOut(t, p)
	return nil
}

// Accepts tells why the topic would not take a notification of another service of AWS; nil
// if it would.
func (s *Service) Accepts(n world.Notification) error {
	_, err := s.openTo(n)
	return err
}

// openTo returns the notification's topic, if it lets the service publish.
func (s *Service) openTo(n world.Notification) (topic, error) {
	t, ok := s.topics.Get(n.Topic)
	if !ok {
		return t, fmt.Errorf("publish to %s: the topic does not exist", n.Topic)
	}
	if !s.policy(t).Allows(policy.Request{Service: n.Service, Account: s.w.Account, Source: n.Source, Action: "sns:Publish", Resource: t.ARN}) {
		return t, fmt.Errorf("publish to %s: the topic's policy does not allow sns:Publish for %s from %s", n.Topic, n.Service, n.Source)
	}
	return t, nil
}

// mayPublish refuses the account's own user where the topic's policy denies it. It needs
// no permission of the policy's: it has its own.
func (s *Service) mayPublish(t topic) *world.Error {
	if s.policy(t).Denies(policy.Request{Account: s.w.Account, Action: "sns:Publish", Resource: t.ARN}) {
		return world.Errorf(http.StatusForbidden, "AuthorizationError", "User: arn:aws:iam::%s:root is not authorized to perform: SNS:Publish on resource: %s with an explicit deny in a resource-based policy", s.w.Account, t.ARN)
	}
	return nil
}

// fanOut stores a message for every confirmed subscription of its topic and
// returns its id.
func (s *Service) fanOut(t topic, p publication) string {
	m := s.complete(Message{TopicARN: t.ARN, Subject: p.subject, Attributes: p.attributes, SignatureVersion: t.signatureVersion()})
	signatures := map[string]string{} // by text: signing is the dear part
	for _, sub := range s.subs.Prefix(t.ARN + ":") {
		if !sub.Confirmed || !sub.wants(p) {
			continue
		}
		m.Message, m.SubscriptionARN = p.text(sub.Protocol), sub.ARN
		body := m.Message
		if !sub.Raw {
			signature, ok := signatures[body]
			if !ok {
				signature = s.keys().sign(m.SignatureVersion, s.stringToSign(m))
				signatures[body] = signature
			}
			body = string(s.envelope(m, signature))
		}
		if sub.Protocol != "sqs" {
			s.out.addBody(sub, m, body)
			continue
		}
		var attributes map[string]sqs.Attribute
		if sub.Raw {
			attributes = m.Attributes
		}
		s.deliver(t.ARN, func() {
			if err := s.cfg.Queues.Send(sub.Endpoint, t.ARN, body, attributes); err != nil {
				s.giveUp(sub.deadLetters(), t.ARN, body, attributes)
			}
		})
	}
	return m.MessageID
}

// deliver calls send for each copy that a queue gets, when it is due.
func (s *Service) deliver(topicARN string, send func()) {
	copies := s.copies.Load()
	if copies == nil {
		send()
		return
	}
	after := (*copies)(topicARN)
	if len(after) == 0 {
		s.lost.Add(1)
	}
	for _, d := range after {
		if d <= 0 {
			send()
			continue
		}
		s.w.Clock.AfterFunc(d, send)
	}
}

// giveUp hands what can't be delivered to a dead-letter queue, if there is one
// that takes it.
func (s *Service) giveUp(queueARN, topicARN, body string, attributes map[string]sqs.Attribute) {
	if queueARN == "" || s.cfg.Queues.Send(queueARN, topicARN, body, attributes) != nil {
		s.lost.Add(1)
	}
}
