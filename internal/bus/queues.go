package bus

import (
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
	// description says what a message is, and work says what a worker makes from one
	// message.
	description, work string
}

// queues has all work queues.
var queues = []queue{
	{events.StreamPremium, ConsumerPlan, []string{events.SubjectPremium}, events.SubjectPremium,
		"Users who became Premium and get their archives back", "thaw: one user in, one task per archived job out"},
	{events.StreamThaw, ConsumerRequest, []string{events.SubjectThaw, events.SubjectThawOld}, "thaw.requested.>",
		"Archives to request from Glacier, one message per job", "thaw: one task in, one Glacier retrieval"},
	{events.StreamRestore, ConsumerRestore, []string{events.SubjectRestore}, events.SubjectRestore,
		"Retrievals that Glacier finished, one message per job", "restore: one finished retrieval in, one object in S3"},
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

// consumerOf returns the consumer of a work queue, "" for another stream.
func consumerOf(stream string) string {
	for _, q := range queues {
		if q.stream == stream {
			return q.consumer
		}
	}
	return ""
}

// StreamOf returns the work queue that takes a subject, "" if there is none.
func StreamOf(subject string) string {
	for _, q := range queues {
		for _, pattern := range q.subjects {
			if matches(subject, pattern) {
				return q.stream
			}
		}
	}
	return ""
}
