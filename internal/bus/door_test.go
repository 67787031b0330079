package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// door is a door that a test opens and closes.
type door struct {
	closed atomic.Bool
	asked  chan bool // what it said
}

func (d *door) look() (time.Duration, string) {
	closed := d.closed.Load()
	select {
	case d.asked <- closed:
	default:
	}
	if closed {
		return time.Hour, "nobody is at home"
	}
	return 0, ""
}

// said waits until a worker asks the door, and the answer is closed, or open.
func (d *door) said(t *testing.T, closed bool) {
	t.Helper()
	for late := time.After(20 * time.Second); ; {
		select {
		case got := <-d.asked:
			if got == closed {
				return
			}
		case <-late:
			t.Fatalf("nobody asked the door while closed is %v", closed)
		}
	}
}

func TestAClosedDoorFetchesNothingAndItsOpeningIsNoticedWithinASecond(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		d := &door{asked: make(chan bool)}
		r := bustest.Start(t, ns, func(w *bus.Worker[events.ThawRequested]) { w.Door = d.look })
		d.said(t, false)
		// The worker waits for a message when the door closes. The next message stays in the
		// stream.
		bustest.Publish(t, ns, bustest.Task("j1"))
		r.Expect(t, bus.Acked)
		d.closed.Store(true)
		d.said(t, true)
		// The worker gives up its requests when the door first says that it is closed. The
		// server learns that a little later. A message that the server sends meanwhile waits
		// until its lease ends.
		for range 3 {
			d.said(t, true)
		}
		bustest.Publish(t, ns, bustest.Task("j2"))
		d.said(t, true)
		c, err := testenv.Bus(t, ns, "operator").JS.Consumer(t.Context(), events.StreamThaw, bus.ConsumerRequest)
		if err != nil {
			t.Fatal(err)
		}
		if info := c.CachedInfo(); info.NumPending != 1 || info.NumAckPending != 0 {
			t.Errorf("%d wait and %d are in flight, want 1 and 0", info.NumPending, info.NumAckPending)
		}
		if len(r.Outcomes) != 0 {
			t.Error("a message was handled")
		}
		d.closed.Store(false)
		opened := time.Now()
		go func() {
			for range d.asked { // the door must not wait for the test
			}
		}()
		r.Expect(t, bus.Acked)
		if took := time.Since(opened); took > time.Second+soon {
			t.Errorf("the open door was noticed after %s", took)
		}
		close(r.Drain)
		r.Done <- <-r.Done
		close(d.asked)
	})
}

func TestAnOutageDoesNotMakeEveryMessageOneThatFailed(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		var mu sync.Mutex // guards what follows
		var tries []time.Time
		mended := false
		cautious := make(chan bool, 10)
		r := bustest.Start(t, ns, func(w *bus.Worker[events.ThawRequested]) {
			w.OnCautious = func(on bool) { cautious <- on }
			w.Handle = func(context.Context, events.ThawRequested, bus.Emit) error {
				mu.Lock()
				defer mu.Unlock()
				tries = append(tries, time.Now())
				if mended {
					return nil
				}
				return fault.After(fault.Transient, time.Hour, errors.New("S3 is away"))
			}
		})
		var es []events.Event
		for i := range 200 {
			es = append(es, bustest.Task(fmt.Sprint("j", i)))
		}
		bustest.Publish(t, ns, es...)
		wait := func(want bool) {
			t.Helper()
			select {
			case got := <-cautious:
				if got != want {
					t.Fatalf("cautious is %v, want %v", got, want)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("cautious is never %v", want)
			}
		}
		wait(true)
		failed := 0
		for failed < 26 {
			select {
			case <-r.Outcomes:
				failed++
				continue
			case <-time.After(3 * time.Second):
			}
			break
		}
		// These failed: the messages before the breaker saw it, the messages in flight then,
		// and one at a time after 1 s, 2 s, …
		if failed < 16 || failed > 25 {
			t.Errorf("%d failed before a pause of 3 s, want 16, those in flight, and two", failed)
		}
		mu.Lock()
		var pauses []time.Duration
		for i, at := range tries[1:] {
			if pause := at.Sub(tries[i]); pause > soon {
				pauses = append(pauses, pause.Round(soon))
			}
		}
		if want := []time.Duration{time.Second, 2 * time.Second}; !slices.Equal(pauses, want) {
			t.Errorf("the pauses are %v, want %v", pauses, want)
		}
		mended = true
		mu.Unlock()
		wait(false)
		for range len(es) - failed {
			select {
			case <-r.Outcomes:
			case <-time.After(20 * time.Second):
				t.Fatal("the rest is not handled")
			}
		}
	})
}

func TestWhatFailsForReasonsOfItsOwnIsNoOutage(t *testing.T) {
	var b bus.Breaker
	for range 50 {
		if d := b.Note("the same", bus.Retried, fault.Denied); d != 0 {
			t.Fatalf("one message that fails makes all wait for %s", d)
		}
	}
	for i := range 50 {
		if d := b.Note(fmt.Sprint(i), bus.Retried, fault.Capacity); d != 0 {
			t.Fatal("an answer of Glacier is taken for an outage")
		}
	}
	for i := range 15 {
		b.Note(fmt.Sprint(i), bus.Retried, fault.Transient)
	}
	b.Note("well", bus.Acked, fault.Unknown)
	for i := range 15 {
		if d := b.Note(fmt.Sprint(i), bus.Retried, fault.Throttled); d != 0 {
			t.Fatalf("after %d failures since a success it pauses for %s", i+1, d)
		}
	}
	b.Note("interrupted", bus.HandedBack, fault.Transient)
	if d := b.Note("15", bus.Dead, fault.Denied); d != time.Second {
		t.Errorf("the sixteenth in a row: pauses for %s, want 1s", d)
	}
	for _, want := range []time.Duration{2, 4, 8, 16, 30, 30} {
		if d := b.Note("16", bus.Retried, fault.Transient); d != want*time.Second {
			t.Errorf("pauses for %s, want %s", d, want*time.Second)
		}
	}
	if d := b.Note("17", bus.Acked, fault.Unknown); d != 0 {
		t.Errorf("after a success: pauses for %s", d)
	}
}

func TestWhatIsDeniedToOneUserIsNoOutage(t *testing.T) {
	var b bus.Breaker
	for i := range 100 {
		if d := b.NoteOf(fmt.Sprint("u", i%2), fmt.Sprint(i), bus.Retried, fault.Denied); d != 0 {
			t.Fatalf("all users wait for %s because two were denied", d)
		}
	}
	if d := b.NoteOf("u3", "100", bus.Retried, fault.Denied); d != time.Second {
		t.Errorf("what is denied to a third user: pauses for %s, want 1s", d)
	}
	var outage bus.Breaker
	for i := range 15 {
		outage.NoteOf("u", fmt.Sprint(i), bus.Retried, fault.Transient)
	}
	if d := outage.NoteOf("u", "15", bus.Retried, fault.Transient); d != time.Second {
		t.Errorf("sixteen timeouts of one user: pauses for %s, want 1s: the service is away", d)
	}
}
