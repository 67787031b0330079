package sns

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/policy"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// pageSize is how many members AWS lists at a time.
const pageSize = 100

// topic is a topic as it is stored, by its ARN.
type topic struct {
	ARN        string            `json:"arn"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	// Deleted counts the subscriptions that were deleted.
	Deleted int `json:"deleted,omitempty"`
}

func (t topic) signatureVersion() string {
	if v := t.Attributes["SignatureVersion"]; v != "" {
		return v
	}
	return "1"
}

// TopicARN returns the ARN of the topic called name, whether it exists or not.
func (s *Service) TopicARN(name string) string { return s.w.ARN("sns", name) }

var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// topicOf returns the topic that a parameter names.
func (s *Service) topicOf(in url.Values, parameter string) (topic, *world.Error) {
	arn := in.Get(parameter)
	account, name, ok := arnOf(arn, "sns")
	if !ok || !topicName.MatchString(name) {
		return topic{}, invalid("%s Reason: An ARN must have at least 6 elements, not 1, and be that of a topic: %q", parameter, arn)
	}
	if account != s.w.Account {
		return topic{}, world.Errorf(http.StatusForbidden, "AuthorizationError", "not authorized to perform this operation on resource %s", arn)
	}
	t, ok := s.topics.Get(arn)
	if !ok {
		return topic{}, notFound("Topic")
	}
	return t, nil
}

// entries returns the pairs of a parameter such as Attributes.entry.1.key.
func entries(in url.Values, prefix, key, value string) map[string]string {
	out := map[string]string{}
	for i := 1; ; i++ {
		p := prefix + "." + strconv.Itoa(i) + "."
		if !in.Has(p + key) {
			return out
		}
		out[in.Get(p+key)] = in.Get(p + value)
	}
}

// checkTopicAttribute refuses what AWS refuses, and what the stand-in does not do.
func checkTopicAttribute(name, value string) *world.Error {
	switch name {
	case "DisplayName":
		if len(value) > 100 {
			return invalid("DisplayName Reason: must be up to 100 characters long")
		}
	case "Policy":
		if value == "" {
			return nil // the default again
		}
		if _, err := policy.Parse(value); err != nil {
			return invalid("Policy Error: %v", err)
		}
	case "SignatureVersion":
		if value != "1" && value != "2" {
			return invalid("SignatureVersion Reason: must be 1 or 2, not %q", value)
		}
	case "TracingConfig":
		if value != "PassThrough" {
			return invalid("TracingConfig Reason: the stand-in has PassThrough only")
		}
	case "FifoTopic", "ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy":
		if value != "false" {
			return invalid("%s Reason: the stand-in has standard topics only, no FIFO topics", name)
		}
	default:
		return invalid("AttributeName Reason: the stand-in has no topic attribute %q that could be set", name)
	}
	return nil
}

func (s *Service) createTopic(_ *http.Request, in url.Values) (any, *world.Error) {
	name := in.Get("Name")
	if strings.HasSuffix(name, ".fifo") {
		return nil, invalid("Topic Name Reason: the stand-in has standard topics only, no FIFO topics")
	}
	if !topicName.MatchString(name) {
		return nil, invalid("Topic Name")
	}
	attributes := entries(in, "Attributes.entry", "key", "value")
	for k, v := range attributes {
		if e := checkTopicAttribute(k, v); e != nil {
			return nil, e
		}
	}
	arn := s.TopicARN(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.topics.Get(arn); ok {
		for k, v := range attributes {
			if t.Attributes[k] != v {
				return nil, invalid("Attributes Reason: Topic already exists with different attributes")
			}
		}
	} else {
		s.topics.Put(arn, topic{ARN: arn, Attributes: attributes, Tags: entries(in, "Tags.member", "Key", "Value")})
	}
	return struct{ TopicArn string }{arn}, nil
}

func (s *Service) deleteTopic(_ *http.Request, in url.Values) (any, *world.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, e := s.topicOf(in, "TopicArn")
	if e != nil {
		if e.Code == "NotFound" {
			return nil, nil // idempotent
		}
		return nil, e
	}
	s.topics.Delete(t.ARN)
	for _, sub := range s.subs.Prefix(t.ARN + ":") {
		s.subs.Delete(sub.ARN)
	}
	return nil, nil
}

// page returns up to pageSize of rows from the one after token on, in the order
// of their keys.
func page[V any](token string, ascend func(from string, f func(string, V) bool)) (out []V, next string, e *world.Error) {
	after, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", invalid("NextToken")
	}
	last := ""
	ascend(string(after), func(key string, v V) bool {
		if token != "" && key == string(after) {
			return true
		}
		if len(out) == pageSize {
			next = base64.URLEncoding.EncodeToString([]byte(last))
			return false
		}
		out, last = append(out, v), key
		return true
	})
	return out, next, nil
}

func (s *Service) listTopics(_ *http.Request, in url.Values) (any, *world.Error) {
	rows, next, e := page(in.Get("NextToken"), s.topics.Ascend)
	if e != nil {
		return nil, e
	}
	type member struct{ TopicArn string }
	out := struct {
		Topics    []member `xml:"Topics>member"`
		NextToken string   `xml:",omitempty"`
	}{NextToken: next}
	for _, t := range rows {
		out.Topics = append(out.Topics, member{t.ARN})
	}
	return out, nil
}

// pairs is a map in an answer.
type pairs map[string]string

// MarshalXML implements [xml.Marshaler].
func (p pairs) MarshalXML(enc *xml.Encoder, start xml.StartElement) error {
	type entry struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	}
	var list struct {
		Entries []entry `xml:"entry"`
	}
	for _, k := range slices.Sorted(maps.Keys(p)) {
		list.Entries = append(list.Entries, entry{k, p[k]})
	}
	return enc.EncodeElement(list, start)
}

func (s *Service) getTopicAttributes(_ *http.Request, in url.Values) (any, *world.Error) {
	t, e := s.topicOf(in, "TopicArn")
	if e != nil {
		return nil, e
	}
	pending, confirmed := 0, 0
	for _, sub := range s.subs.Prefix(t.ARN + ":") {
		if sub.Confirmed {
			confirmed++
		} else {
			pending++
		}
	}
	out := pairs{
		"TopicArn":                t.ARN,
		"Owner":                   s.w.Account,
		"DisplayName":             "",
		"Policy":                  s.defaultPolicy(t.ARN),
		"SubscriptionsPending":    strconv.Itoa(pending),
		"SubscriptionsConfirmed":  strconv.Itoa(confirmed),
		"SubscriptionsDeleted":    strconv.Itoa(t.Deleted),
		"EffectiveDeliveryPolicy": s.deliveryPolicy(),
	}
	for k, v := range t.Attributes {
		if v != "" {
			out[k] = v
		}
	}
	return struct{ Attributes pairs }{out}, nil
}

// defaultPolicy is the one that AWS gives a topic: its owner may all.
func (s *Service) defaultPolicy(arn string) string {
	return fmt.Sprintf(`{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},`+
		`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],`+
		`"Resource":"%s","Condition":{"StringEquals":{"AWS:SourceOwner":"%s"}}}]}`, arn, s.w.Account)
}

// policy returns who may act on the topic: what it was given, or the default.
func (s *Service) policy(t topic) *policy.Policy {
	text := t.Attributes["Policy"]
	if text == "" {
		text = s.defaultPolicy(t.ARN)
	}
	p, err := policy.Parse(text)
	if err != nil {
		panic("sns: " + err.Error()) // it was read before it was kept
	}
	return p
}

func (s *Service) deliveryPolicy() string {
	delay := max(1, int(s.cfg.HTTPRetryDelay.Seconds()))
	return fmt.Sprintf(`{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":%d,"maxDelayTarget":%d,"numRetries":%d,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},`+
		`"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`, delay, delay, s.cfg.HTTPRetries)
}

