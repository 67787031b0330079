package bus

import (
	"strings"

	"github.com/gas-restore/gas/pkg/events"
)

// queue is one of the work queues: a stream, and the consumer that all workers on it share.
type queue struct {
	stream, consumer string
	// subjects are what the work is published under, and filter takes them all and
	// nothing that is put aside.
	subjects []string
	filter   string
	// description says what a message is, work what a worker makes of one.
	description, work string
}

// queues are all of them.
var queues = []queue{
	{events.StreamPremium, ConsumerPlan, []string{events.SubjectPremium}, events.SubjectPremium,
		"Users who became Premium: whose archives are to come back", "thaw: one user in, one task per archived job out"},
	{events.StreamThaw, ConsumerRequest, []string{events.SubjectThaw, events.SubjectThawOld}, "thaw.requested.>",
		"Archives to request from Glacier, one message per job", "thaw: one task in, one Glacier retrieval"},
	{events.StreamRestore, ConsumerRestore, []string{events.SubjectRestore}, events.SubjectRestore,
		"Retrievals that Glacier finished, one message per job", "restore: one finished retrieval in, one object in S3"},
}

// matches reports whether subject is one that pattern stands for: as long, and the
// same but where pattern has *. A subject with wildcards is none.
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

// consumerOf returns the consumer of a work queue, "" if the stream is none.
func consumerOf(stream string) string {
	for _, q := range queues {
		if q.stream == stream {
			return q.consumer
		}
	}
	return ""
}

// StreamOf returns the work queue that takes a subject, "" if none does.
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
