// Package queue holds the nouns of a durable queue: what the bridge and the SQS
// adapter both speak of.
package queue

import "time"

// BatchSize is the largest batch that SQS takes and gives.
const BatchSize = 10

// Message is a message that a queue lent to us.
type Message struct {
	ID string
	// Receipt identifies this loan of the message.
	Receipt string
	Body    string
	SentAt  time.Time
	// Receives counts how often it was lent out, this time included.
	Receives int
	// Attributes go into the dead letter, if it comes to that.
	Attributes map[string][]string
}
