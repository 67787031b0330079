// Package bustest is the fixture of tests about workers and dead letters: one worker on
// the stream THAW, and its letters.
package bustest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// UpgradedAt is when the user of [Task] became Premium.
var UpgradedAt = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// Task returns a task of user "u" for a job.
func Task(job string) events.ThawRequested {
	return events.ThawRequested{ID: "up-1", JobID: events.JobID(job), UserID: "u", ArchiveID: "a", UpgradedAt: UpgradedAt}
}

// Running is a worker on the THAW stream. It ends with the test.
type Running struct {
	Stop     context.CancelFunc
	Drain    chan struct{} // closed: finish the work that has begun
	Done     chan error    // what Run returned
	Outcomes chan bus.Outcome
}

// Work starts a worker with a handler.
func Work(t *testing.T, ns *server.Server, slots int, handle bus.Handler[events.ThawRequested]) *Running {
	t.Helper()
	return Start(t, ns, func(w *bus.Worker[events.ThawRequested]) { w.Slots, w.Handle = slots, handle })
}

// Start starts a worker that is changed by with first. Without that it has eight slots and
// does nothing, which succeeds.
func Start(t *testing.T, ns *server.Server, with func(*bus.Worker[events.ThawRequested])) *Running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &Running{Stop: cancel, Drain: make(chan struct{}), Done: make(chan error, 1), Outcomes: make(chan bus.Outcome, 1000)}
	w := &bus.Worker[events.ThawRequested]{
		Bus: testenv.Bus(t, ns, "thaw"), Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 8,
		Handle:  func(context.Context, events.ThawRequested, bus.Emit) error { return nil },
		Observe: func(o bus.Outcome, _ fault.Kind, _ time.Duration) { r.Outcomes <- o },
		Logger:  testenv.Log(t),
	}
	with(w)
	go func() { r.Done <- w.Run(ctx, r.Drain) }()
	t.Cleanup(func() {
		cancel()
		<-r.Done
		r.Done <- nil
	})
	return r
}

// Expect waits for outcomes in this order.
func (r *Running) Expect(t *testing.T, want ...bus.Outcome) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-r.Outcomes:
			if got != w {
				t.Fatalf("outcome %d: got %s, want %s", i+1, got, w)
			}
		case <-time.After(time.Minute):
			t.Fatalf("outcome %d: none, want %s", i+1, w)
		}
	}
}

// Publish stores events as the operator.
func Publish(t *testing.T, ns *server.Server, es ...events.Event) {
	t.Helper()
	_, errs := testenv.Bus(t, ns, "operator").PublishAll(t.Context(), es)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Letters returns the letters that f means.
func Letters(t testing.TB, d *deadletter.Store, f deadletter.Filter) []deadletter.Letter {
	t.Helper()
	var all []deadletter.Letter
	for l, err := range d.Letters(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// OneLetter returns the one letter there is.
func OneLetter(t testing.TB, d *deadletter.Store) deadletter.Letter {
	t.Helper()
	all := Letters(t, d, deadletter.Filter{})
	if len(all) != 1 {
		t.Fatalf("%d dead letters, want 1: %+v", len(all), all)
	}
	return all[0]
}

// AwaitLetters waits for n messages in DEAD: the server stores its own a moment after
// their cause.
func AwaitLetters(t testing.TB, b *bus.Bus, n uint64) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		st, err := b.JS.Stream(t.Context(), events.StreamDead)
		if err != nil {
			t.Fatal(err)
		}
		if st.CachedInfo().State.Msgs == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d messages in DEAD, want %d", st.CachedInfo().State.Msgs, n)
		}
	}
}

// StoreLetters stores letters as they are.
func StoreLetters(t testing.TB, b *bus.Bus, letters ...events.DeadLetter) {
	t.Helper()
	es := make([]events.Event, len(letters))
	for i, l := range letters {
		es[i] = l
	}
	_, errs := b.PublishAll(t.Context(), es)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Payload returns the message body of an event.
func Payload(t testing.TB, e events.Event) []byte {
	t.Helper()
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

// Messages returns how many messages a stream has.
func Messages(t *testing.T, ns *server.Server, stream string) uint64 {
	t.Helper()
	st, err := testenv.Bus(t, ns, "operator").JS.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}
