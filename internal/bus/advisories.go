package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// JetStream publishes an advisory when it gives a message up. The subject ends with the
// stream and the consumer (nats-server/server/jetstream_events.go). DEAD does not take
// the advisory about terminated messages: after a leader has died, the next leader sends
// it for messages that were acked, if it had not received the acks.
const (
	// AdvisoryMaxDeliveries begins the subject of the advisory that a message has reached
	// the consumer's MaxDeliver. The stream and the consumer follow.
	AdvisoryMaxDeliveries = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."
	// TypeMaxDeliveries is the type of that advisory.
	TypeMaxDeliveries = "io.nats.jetstream.advisory.v1.max_deliver"
)

// AdvisorySubject returns the subject of the advisories about a stream's messages that
// JetStream gave up; * means any stream.
func AdvisorySubject(stream string) string { return AdvisoryMaxDeliveries + stream + ".*" }

// deadSubjects returns the subjects that the DEAD stream keeps: our dead letters, and
// JetStream's advisories about our work queues. The server keeps the advisories, even
// while no process of ours runs.
func deadSubjects() []string {
	all := []string{events.SubjectDead}
	for _, stream := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
		all = append(all, AdvisorySubject(stream))
	}
	return all
}

// CheckBackstop returns an error if the DEAD stream would not keep JetStream's advisories
// about messages that it gave up.
func CheckBackstop(ctx context.Context, js jetstream.JetStream) error {
	st, err := js.Stream(ctx, events.StreamDead)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // CheckStreams says that
	}
	if err != nil {
		return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
	}
	has := map[string]bool{}
	for _, s := range st.CachedInfo().Config.Subjects {
		has[s] = true
	}
	var missing []string
	for _, s := range deadSubjects() {
		if !has[s] {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("stream %s does not keep %s: run `gas provision`", events.StreamDead, strings.Join(missing, ", "))
	}
	return nil
}
