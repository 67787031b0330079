// Package estate is what the pipeline stands on in AWS: tables with their indexes, topics,
// the queues behind them, subscriptions and policies. It says how they have to be, and
// compares that with what is there. `gas up` and `gas provision` make what it says, and
// `gas check` compares with it. It does no I/O.
package estate

import "time"

// Fault is a difference from what the pipeline needs, with advice.
type Fault struct {
	Problem, Fix string
	// Unsure says that it may be right: it cannot be read from here.
	Unsure bool
}

// Estate is everything that the pipeline needs in AWS.
type Estate struct {
	Tables   []Table
	Channels []Channel
}

// Names are the names of the tables.
type Names struct{ Jobs, Accounts, Plans string }

// Of returns the estate with tables of these names.
func Of(n Names) Estate { return Estate{Tables: Tables(n), Channels: Channels()} }

// The channels.
const (
	Premium = "premium"
	Restore = "restore"
)

// Channels returns the two: what is announced on a topic comes to the bridge over a queue,
// which is the durable way, and over a webhook, which is the quick one.
func Channels() []Channel {
	queue := Queue{MinReceives: 10, Retention: 14 * 24 * time.Hour, MinRetention: 4 * 24 * time.Hour, MinMessage: 256 << 10}
	return []Channel{
		{Name: Premium, Topic: Topic{}, Queue: queue, Webhook: "/sns/premium"},
		{Name: Restore, Topic: Topic{Publisher: Glacier}, Queue: queue, Webhook: "/sns/restore"},
	}
}

// Channel is a topic, the queue behind it, and the path of the bridge's webhook.
type Channel struct {
	Name    string
	Topic   Topic
	Queue   Queue
	Webhook string
}

// LocalName is what `gas up` calls the topic and the queue.
func (c Channel) LocalName() string { return "gas-" + c.Name }

// Topic is how a topic has to be.
type Topic struct {
	// Publisher is the AWS service that publishes on it; empty if only we do.
	Publisher string
}

// Queue is how a queue has to be.
type Queue struct {
	// MinReceives is how often at least a message is received before a redrive policy
	// takes it away, if there is one. One that NATS cannot store for a while is received
	// again and again, and nothing is wrong with it.
	MinReceives int
	// Retention is how long `gas up` lets messages wait, MinRetention how long they have
	// to be able to: an outage lasts over a long weekend.
	Retention, MinRetention time.Duration
	// MinMessage is how large a message must be able to be, in bytes: SNS sends that much.
	MinMessage int
}
