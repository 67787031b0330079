package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// refused returns the error of a handler for work that must wait for at least an hour.
func refused() error {
	return fault.After(fault.Policy, time.Hour, errors.New("the retrieval policy refuses"))
}

func TestMoreThanMayBePendingWaitForAnHourAndAnothersTaskIsHandledAtOnce(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		const many = 10_050
		handled := make(chan time.Time, 1)
		r := bustest.Work(t, ns, 64, func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
			if e.UserID == "other" {
				handled <- time.Now()
				return nil
			}
			return refused()
		})
		var es []events.Event
		for i := range many {
			es = append(es, taskOf("whale", fmt.Sprint("j", i)))
		}
		bustest.Publish(t, ns, es...)
		// The worker has refused as many tasks as the server gives out without an ack.
		for range 10_000 {
			select {
			case <-r.Outcomes:
			case <-time.After(30 * time.Second):
				t.Fatal("the whale's tasks are not handled")
			}
		}
		published := time.Now()
		bustest.Publish(t, ns, taskOf("other", "o"))
		select {
		case at := <-handled:
			if took := at.Sub(published); took > time.Second {
				t.Errorf("%d tasks wait, and another user's is handled after %s", many, took)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%d tasks wait, and another user's is not handled within a minute", many)
		}
	})
}

// asides returns the number of messages that are aside in THAW.
func asides(t *testing.T, ns *server.Server) int {
	t.Helper()
	st, err := testenv.Bus(t, ns, "operator").JS.Stream(t.Context(), events.StreamThaw)
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.Info(t.Context(), jetstream.WithSubjectFilter("aside.>"))
	if err != nil {
		t.Fatal(err)
	}
	return len(info.State.Subjects)
}

// aclass returns the consumer of one class of messages aside in THAW.
func aclass(t *testing.T, ns *server.Server, class string) jetstream.Consumer {
	t.Helper()
	c, err := testenv.Bus(t, ns, "operator").JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest+"-aside-"+class)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatIsPutAsideHoldsNoPlaceAndIsFoundAndCounted(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return refused() })
		bustest.Publish(t, ns, bustest.Task("j"))
		r.Expect(t, bus.Retried)
		if got := asides(t, ns); got != 1 {
			t.Fatalf("%d are put aside, want 1", got)
		}
		c, err := testenv.Bus(t, ns, "operator").JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
		if err != nil {
			t.Fatal(err)
		}
		if info := c.CachedInfo(); info.NumAckPending != 0 || info.NumPending != 0 {
			t.Errorf("the consumer has %d in flight and %d waiting, want none", info.NumAckPending, info.NumPending)
		}
		if found, err := testenv.Bus(t, ns, "sweep").Waiting(t.Context(), bustest.Task("j")); err != nil || !found {
			t.Errorf("waiting: %v, %v; want it found", found, err)
		}
		if n, err := testenv.Bus(t, ns, "thaw").Outstanding(t.Context(), "u", 10); err != nil || n != 1 {
			t.Errorf("outstanding: %d, %v; want 1", n, err)
		}
	})
}

func TestWhatIsPutAsideComesBackWithItsAttemptsAndItsID(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		calls := 0
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			if calls++; calls < 3 {
				return fault.After(fault.Unknown, 30*time.Second, fmt.Errorf("try %d", calls)) // that is two classes in a row
			}
			return fault.Errorf(fault.Invalid, "unknown job")
		})
		bustest.Publish(t, ns, bustest.Task("j"))
		r.Expect(t, bus.Retried, bus.Retried, bus.Dead)
		op := testenv.Bus(t, ns, "operator")
		l := bustest.OneLetter(t, deadletter.Open(op))
		if l.Attempts != 3 || l.SourceSubject != bustest.Task("j").Subject() || string(l.Payload) != string(bustest.Payload(t, bustest.Task("j"))) {
			t.Errorf("got %+v", l)
		}
		if id := l.Header[events.HeaderID]; len(id) != 1 || id[0] != bustest.Task("j").MessageID() {
			t.Errorf("its id is %v, want %s", id, bustest.Task("j").MessageID())
		}
		if h := l.Header[events.HeaderAttempts]; len(h) != 0 {
			t.Errorf("a replay would go on from %v", h)
		}
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 0 {
			t.Errorf("left in the work queue: %d", got)
		}
		kv, err := op.JS.KeyValue(t.Context(), bus.BucketAttempts)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := kv.Keys(t.Context()); !errors.Is(err, jetstream.ErrNoKeysFound) {
			t.Errorf("attempts are kept of %v (%v)", keys, err)
		}
	})
}