func (s *Service) setTopicAttributes(_ *http.Request, in url.Values) (any, *world.Error) {
	name, value := in.Get("AttributeName"), in.Get("AttributeValue")
	if e := checkTopicAttribute(name, value); e != nil {
		return nil, e
	}
	return nil, s.changeTopic(in, "TopicArn", func(t *topic) {
		t.Attributes = maps.Clone(t.Attributes)
		if t.Attributes == nil {
			t.Attributes = map[string]string{}
		}
		t.Attributes[name] = value
	})
}

func (s *Service) changeTopic(in url.Values, parameter string, change func(*topic)) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, e := s.topicOf(in, parameter)
	if e != nil {
		return e
	}
	change(&t)
	s.topics.Put(t.ARN, t)
	return nil
}

type tag struct{ Key, Value string }

func (s *Service) listTags(_ *http.Request, in url.Values) (any, *world.Error) {
	t, e := s.topicOf(in, "ResourceArn")
	if e != nil {
		return nil, e
	}
	var out struct {
		Tags []tag `xml:"Tags>member"`
	}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		out.Tags = append(out.Tags, tag{k, t.Tags[k]})
	}
	return out, nil
}

func (s *Service) tagResource(_ *http.Request, in url.Values) (any, *world.Error) {
	return struct{}{}, s.changeTopic(in, "ResourceArn", func(t *topic) {
		tags := map[string]string{}
		maps.Copy(tags, t.Tags)
		maps.Copy(tags, entries(in, "Tags.member", "Key", "Value"))
		t.Tags = tags
	})
}

func (s *Service) untagResource(_ *http.Request, in url.Values) (any, *world.Error) {
	return struct{}{}, s.changeTopic(in, "ResourceArn", func(t *topic) {
		t.Tags = maps.Clone(t.Tags)
		for i := 1; in.Has("TagKeys.member." + strconv.Itoa(i)); i++ {
			delete(t.Tags, in.Get("TagKeys.member."+strconv.Itoa(i)))
		}
	})
}
