package bus

import (
	"slices"
	"strings"

	"github.com/gas-restore/gas/pkg/events"
)

// queue is a work queue: a stream, and the consumer that all workers share.
type queue struct {
	stream, consumer string
	// subjects are the subjects of the work. filter matches all of them, and no message
	// that is put aside.
	subjects []string
	filter   string
	// first is the subject of the lane for work that a user wants before other work; empty if
	// the queue has no lane.
	first string
	// description says what a message is, and work says what a worker makes from one
	// message.
	description, work string
}

// queues has all work queues.
var queues = []queue{
	{
		stream: events.StreamPremium, consumer: ConsumerPlan, subjects: []string{events.SubjectPremium}, filter: events.SubjectPremium,
		description: "Users who became Premium and get their archives back", work: "thaw: one user in, one task per archived job out",
	},
	{
		stream: events.StreamThaw, consumer: ConsumerRequest, subjects: []string{events.SubjectThaw, events.SubjectThawOld}, filter: "thaw.requested.>",
		first:       events.SubjectThawFirst,
		description: "Archives to request from Glacier, one message per job", work: "thaw: one task in, one Glacier retrieval",
	},
	{
		stream: events.StreamRestore, consumer: ConsumerRestore, subjects: []string{events.SubjectRestore}, filter: events.SubjectRestore,
		first:       events.SubjectRestoreFirst,
		description: "Retrievals that Glacier finished, one message per job", work: "restore: one finished retrieval in, one object in S3",
	},
}

// all returns the subjects of the queue's stream: of the work, of the lane, and of what is put
// aside from both.
func (q queue) all() []string {
	all := append(slices.Clone(q.subjects), asidePrefix+"*."+q.filter)
	if q.first != "" {
		all = append(all, q.first, asidePrefix+"*."+q.first)
	}
	return all
}

// matches reports whether subject fits the pattern: it has as many tokens, and all are
// equal except where the pattern has *. A subject with wildcards fits nothing.
func matches(subject, pattern string) bool {
	if strings.ContainsAny(subject, "*> ") {
		return false
	}
	s, p := strings.Split(subject, "."), strings.Split(pattern, ".")
	if len(s) != len(p) {
		return false
	}
	for i := range p {
		if s[i] == "" || p[i] != "*" && p[i] != s[i] {
			return false
		}
	}
	return true
}

// WorkConsumers returns the consumers of a stream that hand out work: that of the work, and that
// of the lane if there is one. A stream that is no work queue has none.
func WorkConsumers(stream string) []string {
	switch q := queueOfStream(stream); {
	case q.consumer == "":
		return nil
	case q.first == "":
		return []string{q.consumer}
	default:
		return []string{q.consumer, firstOf(q.consumer)}
	}
}

// queueOfStream returns the work queue of a stream; it is empty for another stream.
func queueOfStream(stream string) queue {
	for _, q := range queues {
		if q.stream == stream {
			return q
		}
	}
	return queue{}
}

// StreamOf returns the work queue that takes a subject, "" if there is none.
func StreamOf(subject string) string {
	for _, q := range queues {
		for _, pattern := range q.subjects {
			if matches(subject, pattern) {
				return q.stream
			}
		}
		if q.first != "" && matches(subject, q.first) {
			return q.stream
		}
	}
	return ""
}
