package estate

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Subscription is a subscription of a topic.
type Subscription struct {
	Protocol, Endpoint string
	// Pending: nobody has confirmed the subscription.
	Pending bool
	// Raw: messages come without SNS's envelope.
	Raw bool
	// Filter is a filter policy; empty if there is none.
	Filter string
}

// FoundTopic is a topic that exists.
type FoundTopic struct {
	ARN, Policy   string
	Subscriptions []Subscription
}

// FoundQueue is a queue that exists.
type FoundQueue struct {
	ARN, Policy string
	// Redrive is the redrive policy, as JSON; empty if there is none. DeadThere says
	// whether the dead-letter queue that it names exists.
	Redrive   string
	DeadThere bool
	Retention time.Duration
	// MaxMessage is the size of the largest message that the queue takes, in bytes. Key
	// names the KMS key; empty if there is none.
	MaxMessage int
	Key        string
	// Encrypted: SQS encrypts messages with its own key.
	Encrypted bool
}

// account returns the account of an ARN.
func account(arn string) string {
	if parts := strings.Split(arn, ":"); len(parts) > 4 {
		return parts[4]
	}
	return ""
}

// CompareTopic returns the faults of the found topic. found is nil if there is no topic.
// other is the webhook path of the other channel.
func (c Channel) CompareTopic(found *FoundTopic, arn, other string) []Fault {
	if found == nil {
		return []Fault{{Problem: fmt.Sprintf("there is no topic %s", arn), Fix: "correct the ARN, or make the topic with `gas provision aws`"}}
	}
	var faults []Fault
	if strings.HasSuffix(arn, ".fifo") {
		faults = append(faults, Fault{Problem: fmt.Sprintf("topic %s is a FIFO topic", arn), Fix: "make a standard topic"})
	}
	for _, publisher := range c.Topic.Publishers {
		fix := fmt.Sprintf("add a statement to the topic's policy that lets Service %s do SNS:Publish on it, with StringEquals aws:SourceAccount", publisher)
		switch found.admits(publisher) {
		case No:
			faults = append(faults, Fault{Problem: fmt.Sprintf("the policy of topic %s does not let %s publish: retrievals would finish in silence", arn, publisher), Fix: fix})
		case Unsure:
			faults = append(faults, Fault{Problem: fmt.Sprintf("whether the policy of topic %s lets %s publish depends on conditions that are not known here", arn, publisher), Fix: fix, Unsure: true})
		}
	}
	for _, s := range found.Subscriptions {
		faults = append(faults, c.compareWebhook(s, arn, other)...)
	}
	return faults
}

// admits returns whether the topic's policy lets the service publish on it.
func (t *FoundTopic) admits(service string) Answer {
	return Allows(t.Policy, Access{Service: service, Action: "SNS:Publish", Resource: t.ARN, Account: account(t.ARN)})
}

// LetsPublish reports whether the topic's policy may let the service publish on it.
func (t *FoundTopic) LetsPublish(service string) bool { return t.admits(service) != No }

// compareWebhook returns what is wrong with a subscription of the bridge's webhook.
func (c Channel) compareWebhook(s Subscription, arn, other string) []Fault {
	u, err := url.Parse(s.Endpoint)
	if err != nil || s.Protocol != "http" && s.Protocol != "https" {
		return nil
	}
	again := fmt.Sprintf("aws sns subscribe --topic-arn %s --protocol %s --notification-endpoint", arn, s.Protocol)
	switch {
	case strings.HasSuffix(u.Path, other):
		right := *u
		right.Path = strings.TrimSuffix(u.Path, other) + c.Webhook
		return []Fault{{Problem: fmt.Sprintf("topic %s calls %s, which is for the other topic: are the two ARNs swapped?", arn, s.Endpoint), Fix: fmt.Sprintf("name the right topic, or subscribe %s", right.String())}}
	case !strings.HasSuffix(u.Path, c.Webhook):
		return nil // another program's subscription
	case s.Pending:
		return []Fault{{Problem: fmt.Sprintf("the webhook %s stays PendingConfirmation", s.Endpoint), Fix: fmt.Sprintf("start a bridge there, which confirms it, and subscribe once more: %s %s", again, s.Endpoint)}}
	case s.Raw:
		return []Fault{{Problem: fmt.Sprintf("the webhook %s has raw message delivery, which carries no signature and is refused", s.Endpoint), Fix: "set RawMessageDelivery of that subscription to false"}}
	case s.Filter != "":
		return []Fault{filtered(s)}
	}
	return nil
}

