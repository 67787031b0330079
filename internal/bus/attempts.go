package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// attempt is what is known of a message that was tried and is to be tried
// again. It lives in the ATTEMPTS bucket only while the message does: a message
// that is handled at once costs nothing here.
type attempt struct {
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

// of reports whether the note is of the message that was stored then. What an older
// release noted does not say; a message is not tried before it is stored.
func (a attempt) of(stored time.Time) bool {
	if a.Stored.IsZero() {
		return !a.FirstAt.Before(stored)
	}
	return a.Stored.Equal(stored)
}

// ledger keeps the attempts of one consumer's messages.
type ledger struct {
	kv     jetstream.KeyValue
	prefix string
}

func (l ledger) key(seq uint64) string { return fmt.Sprintf("%s.%d", l.prefix, seq) }

// load returns what is noted of the message with this sequence that was stored then; if
// nothing is, what it was before.
func (l ledger) load(ctx context.Context, seq uint64, stored time.Time, before attempt) (attempt, error) {
	a, err := l.entry(ctx, seq)
	if err != nil || !a.of(stored) {
		a = before
	}
	a.Stored = stored.UTC()
	return a, err
}

// entry returns what is noted at a sequence, whichever message it is of.
func (l ledger) entry(ctx context.Context, seq uint64) (attempt, error) {
	var a attempt
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

func (l ledger) save(ctx context.Context, seq uint64, a attempt) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := l.kv.Put(ctx, l.key(seq), data); err != nil {
		return fmt.Errorf("save attempts of %s: %w", l.key(seq), err)
	}
	return nil
}

func (l ledger) forget(ctx context.Context, seq uint64) error {
	return l.kv.Purge(ctx, l.key(seq))
}
