// Package estate describes the things in AWS that the pipeline needs: tables with their
// indexes, topics, the queues behind them, subscriptions and policies. It compares the
// description with the things that exist. `gas up` and `gas provision` make missing things,
// and `gas check` reports differences. The package does no I/O.
package estate

import "time"

// Fault is a difference from what the pipeline needs, with advice.
type Fault struct {
	Problem string `json:"problem"`
	Fix     string `json:"fix"`
	// Unsure: there may be no fault at all, but the caller cannot see that.
	Unsure bool `json:"unsure"`
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

// S3 is the service that tells the restore topic about temporary copies, if there is an
// archive bucket.
const S3 = "s3.amazonaws.com"

// UnfinishedRule is the lifecycle rule that ends uploads which nobody completed, and
// UnfinishedDays is their age in days.
const (
	UnfinishedRule = "gas-unfinished-uploads"
	UnfinishedDays = 14
)

// The channels.
const (
	Premium = "premium"
	Restore = "restore"
)

// Channels returns both channels. The messages of a topic come to the bridge on two ways:
// the queue loses no message, and the webhook is quick.
func Channels() []Channel {
	queue := Queue{MinReceives: 10, Receives: 100, Retention: 14 * 24 * time.Hour, MinRetention: 4 * 24 * time.Hour, MinMessage: 256 << 10}
	return []Channel{
		{Name: Premium, Topic: Topic{}, Queue: queue, Webhook: "/sns/premium"},
		{Name: Restore, Topic: Topic{Publishers: []string{Glacier}}, Queue: queue, Webhook: "/sns/restore"},
	}
}

// Channel is a topic, the queue behind it, and the path of the bridge's webhook.
type Channel struct {
	Name    string
	Topic   Topic
	Queue   Queue
	Webhook string
}

// LocalName is the name that `gas up` gives the topic and the queue.
func (c Channel) LocalName() string { return "gas-" + c.Name }

// Topic says how a topic must be.
type Topic struct {
	// Publishers are the AWS services that publish on the topic; none if only the site does.
	Publishers []string
}

// Queue says how a queue must be.
type Queue struct {
	// MinReceives is the smallest number of receives after which a redrive policy may take
	// a message away. While NATS cannot store a message, the bridge receives it again and
	// again, although nothing is wrong with the message.
	MinReceives int
	// Receives is the number of receives in a redrive policy that we make. The bridge itself
	// moves messages that it does not understand to DEAD, so only a message that ends the
	// bridge each time gets there.
	Receives int
	// Retention is the time for which a queue of `gas up` keeps a message. Any queue must
	// keep a message for MinRetention: an outage can last over a long weekend.
	Retention, MinRetention time.Duration
	// MinMessage is the size in bytes of the largest message that SNS sends. The queue must
	// take such a message.
	MinMessage int
}