func TestADelayIsKeptThoughNoClassIsAsLong(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		var failed time.Time
		back := make(chan time.Duration, 1)
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			if failed.IsZero() {
				failed = time.Now()
				return fault.After(fault.Unknown, 20*time.Second, errors.New("not yet"))
			}
			back <- time.Since(failed)
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("j"))
		r.Expect(t, bus.Retried, bus.Acked)
		if got := <-back; got < 20*time.Second || got > 25*time.Second+soon {
			t.Errorf("it came back after %s, want 20 s to 25 s", got)
		}
	})
}

func TestWhatWaitsTogetherComesBackInItsOrder(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		bus.Quicken(t, 500*time.Millisecond, 900*time.Millisecond)
		seen := map[events.JobID]bool{}
		var back []events.JobID
		r := bustest.Work(t, ns, 1, func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
			if !seen[e.JobID] {
				seen[e.JobID] = true
				return errors.New("not yet")
			}
			back = append(back, e.JobID)
			return nil
		})
		var want []events.JobID
		var es []events.Event
		for i := range 150 {
			e := bustest.Task(fmt.Sprint("j", i))
			want, es = append(want, e.JobID), append(es, e)
		}
		bustest.Publish(t, ns, es...)
		for range 2 * len(es) {
			select {
			case <-r.Outcomes:
			case <-time.After(20 * time.Second):
				t.Fatalf("%d came back of %d", len(back), len(es))
			}
		}
		if !slices.Equal(back, want) {
			t.Errorf("they came back as %v", back)
		}
	})
}

func TestAWorkerThatDiesBetweenPuttingAsideAndAckLosesAndDoublesNothing(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		bustest.Publish(t, ns, bustest.Task("j"))
		thaw := testenv.Bus(t, ns, "thaw")
		c, err := thaw.JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next()
		if err == nil {
			err = bus.Move(t.Context(), thaw, m, "aside.1h."+m.Subject())
		}
		if err == nil {
			err = m.Nak() // its lease is over
		}
		if err != nil {
			t.Fatal(err)
		}
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return refused() })
		r.Expect(t, bus.Retried)
		if all, waiting := bustest.Messages(t, ns, events.StreamThaw), asides(t, ns); all != 1 || waiting != 1 {
			t.Errorf("%d messages, %d of them put aside; want 1 and 1", all, waiting)
		}
	})
}

func TestAReaderThatDiesBetweenBringingBackAndAckLosesAndDoublesNothing(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		put := nats.NewMsg("aside.15s." + bustest.Task("j").Subject())
		put.Data = bustest.Payload(t, bustest.Task("j"))
		if _, err := op.JS.PublishMsg(t.Context(), put); err != nil {
			t.Fatal(err)
		}
		m, err := aclass(t, ns, "15s").Next()
		if err == nil {
			err = bus.Move(t.Context(), op, m, bustest.Task("j").Subject())
		}
		if err == nil {
			err = m.Nak()
		}
		if err != nil {
			t.Fatal(err)
		}
		// The worker acks the message only when the message aside is gone. So both exist at the
		// same time.
		gone := make(chan struct{})
		r := bustest.Work(t, ns, 2, func(context.Context, events.ThawRequested, bus.Emit) error { <-gone; return nil })
		time.Sleep(15*time.Second - soon)
		if got := asides(t, ns); got != 1 {
			t.Errorf("%d are aside before the time is over, want 1", got)
		}
		time.Sleep(2 * soon)
		if got := asides(t, ns); got != 0 {
			t.Errorf("%d are aside when the time is over, want none", got)
		}
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 1 {
			t.Errorf("%d messages, want the one that was brought back before", got)
		}
		close(gone)
		r.Expect(t, bus.Acked)
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 0 {
			t.Errorf("left in the work queue: %d", got)
		}
	})
}

