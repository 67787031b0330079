package sns

import (
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// tokenLife is how long a subscription can be confirmed.
const tokenLife = 48 * time.Hour

// subscription is a subscription as it is stored, by its ARN.
type subscription struct {
	ARN           string `json:"arn"`
	Topic         string `json:"topic"`
	Protocol      string `json:"protocol"`
	Endpoint      string `json:"endpoint"`
	Raw           bool   `json:"raw,omitempty"`
	Redrive       string `json:"redrive,omitempty"` // the policy, JSON
	Filter        string `json:"filter,omitempty"`  // the policy, JSON
	FilterScope   string `json:"filterScope,omitempty"`
	Confirmed     bool   `json:"confirmed,omitempty"`
	Authenticated bool   `json:"authenticated,omitempty"` // to unsubscribe takes a signature
	Token         string `json:"token,omitempty"`
	TokenUntil    int64  `json:"tokenUntil,omitempty"` // milliseconds
}

// deadLetters returns the ARN of the subscription's dead-letter queue, if it
// has any.
func (sub subscription) deadLetters() string {
	var policy struct {
		Target string `json:"deadLetterTargetArn"`
	}
	if sub.Redrive == "" || json.Unmarshal([]byte(sub.Redrive), &policy) != nil {
		return ""
	}
	return policy.Target
}

func (sub subscription) scope() string { return cmp.Or(sub.FilterScope, attributesScope) }

// wants tells whether the subscription's filter policy lets a message through.
func (sub subscription) wants(p publication) bool {
	f, err := parseFilter(sub.Filter, sub.FilterScope)
	switch {
	case err != nil:
		panic("sns: " + err.Error()) // it was read before it was kept
	case f == nil:
		return true
	case sub.scope() == bodyScope:
		return f.passesBody(p.text(sub.Protocol))
	}
	return f.passesAttributes(p.attributes)
}

// set changes an attribute, or says what is wrong with it.
func (sub *subscription) set(name, value string) *world.Error {
	switch name {
	case "RawMessageDelivery":
		raw, err := strconv.ParseBool(value)
		if err != nil {
			return invalid("Attributes Reason: RawMessageDelivery: Invalid value [%s]. Must be true or false.", value)
		}
		sub.Raw = raw
	case "RedrivePolicy":
		old := sub.Redrive
		sub.Redrive = value
		if _, _, ok := arnOf(sub.deadLetters(), "sqs"); value != "" && !ok {
			sub.Redrive = old
			return invalid("Attributes Reason: RedrivePolicy: must be JSON with deadLetterTargetArn, the ARN of an SQS queue")
		}
	case "FilterPolicy":
		f, err := parseFilter(value, sub.FilterScope)
		if err != nil {
			return invalid("FilterPolicy: %v", err)
		}
		if sub.Filter = value; f == nil {
			sub.Filter = ""
		}
	case "FilterPolicyScope":
		if value != attributesScope && value != bodyScope {
			return invalid("FilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", value)
		}
		if _, err := parseFilter(sub.Filter, value); err != nil {
			return invalid("FilterPolicyScope: %v", err)
		}
		sub.FilterScope = value
	default:
		return invalid("AttributeName Reason: the stand-in has no subscription attribute %q that could be set", name)
	}
	return nil
}

// checkEndpoint refuses what AWS refuses, and endpoints that are not on this
// machine: a stand-in must not call out.
func (s *Service) checkEndpoint(protocol, endpoint string) *world.Error {
	switch protocol {
	case "sqs":
		if _, _, ok := arnOf(endpoint, "sqs"); !ok {
			return invalid("SQS endpoint ARN")
		}
		if strings.HasSuffix(endpoint, ".fifo") {
			return invalid("Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
		}
		return nil
	case "http", "https":
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Fragment != "" {
			return invalid("HTTP(S) Endpoint")
		}
		if u.Scheme != protocol {
			return invalid("Endpoint must match the specified protocol")
		}
		if !s.cfg.AllowRemote && !isLoopback(u.Hostname()) {
			return invalid("Endpoint Reason: the stand-in delivers to this machine only (localhost, 127.0.0.0/8, ::1), not to %q", u.Hostname())
		}
		return nil
	case "email", "email-json", "sms", "application", "lambda", "firehose":
		return invalid("Protocol Reason: the stand-in has sqs, http and https, not %q", protocol)
	}
	return invalid("Does not support this protocol string: %s", protocol)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *Service) subscribe(_ *http.Request, in url.Values) (any, *world.Error) {
	protocol, endpoint := in.Get("Protocol"), in.Get("Endpoint")
	if e := s.checkEndpoint(protocol, endpoint); e != nil {
		return nil, e
	}
	wanted := subscription{Protocol: protocol, Endpoint: endpoint}
	attributes := entries(in, "Attributes.entry", "key", "value")
	// The names backwards: a filter policy is read in its scope.
	for _, k := range slices.Backward(slices.Sorted(maps.Keys(attributes))) {
		if e := wanted.set(k, attributes[k]); e != nil {
			return nil, e
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, e := s.topicOf(in, "TopicArn")
	if e != nil {
		return nil, e
	}
	sub := wanted
	sub.Topic, sub.ARN = t.ARN, t.ARN+":"+world.UUID()
	for _, old := range s.subs.Prefix(t.ARN + ":") {
		if old.Protocol != protocol || old.Endpoint != endpoint {
			continue
		}
		if len(attributes) > 0 && (old.Raw != wanted.Raw || old.Redrive != wanted.Redrive || old.Filter != wanted.Filter || old.scope() != wanted.scope()) {
			return nil, invalid("Attributes Reason: Subscription already exists with different attributes")
		}
		sub = old
	}
	if !sub.Confirmed {
		if protocol == "sqs" {
			sub.Confirmed = true // queue and topic are of one owner
		} else {
			sub.Token = world.ID(128)
			sub.TokenUntil = s.w.Clock.Now().Add(tokenLife).UnixMilli()
		}
		s.subs.Put(sub.ARN, sub)
	}
	answer := sub.ARN
	if !sub.Confirmed {
		s.out.add(sub, s.complete(Message{
			Type:     TypeSubscriptionConfirmation,
			TopicARN: t.ARN,
			Token:    sub.Token,
			Message: "You have chosen to subscribe to the topic " + t.ARN + ".\n" +
				"To confirm the subscription, visit the SubscribeURL included in this message.",
		}))
		if in.Get("ReturnSubscriptionArn") != "true" {
			answer = "pending confirmation"
		}
	}
	return struct{ SubscriptionArn string }{answer}, nil
}

func (s *Service) confirmSubscription(_ *http.Request, in url.Values) (any, *world.Error) {
	token := in.Get("Token")
	s.mu.Lock()
	defer s.mu.Unlock()
	t, e := s.topicOf(in, "TopicArn")
	if e != nil {
		return nil, e
	}
	for _, sub := range s.subs.Prefix(t.ARN + ":") {
		if sub.Token == "" || sub.Token != token {
			continue
		}
		if !sub.Confirmed {
			if s.w.Clock.Now().UnixMilli() > sub.TokenUntil {
				return nil, invalid("Token Reason: the token has expired")
			}
			sub.Confirmed = true
			sub.Authenticated = in.Get("AuthenticateOnUnsubscribe") == "true"
			s.subs.Put(sub.ARN, sub)
		}
		return struct{ SubscriptionArn string }{sub.ARN}, nil
	}
	return nil, invalid("Token")
}

// subscriptionOf returns the subscription that a call names.
func (s *Service) subscriptionOf(in url.Values) (subscription, *world.Error) {
	arn := in.Get("SubscriptionArn")
	_, resource, ok := arnOf(arn, "sns")
	if !ok || !strings.Contains(resource, ":") {
		return subscription{}, invalid("SubscriptionArn Reason: An ARN must have at least 6 elements, and be that of a subscription: %q", arn)
	}
	sub, ok := s.subs.Get(arn)
	if !ok {
		return subscription{}, notFound("Subscription")
	}
	return sub, nil
}

// unsubscribe deletes a subscription. One that is gone already is no error. An
// HTTP endpoint is told; its token is not good for coming back, other than at
// AWS.
func (s *Service) unsubscribe(r *http.Request, in url.Values) (any, *world.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, e := s.subscriptionOf(in)
	if e != nil {
		if e.Code == "NotFound" {
			return nil, nil
		}
		return nil, e
	}
	if sub.Authenticated && r.Header.Get("Authorization") == "" {
		return nil, world.Errorf(http.StatusForbidden, "AuthorizationError", "to unsubscribe %s takes a signed request", sub.ARN)
	}
	s.subs.Delete(sub.ARN)
	if t, ok := s.topics.Get(sub.Topic); ok {
		t.Deleted++
		s.topics.Put(t.ARN, t)
	}
	if sub.Confirmed && sub.Protocol != "sqs" {
		s.out.add(sub, s.complete(Message{
			Type:     TypeUnsubscribeConfirmation,
			TopicARN: sub.Topic,
			Token:    world.ID(128),
			Message: "You have chosen to deactivate subscription " + sub.ARN + ".\n" +
				"To cancel this operation and restore the subscription, visit the SubscribeURL included in this message.",
		}))
	}
	return nil, nil
}

// subscriptionMember is a subscription in a list.
type subscriptionMember struct {
	SubscriptionArn, Owner, Protocol, Endpoint, TopicArn string
}

type subscriptionList struct {
	Subscriptions []subscriptionMember `xml:"Subscriptions>member"`
	NextToken     string               `xml:",omitempty"`
}

func (s *Service) subscriptionList(rows []subscription, next string) subscriptionList {
	out := subscriptionList{NextToken: next}
	for _, sub := range rows {
		arn := sub.ARN
		if !sub.Confirmed {
			arn = "PendingConfirmation"
		}
		out.Subscriptions = append(out.Subscriptions, subscriptionMember{arn, s.w.Account, sub.Protocol, sub.Endpoint, sub.Topic})
	}
	return out
}

func (s *Service) listSubscriptions(_ *http.Request, in url.Values) (any, *world.Error) {
	rows, next, e := page(in.Get("NextToken"), s.subs.Ascend)
	if e != nil {
		return nil, e
	}
	return s.subscriptionList(rows, next), nil
}

func (s *Service) listSubscriptionsByTopic(_ *http.Request, in url.Values) (any, *world.Error) {
	t, e := s.topicOf(in, "TopicArn")
	if e != nil {
		return nil, e
	}
	prefix := t.ARN + ":"
	rows, next, e := page(in.Get("NextToken"), func(from string, f func(string, subscription) bool) {
		s.subs.Ascend(max(from, prefix), func(key string, sub subscription) bool {
			return strings.HasPrefix(key, prefix) && f(key, sub)
		})
	})
	if e != nil {
		return nil, e
	}
	return s.subscriptionList(rows, next), nil
}

func (s *Service) getSubscriptionAttributes(_ *http.Request, in url.Values) (any, *world.Error) {
	sub, e := s.subscriptionOf(in)
	if e != nil {
		return nil, e
	}
	out := pairs{
		"SubscriptionArn":              sub.ARN,
		"TopicArn":                     sub.Topic,
		"Owner":                        s.w.Account,
		"Protocol":                     sub.Protocol,
		"Endpoint":                     sub.Endpoint,
		"RawMessageDelivery":           strconv.FormatBool(sub.Raw),
		"PendingConfirmation":          strconv.FormatBool(!sub.Confirmed),
		"ConfirmationWasAuthenticated": strconv.FormatBool(sub.Protocol == "sqs" || sub.Authenticated),
		"SubscriptionPrincipal":        "arn:aws:iam::" + s.w.Account + ":root",
	}
	if sub.Redrive != "" {
		out["RedrivePolicy"] = sub.Redrive
	}
	if sub.Filter != "" {
		out["FilterPolicy"], out["FilterPolicyScope"] = sub.Filter, sub.scope()
	}
	return struct{ Attributes pairs }{out}, nil
}

func (s *Service) setSubscriptionAttributes(_ *http.Request, in url.Values) (any, *world.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, e := s.subscriptionOf(in)
	if e != nil {
		return nil, e
	}
	if e := sub.set(in.Get("AttributeName"), in.Get("AttributeValue")); e != nil {
		return nil, e
	}
	s.subs.Put(sub.ARN, sub)
	return nil, nil
}

// Subscription is what is known of a subscription.
type Subscription struct {
	ARN, TopicARN, Protocol, Endpoint string
	Confirmed, Raw                    bool
}

// Subscriptions returns the subscriptions of a topic, for tests and the demo.
func (s *Service) Subscriptions(topicARN string) []Subscription {
	var out []Subscription
	for _, sub := range s.subs.Prefix(topicARN + ":") {
		out = append(out, Subscription{sub.ARN, sub.Topic, sub.Protocol, sub.Endpoint, sub.Confirmed, sub.Raw})
	}
	return out
}
