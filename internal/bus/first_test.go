package bus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func first(e events.ThawRequested) events.ThawRequested {
	e.First = true
	return e
}

func TestWhatAUserWantsFirstWaitsForNoOtherWork(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		release, handled := make(chan struct{}), make(chan events.JobID, 10)
		var once sync.Once
		r := bustest.Work(t, ns, 1, func(ctx context.Context, e events.ThawRequested, _ bus.Emit) error {
			if !e.First {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			handled <- e.JobID
			return nil
		})
		bustest.Publish(t, ns, bustest.Task("one"), bustest.Task("two"), bustest.Task("three"))
		bustest.Publish(t, ns, first(bustest.Task("three")))
		for _, want := range []events.JobID{"three", "one", "two", "three"} {
			select {
			case got := <-handled:
				if got != want {
					t.Fatalf("%s is handled, want %s", got, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s is not handled", want)
			}
			once.Do(func() { close(release) })
		}
		r.Expect(t, bus.Acked, bus.Acked, bus.Acked, bus.Acked)
	})
}

func TestWhatAUserWantsFirstComesBackIntoItsLaneAfterAWait(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		var times []time.Time
		r := bustest.Work(t, ns, 1, func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
			times = append(times, time.Now())
			if len(times) == 1 {
				return fault.After(fault.Wait, 15*time.Second, refused())
			}
			if !e.First {
				t.Error("it came back as ordinary work")
			}
			return nil
		})
		bustest.Publish(t, ns, first(bustest.Task("j")))
		r.Expect(t, bus.Waited)
		if got := asides(t, ns); got != 1 {
			t.Fatalf("%d are put aside, want 1", got)
		}
		select {
		case o := <-r.Outcomes:
			if took := times[1].Sub(times[0]); o != bus.Acked || took < 15*time.Second || took > 18750*time.Millisecond+soon {
				t.Errorf("%s after %s, want 15 s and up to a quarter more", o, took)
			}
		case <-time.After(time.Minute):
			t.Fatal("it does not come back")
		}
	})
}

func TestTheFirstTaskOfAUserIsGivenUpWithTheLetterOfTheOrdinaryOne(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		r := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			return fault.Because(fault.Invalid, "a cause", refused())
		})
		bustest.Publish(t, ns, first(bustest.Task("j")))
		r.Expect(t, bus.Dead)
		op := testenv.Bus(t, ns, "operator")
		cause, dead, err := op.DeadOf(t.Context(), bustest.Task("j"))
		if err != nil || !dead || cause != "a cause" || bus.StreamOf(first(bustest.Task("j")).Subject()) != events.StreamThaw {
			t.Fatalf("got %q, %v, %v; want the letter of the task, which can be replayed", cause, dead, err)
		}
		bustest.Publish(t, ns, bustest.Task("j"))
		r.Expect(t, bus.Dead)
		if st, err := op.JS.Stream(t.Context(), events.StreamDead); err != nil || st.CachedInfo().State.Msgs != 1 {
			t.Errorf("%v, %+v; want one letter for both tasks", err, st.CachedInfo().State)
		}
	})
}
