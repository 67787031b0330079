package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestTheAttemptsOfAMessageAreNotThoseOfItsNumberInAnEarlierStream(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		first := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error { return errors.New("not yet") })
		bustest.Publish(t, ns, bustest.Task("old"))
		first.Expect(t, bus.Retried)
		first.Stop()
		<-first.Done
		first.Done <- nil

		// Somebody deletes the stream, and it is made anew: sequences start again.
		if err := op.JS.DeleteStream(t.Context(), events.StreamThaw); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // two messages with one number differ by the time at which they were stored
		if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
			t.Fatal(err)
		}
		second := bustest.Work(t, ns, 1, func(context.Context, events.ThawRequested, bus.Emit) error {
			return fault.Errorf(fault.Invalid, "unknown job")
		})
		bustest.Publish(t, ns, bustest.Task("new"))
		second.Expect(t, bus.Dead)
		if l := bustest.OneLetter(t, deadletter.Open(op)); l.JobID != "new" || l.Attempts != 1 {
			t.Errorf("job %q was given up after %d attempts, want new after 1", l.JobID, l.Attempts)
		}
	})
}
