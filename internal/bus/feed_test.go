package bus_test

import (
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// remakeStatus deletes the STATUS stream and makes it anew, in a bubble.
func remakeStatus(t *testing.T, ns *server.Server) {
	t.Helper()
	op := testenv.Bus(t, ns, "operator")
	if err := op.JS.DeleteStream(t.Context(), events.StreamStatus); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Millisecond) // two streams differ by the time at which they were made
	if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
}

func TestAFeedEndsWithinSecondsWhenItsStreamIsMadeAnew(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		status := func(job string) events.Event {
			return events.StatusChanged{JobID: events.JobID(job), UserID: "u", State: "planned", At: at, Step: "s"}
		}
		bustest.Publish(t, ns, status("a"), status("b"), status("c"))
		web := testenv.Bus(t, ns, "web")
		old, err := web.LastStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// When the stream is made anew, the server tells the feed nothing. The next status has a
		// sequence that the old stream had too. The feed must end, not take it for an old one.
		next, stop := iter.Pull2(web.FollowStatuses(t.Context(), events.Position{Incarnation: old.Incarnation, Seq: 2}))
		defer stop()
		if e, err, ok := next(); !ok || err != nil || e.Position != old {
			t.Fatalf("got %+v, %v", e, err)
		}
		begin := time.Now()
		ended := make(chan error, 1)
		go func() {
			_, err, _ := next()
			ended <- err
		}()
		remakeStatus(t, ns)
		bustest.Publish(t, ns, status("d"))
		select {
		case err := <-ended:
			if !errors.Is(err, bus.ErrAnew) {
				t.Errorf("it ended with %v, want %v", err, bus.ErrAnew)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it follows the stream that is gone")
		}
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("noticed after %s, want 4 s at the most", took)
		}

		now, err := web.LastStatus(t.Context())
		if err != nil || now.Incarnation == old.Incarnation || now.Seq != 1 {
			t.Fatalf("the new stream is at %s, %v; the old one was at %s", now, err, old)
		}
		for _, after := range []events.Position{old, {Incarnation: now.Incarnation, Seq: 2}} {
			for e, err := range web.FollowStatuses(t.Context(), after) {
				if !errors.Is(err, bus.ErrAnew) {
					t.Errorf("after %s: got %+v, %v", after, e, err)
				}
				break
			}
		}
		for e, err := range web.StatusesOf(t.Context(), "u", events.Position{Incarnation: old.Incarnation}, old) {
			if !errors.Is(err, bus.ErrAnew) {
				t.Errorf("kept: got %+v, %v", e, err)
			}
		}
		for e, err := range web.FollowStatuses(t.Context(), events.Position{}) {
			if err != nil || e.Position != now || e.JobID != "d" {
				t.Errorf("from the beginning: got %+v, %v", e, err)
			}
			break
		}
	})
}

func TestAFeedGoesOnWhenItsConsumerIsGone(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		status := func(job string) events.Event {
			return events.StatusChanged{JobID: events.JobID(job), UserID: "u", State: "planned", At: at, Step: "s"}
		}
		bustest.Publish(t, ns, status("a"))
		next, stop := iter.Pull2(testenv.Bus(t, ns, "web").FollowStatuses(t.Context(), events.Position{}))
		defer stop()
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		st, err := op.JS.Stream(t.Context(), events.StreamStatus)
		if err != nil {
			t.Fatal(err)
		}
		for name := range st.ConsumerNames(t.Context()).Name() {
			if err := st.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		bustest.Publish(t, ns, status("b"))
		if e, err, _ := next(); err != nil || e.JobID != "b" || e.Position.Seq != 2 {
			t.Errorf("got %+v, %v; want the second change", e, err)
		}
	})
}
