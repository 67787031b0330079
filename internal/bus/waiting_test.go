package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// old publishes a task as older releases did: its subject does not name the user.
func old(t *testing.T, b *bus.Bus, e events.ThawRequested) {
	t.Helper()
	m := nats.NewMsg("thaw.requested." + events.Token(string(e.JobID)))
	m.Data = bustest.Payload(t, e)
	m.Header.Set(events.HeaderMsgID, e.MessageID())
	if _, err := b.JS.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestATaskOfAnOlderReleaseIsFoundAndHandled(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		old(t, op, bustest.Task("j.1"))
		if found, err := testenv.Bus(t, ns, "sweep").Waiting(t.Context(), bustest.Task("j.1")); err != nil || !found {
			t.Errorf("waiting: %v, %v; want it found", found, err)
		}
		r := bustest.Work(t, ns, 1, func(_ context.Context, e events.ThawRequested, _ bus.Emit) error {
			if e.JobID == "j.1" {
				return nil
			}
			return fault.Errorf(fault.Invalid, "unknown job")
		})
		r.Expect(t, bus.Acked)
		if found, err := op.Waiting(t.Context(), bustest.Task("j.1")); err != nil || found {
			t.Errorf("waiting when it is done: %v, %v", found, err)
		}
		old(t, op, bustest.Task("j.2"))
		r.Expect(t, bus.Dead)
		l := bustest.OneLetter(t, deadletter.Open(op))
		if l.JobID != "j.2" || l.UserID != "u" {
			t.Errorf("the letter is of job %q of user %q", l.JobID, l.UserID)
		}
		if err := deadletter.Open(op).Replayable(l); err != nil {
			t.Error(err)
		}
	})
}

func TestTheTasksOfOneUserAreCounted(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		bustest.Publish(t, ns, taskOf("a.b", "1"), taskOf("a.b", "2"), taskOf("a.b", "3"), taskOf("a", "b.4"), taskOf("c", "5"))
		b := testenv.Bus(t, ns, "thaw")
		for _, c := range []struct {
			user events.UserID
			most int
			want int
		}{{"a.b", 100, 3}, {"a.b", 2, 2}, {"a", 100, 1}, {"none", 100, 0}} {
			if got, err := b.Outstanding(t.Context(), c.user, c.most); err != nil || got != c.want {
				t.Errorf("of %q, %d at the most: got %d, %v; want %d", c.user, c.most, got, err, c.want)
			}
		}
		if _, err := b.Outstanding(t.Context(), "", 1); !fault.Is(err, fault.Invalid) {
			t.Errorf("of nobody: got %v, want a fault of kind invalid", err)
		}
	})
}

// taskOf is a task of a user.
func taskOf(user, job string) events.ThawRequested {
	e := bustest.Task(job)
	e.UserID = events.UserID(user)
	return e
}

func TestWhatWaitsForATimeOfItsOwnWaitsSoLong(t *testing.T) {
	for _, c := range []struct {
		kind           fault.Kind
		n              int
		says, from, to time.Duration
	}{
		{fault.Wait, 1, 250 * time.Millisecond, 250 * time.Millisecond, 313 * time.Millisecond},
		{fault.Wait, 9, time.Second, time.Second, 1250 * time.Millisecond},
		{fault.Wait, 9, time.Hour, time.Hour, 75 * time.Minute},
		{fault.Wait, 3, 0, 8 * time.Second, 10 * time.Second},
		{fault.Capacity, 1, time.Second, 30 * time.Second, 38 * time.Second},
	} {
		if d := bus.Delay(c.kind, c.n, c.says); d < c.from || d > c.to {
			t.Errorf("%s, time %d, which says %s: waits %s, want %s to %s", c.kind, c.n, c.says, d, c.from, c.to)
		}
	}
}
