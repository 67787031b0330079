package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// What JetStream says when it gives a message up by itself: the subject, which ends
// with the stream and the consumer, and the type (nats-server/server/jetstream_events.go).
// That a message was terminated is not listened to: after a leader has died, the
// next one says it of messages that were acked, whose acks it had not heard of.
const (
	// AdvisoryMaxDeliveries begins the subject of the advisory that a consumer's
	// MaxDeliver is reached; the stream and the consumer follow.
	AdvisoryMaxDeliveries = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."
	// TypeMaxDeliveries is the type of that advisory.
	TypeMaxDeliveries = "io.nats.jetstream.advisory.v1.max_deliver"
)

// AdvisorySubject returns where JetStream tells of messages of a stream that it
// gave up; * is any stream.
func AdvisorySubject(stream string) string { return AdvisoryMaxDeliveries + stream + ".*" }

// deadSubjects returns what the DEAD stream keeps: our dead letters, and as a
// backstop what JetStream says of our work queues. They are kept by the server
// itself, whether or not any process of ours is alive.
func deadSubjects() []string {
	all := []string{events.SubjectDead}
	for _, stream := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
		all = append(all, AdvisorySubject(stream))
	}
	return all
}

// CheckBackstop returns an error if the DEAD stream would not keep what JetStream
// says of messages that it gave up.
func CheckBackstop(ctx context.Context, js jetstream.JetStream) error {
	st, err := js.Stream(ctx, events.StreamDead)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // CheckStreams says that
	}
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", events.StreamDead, err)
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