func filtered(s Subscription) Fault {
	return Fault{Problem: fmt.Sprintf("the subscription of %s has a filter policy, which drops messages", s.Endpoint), Fix: "remove the FilterPolicy of that subscription"}
}

// CompareQueue returns the faults of the found queue. topic is the queue's own topic, and
// rival is the topic of the other channel. found, topic and rival are nil if they do not
// exist.
func (c Channel) CompareQueue(found *FoundQueue, name string, topic, rival *FoundTopic) []Fault {
	if found == nil {
		return []Fault{{Problem: fmt.Sprintf("there is no queue %s", name), Fix: "correct the URL or the region, or make the queue with `gas provision aws`"}}
	}
	var faults []Fault
	if strings.HasSuffix(found.ARN, ".fifo") {
		faults = append(faults, Fault{Problem: fmt.Sprintf("queue %s is a FIFO queue", name), Fix: "make a standard queue"})
	}
	faults = append(faults, c.compareSubscription(found, name, topic, rival)...)
	faults = append(faults, c.compareRedrive(found, name)...)
	if found.Retention < c.Queue.MinRetention {
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("queue %s forgets messages after %s: an outage that lasts longer loses them", name, found.Retention),
			Fix:     fmt.Sprintf("set MessageRetentionPeriod to %d (14 days)", int(c.Queue.Retention.Seconds())),
		})
	}
	if found.MaxMessage < c.Queue.MinMessage {
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("queue %s takes messages of up to %d bytes, and SNS sends up to %d", name, found.MaxMessage, c.Queue.MinMessage),
			Fix:     fmt.Sprintf("set MaximumMessageSize to %d", c.Queue.MinMessage),
		})
	}
	switch {
	case found.Key == "":
	case strings.HasSuffix(found.Key, "alias/aws/sqs"):
		faults = append(faults, Fault{Problem: fmt.Sprintf("queue %s is encrypted with %s, which SNS may not use", name, found.Key), Fix: "use SSE-SQS, or a key of your own that lets sns.amazonaws.com in"})
	default:
		faults = append(faults, Fault{Problem: fmt.Sprintf("whether SNS may use key %s, with which queue %s is encrypted", found.Key, name), Fix: "the key's policy must let sns.amazonaws.com do kms:GenerateDataKey* and kms:Decrypt", Unsure: true})
	}
	return faults
}

// compareSubscription returns the faults that keep the topic's messages from the queue.
func (c Channel) compareSubscription(q *FoundQueue, name string, topic, rival *FoundTopic) []Fault {
	if topic == nil {
		return nil // CompareTopic reports it
	}
	var faults []Fault
	sub, there := topic.Feeds(q)
	_, other := rival.Feeds(q)
	switch {
	case !there && other:
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("queue %s is subscribed to topic %s, not to %s: are the two queues or the two topics swapped?", name, rival.ARN, topic.ARN),
			Fix:     "swap the URLs of the two queues, or the ARNs of the two topics",
		})
		return faults
	case !there:
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("queue %s is not subscribed to topic %s", name, topic.ARN),
			Fix:     fmt.Sprintf("aws sns subscribe --topic-arn %s --protocol sqs --notification-endpoint %s", topic.ARN, q.ARN),
		})
	case other:
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("queue %s is subscribed to topic %s too", name, rival.ARN), Fix: "remove that subscription: each topic has a queue of its own",
		})
	case sub.Pending:
		faults = append(faults, Fault{Problem: fmt.Sprintf("the subscription of queue %s to topic %s stays PendingConfirmation", name, topic.ARN), Fix: "subscribe it from the queue's own account: then AWS confirms it"})
	case sub.Filter != "":
		faults = append(faults, filtered(sub))
	}
	const fix = "add a statement to the queue's policy that lets Service sns.amazonaws.com do sqs:SendMessage on it, with ArnEquals aws:SourceArn the topic's ARN"
	switch q.admits(topic.ARN) {
	case No:
		faults = append(faults, Fault{Problem: fmt.Sprintf("the policy of queue %s does not let topic %s send to it: SNS drops what it may not send", name, topic.ARN), Fix: fix})
	case Unsure:
		faults = append(faults, Fault{Problem: fmt.Sprintf("whether the policy of queue %s lets topic %s send depends on conditions that are not known here", name, topic.ARN), Fix: fix, Unsure: true})
	}
	return faults
}

