package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Attempt records the tries of a message that will be tried again. It is in the ATTEMPTS
// bucket only while the message exists. A message that succeeds at once needs no record.
type Attempt struct {
	// Failures counts outcomes that burn an attempt, Waits counts the others.
	Failures int `json:"failures"`
	Waits    int `json:"waits,omitempty"`
	// Begun counts deliveries that began and have no outcome yet; see suspect.
	Begun   int       `json:"begun,omitempty"`
	Subject string    `json:"subject"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	Kind    string    `json:"kind"`
	Cause   string    `json:"cause,omitempty"`
	Reason  string    `json:"reason"`
	// Stored is the server's time when it stored the message. If a stream is made anew,
	// its sequences begin again at 1; Stored tells two messages with one sequence apart.
	Stored time.Time `json:"stored,omitzero"`
}

// Of reports whether the record belongs to the message that was stored at this time. A
// record of an older release has no such time; then its last try must not be earlier than
// stored.
func (a Attempt) Of(stored time.Time) bool {
	if a.Stored.IsZero() {
		return !a.FirstAt.Before(stored)
	}
	return a.Stored.Equal(stored)
}

// Attempts keeps the attempts of one consumer's messages in the bucket [BucketAttempts].
type Attempts struct {
	kv     jetstream.KeyValue
	prefix string
}

// Attempts returns the attempts of a consumer's messages. It returns an error if the
// bucket is missing.
func (b *Bus) Attempts(ctx context.Context, stream, consumer string) (Attempts, error) {
	kv, err := b.JS.KeyValue(ctx, BucketAttempts)
	if err != nil {
		return Attempts{}, fmt.Errorf("bucket %s: %w", BucketAttempts, err)
	}
	return Attempts{kv: kv, prefix: stream + "." + consumer}, nil
}

func (l Attempts) key(seq uint64) string { return fmt.Sprintf("%s.%d", l.prefix, seq) }

// load returns the record of the message with this sequence and this time of storage;
// before, if there is none.
func (l Attempts) load(ctx context.Context, seq uint64, stored time.Time, before Attempt) (Attempt, error) {
	a, err := l.Entry(ctx, seq)
	if err != nil || !a.Of(stored) {
		a = before
	}
	a.Stored = stored.UTC()
	return a, err
}

// Entry returns the record at a sequence, without a check of the message's time.
func (l Attempts) Entry(ctx context.Context, seq uint64) (Attempt, error) {
	var a Attempt
	e, err := l.kv.Get(ctx, l.key(seq))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &a)
	}
	if err != nil {
		return a, fmt.Errorf("read attempts of %s: %w", l.key(seq), err)
	}
	return a, nil
}

func (l Attempts) save(ctx context.Context, seq uint64, a Attempt) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := l.kv.Put(ctx, l.key(seq), data); err != nil {
		return fmt.Errorf("save attempts of %s: %w", l.key(seq), err)
	}
	return nil
}

// Forget removes the record at a sequence.
func (l Attempts) Forget(ctx context.Context, seq uint64) error {
	return l.kv.Purge(ctx, l.key(seq))
}
