package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Waiting reports whether the work-queue stream of e has a message with e's
// subject. Such a stream keeps a message until it is acked, so one that is being
// worked on is waiting too.
func (b *Bus) Waiting(ctx context.Context, e events.Event) (bool, error) {
	name, err := queueOf(e)
	if err != nil {
		return false, err
	}
	st, err := b.stream(ctx, name)
	if err == nil {
		_, err = st.GetLastMsgForSubject(ctx, e.Subject())
	}
	b.heard(err)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fault.Errorf(fault.Transient, "look for %s in stream %s: %w", e.Subject(), name, err)
	}
	return true, nil
}

// queueOf returns the work queue of an event.
func queueOf(e events.Event) (string, error) {
	switch e.(type) {
	case events.UserUpgraded:
		return events.StreamPremium, nil
	case events.ThawRequested:
		return events.StreamThaw, nil
	case events.RetrievalCompleted:
		return events.StreamRestore, nil
	}
	return "", fault.Errorf(fault.Invalid, "a %s does not wait for anything", e.Type())
}

// stream returns a stream by its name, which is looked up once: what it tells by itself
// (its CachedInfo) is of then. The stream of that name may have been made anew since, and
// whoever keeps a number beside it asks JS.Stream.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.kvsMu.Lock()
	st := b.streams[name]
	b.kvsMu.Unlock()
	if st != nil {
		return st, nil
	}
	st, err := b.JS.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%w: if it is not there, run `gas provision` once", err)
	}
	b.kvsMu.Lock()
	defer b.kvsMu.Unlock()
	if b.streams == nil {
		b.streams = map[string]jetstream.Stream{}
	}
	b.streams[name] = st
	return st, nil
}
