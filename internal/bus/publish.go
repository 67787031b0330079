package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

// Ack is JetStream's answer to a published event.
type Ack struct {
	Stream   string
	Sequence uint64
	// Duplicate is true if the stream had the event's id already.
	Duplicate bool
}

// Publish publishes e and returns when JetStream has stored it.
func (b *Bus) Publish(ctx context.Context, e events.Event) (Ack, error) {
	f, err := b.publishAsync(ctx, e)
	if err != nil {
		return Ack{}, err
	}
	return f.wait(ctx)
}

// traced returns the event with the step that ctx belongs to, if there is one.
func traced(ctx context.Context, e events.Event) events.Event {
	if _, has := e.(events.Traced); has {
		return e
	}
	if step := trace.Of(ctx); step != "" {
		return events.Traced{Event: e, TraceParent: step}
	}
	return e
}

type future struct {
	bus     *Bus
	subject string
	ack     jetstream.PubAckFuture
}

func (b *Bus) publishAsync(ctx context.Context, e events.Event) (future, error) {
	m, err := events.Encode(traced(ctx, e))
	if err != nil {
		return future{}, fault.New(fault.Invalid, err)
	}
	return b.send(&nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data})
}

// PublishMessage stores a message without a change. The error is of kind Transient, or
// Throttled if the stream is full.
func (b *Bus) PublishMessage(ctx context.Context, m *nats.Msg) (Ack, error) {
	f, err := b.send(m)
	if err != nil {
		return Ack{}, err
	}
	return f.wait(ctx)
}

func (b *Bus) send(m *nats.Msg) (future, error) {
	f, err := b.JS.PublishMsgAsync(m)
	if err != nil {
		b.heard(err)
		return future{}, fault.Errorf(fault.Transient, "publish %s: %w", m.Subject, err)
	}
	return future{b, m.Subject, f}, nil
}

func (f future) wait(ctx context.Context) (Ack, error) {
	select {
	case a := <-f.ack.Ok():
		f.bus.published(nil)
		return Ack{Stream: a.Stream, Sequence: a.Sequence, Duplicate: a.Duplicate}, nil
	case err := <-f.ack.Err():
		f.bus.published(err)
		return Ack{}, publishError(f.subject, err)
	case <-ctx.Done():
		f.bus.published(context.Cause(ctx))
		return Ack{}, fault.Errorf(fault.Transient, "publish %s: %w", f.subject, context.Cause(ctx))
	}
}

// published receives the outcome of each publication.
func (b *Bus) published(err error) {
	b.heard(err)
	b.storing.heard(err)
}

func publishError(subject string, err error) error {
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fault.Errorf(fault.Transient, "publish %s: no stream takes it: is jetstream up, and was `gas provision` run? %w", subject, err)
	}
	if full(err) {
		return fault.Errorf(fault.Throttled, "publish %s: %w", subject, err)
	}
	return fault.Errorf(fault.Transient, "publish %s: %w", subject, err)
}

// The server's codes for a message without room. The code 10077 covers every error of
// storing a message, and has the reason in its text (nats-server/server/errors.json).
const (
	errStoreFailed      jetstream.ErrorCode = 10077
	errAccountLimit     jetstream.ErrorCode = 10002
	errNoResources      jetstream.ErrorCode = 10023
	errStorageExhausted jetstream.ErrorCode = 10047
)

// full reports whether the stream, the account or the server had no room.
func full(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (streamFull(err) || api.ErrorCode == errAccountLimit || api.ErrorCode == errNoResources || api.ErrorCode == errStorageExhausted)
}

// streamFull reports whether the stream had no room. A stream has room again when some
// work is done.
func streamFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == errStoreFailed && strings.HasPrefix(api.Description, "maximum ")
}

// stream publishes the events of one handler run: many at a time, with a limit. All of
// them are stored after flush.
type stream struct {
	bus     *Bus
	pending []future
}

// maxUnflushed bounds the memory of a handler that emits very many events.
const maxUnflushed = 512

func (s *stream) emit(ctx context.Context, e events.Event) error {
	f, err := s.bus.publishAsync(ctx, e)
	if err != nil {
		return err
	}
	s.pending = append(s.pending, f)
	if len(s.pending) >= maxUnflushed {
		return s.flush(ctx)
	}
	return nil
}

func (s *stream) flush(ctx context.Context) error {
	var first error
	for _, f := range s.pending {
		if _, err := f.wait(ctx); err != nil && first == nil {
			first = fmt.Errorf("emit: %w", err)
		}
	}
	s.pending = s.pending[:0]
	return first
}
