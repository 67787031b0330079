package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Attempt is what is known of a message that was tried and is to be tried
// again. It lives in the ATTEMPTS bucket only while the message does: a message
// that is handled at once costs nothing here.
type Attempt struct {
	// Failures counts outcomes that burn an attempt, Waits those that don't.
	Failures int `json:"failures"`
	Waits    int `json:"waits,omitempty"`
	// Begun counts deliveries that began and came to no outcome yet; see suspect.
	Begun   int       `json:"begun,omitempty"`
	Subject string    `json:"subject"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	Kind    string    `json:"kind"`
	Cause   string    `json:"cause,omitempty"`
	Reason  string    `json:"reason"`
	// Stored is when the message was stored, by the server's clock. Sequences begin again
	// when a stream is made anew; two messages of one sequence do not have this in common.
	Stored time.Time `json:"stored,omitzero"`
}

// Of reports whether the note is Of the message that was stored then. What an older
// release noted does not say; a message is not tried before it is stored.
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

// Attempts returns the attempts of a consumer's messages. A bucket that is not there is an
// error.
func (b *Bus) Attempts(ctx context.Context, stream, consumer string) (Attempts, error) {
	kv, err := b.JS.KeyValue(ctx, BucketAttempts)
	if err != nil {
		return Attempts{}, fmt.Errorf("bucket %s: %w", BucketAttempts, err)
	}
	return Attempts{kv: kv, prefix: stream + "." + consumer}, nil
}

func (l Attempts) key(seq uint64) string { return fmt.Sprintf("%s.%d", l.prefix, seq) }

// load returns what is noted of the message with this sequence that was stored then; if
// nothing is, what it was before.
func (l Attempts) load(ctx context.Context, seq uint64, stored time.Time, before Attempt) (Attempt, error) {
	a, err := l.Entry(ctx, seq)
	if err != nil || !a.Of(stored) {
		a = before
	}
	a.Stored = stored.UTC()
	return a, err
}

// Entry returns what is noted at a sequence, whichever message it is of.
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

// Forget removes what is noted at a sequence.
func (l Attempts) Forget(ctx context.Context, seq uint64) error {
	return l.kv.Purge(ctx, l.key(seq))
}