func TestADrainLetsGoOfWhatIsNotDue(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return refused() })
		bustest.Publish(t, ns, bustest.Task("j"))
		r.Expect(t, bus.Retried)
		c := aclass(t, ns, "1h")
		time.Sleep(soon)
		if info, err := c.Info(t.Context()); err != nil || info.NumAckPending != 1 {
			t.Fatalf("%+v, %v; want a message that a reader holds", info, err)
		}
		began := time.Now()
		close(r.Drain)
		if err := <-r.Done; err != nil {
			t.Fatal(err)
		}
		r.Done <- nil
		if took := time.Since(began); took > soon {
			t.Errorf("the drain took %s", took)
		}
		// Another reader gets the message at once, and need not wait until the lease ends.
		if m, err := c.Next(jetstream.FetchMaxWait(soon)); err != nil || m.Subject() != "aside.1h."+bustest.Task("j").Subject() {
			t.Errorf("got %v, %v", m, err)
		}
	})
}

func TestAStreamThatIsFullOfWhatWaitsStillMoves(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		mended := make(chan struct{})
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			select {
			case <-mended:
				return nil
			default:
				return fault.After(fault.Unknown, 15*time.Second, errors.New("not yet"))
			}
		})
		bustest.Publish(t, ns, bustest.Task("j1"), bustest.Task("j2"), bustest.Task("j3"))
		r.Expect(t, bus.Retried, bus.Retried, bus.Retried)
		js := testenv.Bus(t, ns, "operator").JS
		st, err := js.Stream(t.Context(), events.StreamThaw)
		if err != nil {
			t.Fatal(err)
		}
		cfg := st.CachedInfo().Config
		cfg.MaxBytes = 1
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		close(mended)
		r.Expect(t, bus.Acked, bus.Acked, bus.Acked)
		if got := bustest.Messages(t, ns, events.StreamThaw); got != 0 {
			t.Errorf("left in the work queue: %d", got)
		}
	})
}

func TestAWrongClockMakesNothingWaitLongerThanItsClass(t *testing.T) {
	const wait = time.Minute
	stored := at
	for name, c := range map[string]struct {
		ahead time.Duration // as far as the reader knows
		clock time.Duration // how far it is
		age   time.Duration
		want  time.Duration
	}{
		"a new message":                         {0, 0, 0, wait},
		"an older one":                          {0, 0, 40 * time.Second, 20 * time.Second},
		"one that is due":                       {0, 0, time.Hour, 0},
		"our clock is ahead, as is known":       {time.Hour, time.Hour, 10 * time.Second, 50 * time.Second},
		"our clock is behind, as is known":      {-time.Hour, -time.Hour, 10 * time.Second, 50 * time.Second},
		"our clock is ahead, and nobody knows":  {0, time.Hour, 10 * time.Second, 0},
		"our clock is behind, and nobody knows": {0, -time.Hour, 10 * time.Second, wait},
	} {
		if got := bus.Clock(c.ahead)(stored.Add(c.age+c.clock), stored, wait); got != c.want {
			t.Errorf("%s: waits %s, want %s", name, got, c.want)
		}
	}
	// A younger message waits longer only by the difference of the two ages. It does not wait
	// for the whole time of the class again.
	left := bus.Clock(0)
	now := stored.Add(-time.Hour)
	left(now, stored, wait)
	if got := left(now.Add(wait), stored.Add(time.Second), wait); got != time.Second {
		t.Errorf("the next waits %s, want 1s", got)
	}
}

func TestAQueueWithoutTheConsumersOfWhatWaitsIsNoticedAndProvisioned(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op, thaw := testenv.Bus(t, ns, "operator"), testenv.Bus(t, ns, "thaw")
		if err := thaw.CheckConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err != nil {
			t.Fatal(err)
		}
		if err := op.JS.DeleteConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest+"-aside-5m"); err != nil {
			t.Fatal(err)
		}
		if err := thaw.CheckConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err == nil || !strings.Contains(err.Error(), "gas provision") {
			t.Errorf("without a class: %v", err)
		}
		// An older release made a stream with tasks only, and one consumer for all messages.
		if err := op.JS.DeleteStream(t.Context(), events.StreamThaw); err != nil {
			t.Fatal(err)
		}
		if _, err := op.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.StreamThaw, Subjects: []string{events.SubjectThawOld},
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage}); err != nil {
			t.Fatal(err)
		}
		if _, err := op.JS.CreateConsumer(t.Context(), events.StreamThaw, jetstream.ConsumerConfig{Durable: bus.ConsumerRequest, AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
			t.Fatal(err)
		}
		old(t, op, bustest.Task("j"))
		if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
			t.Fatal(err)
		}
		if err := thaw.CheckConsumer(t.Context(), events.StreamThaw, bus.ConsumerRequest); err != nil {
			t.Error(err)
		}
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return nil })
		r.Expect(t, bus.Acked)
	})
}