// admits returns whether the queue's policy lets the topic send to it.
func (q *FoundQueue) admits(topic string) Answer {
	return Allows(q.Policy, Access{Service: notifications, Action: "sqs:SendMessage", Resource: q.ARN, Source: topic, Account: account(topic)})
}

// LetsIn reports whether the queue's policy is certain to let the topic send to it.
func (q *FoundQueue) LetsIn(topic string) bool { return q.admits(topic) == Yes }

// Feeds returns the subscription through which the topic's messages go to the queue.
func (t *FoundTopic) Feeds(q *FoundQueue) (Subscription, bool) {
	if t == nil {
		return Subscription{}, false
	}
	i := slices.IndexFunc(t.Subscriptions, func(s Subscription) bool { return s.Protocol == "sqs" && s.Endpoint == q.ARN })
	if i < 0 {
		return Subscription{}, false
	}
	return t.Subscriptions[i], true
}

// Redrive is a redrive policy: it moves a message that was received too often to another
// queue.
type Redrive struct {
	// Target is the ARN of the dead-letter queue.
	Target string
	// Receives is the number of receives after which a message moves.
	Receives int
}

// ParseRedrive reads a redrive policy from JSON; ok is false if the JSON has none.
func ParseRedrive(policy string) (r Redrive, ok bool) {
	var p struct {
		Target   string          `json:"deadLetterTargetArn"`
		Receives json.RawMessage `json:"maxReceiveCount"`
	}
	if policy == "" || json.Unmarshal([]byte(policy), &p) != nil || p.Target == "" {
		return Redrive{}, false
	}
	r = Redrive{Target: p.Target, Receives: 10} // AWS's default
	// AWS takes and returns this number as a JSON number or as a JSON string.
	if n, err := strconv.Atoi(strings.Trim(string(p.Receives), `"`)); err == nil {
		r.Receives = n
	}
	return r, true
}

func (c Channel) compareRedrive(q *FoundQueue, name string) []Fault {
	if q.Redrive == "" {
		return nil
	}
	r, ok := ParseRedrive(q.Redrive)
	if !ok {
		return []Fault{{Problem: fmt.Sprintf("the redrive policy of queue %s cannot be read: %s", name, q.Redrive), Fix: "set it anew, or remove it"}}
	}
	var faults []Fault
	if r.Receives < c.Queue.MinReceives {
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("queue %s gives a message up after %d receives (maxReceiveCount), which an outage of NATS uses up although nothing is wrong with the message", name, r.Receives),
			Fix:     fmt.Sprintf("set maxReceiveCount to %d or more, or remove the redrive policy: a message that cannot be understood goes to DEAD anyway", c.Queue.MinReceives),
		})
	}
	if !q.DeadThere {
		faults = append(faults, Fault{
			Problem: fmt.Sprintf("the dead-letter queue %s of queue %s is not there", r.Target, name), Fix: "make it, or remove the redrive policy",
		})
	}
	return faults
}
