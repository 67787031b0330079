package bus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func upgrades(from, to int) []events.Event {
	var es []events.Event
	for i := from; i < to; i++ {
		es = append(es, events.UserUpgraded{ID: fmt.Sprintf("id-%d", i), UserID: events.UserID(fmt.Sprintf("user-%d", i)), UpgradedAt: time.Unix(int64(i), 0).UTC(), Via: events.ViaSNS})
	}
	return es
}

func TestABatchIsStoredOnceAndEveryEventGetsItsOwnAnswer(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		js := testenv.Bus(t, ns, "operator").JS
		one, other := testenv.Bus(t, ns, "bridge"), testenv.Bus(t, ns, "bridge")
		stored := func() uint64 {
			s, err := js.Stream(t.Context(), events.StreamPremium)
			if err != nil {
				t.Fatal(err)
			}
			return s.CachedInfo().State.Msgs
		}
		check := func(what string, b *bus.Bus, es []events.Event, duplicate func(i int) bool, wantStored uint64) {
			t.Helper()
			acks, errs := b.PublishAll(t.Context(), es)
			for i, e := range es {
				if errs[i] != nil || acks[i].Duplicate != duplicate(i) || acks[i].Stream != events.StreamPremium {
					t.Fatalf("%s: event %d: %+v, %v, want duplicate %t", what, i, acks[i], errs[i], duplicate(i))
				}
				if acks[i].Duplicate {
					continue
				}
				s, err := js.Stream(t.Context(), events.StreamPremium)
				if err != nil {
					t.Fatal(err)
				}
				m, err := s.GetMsg(t.Context(), acks[i].Sequence)
				if err != nil {
					t.Fatal(err)
				}
				if id := m.Header.Get(events.HeaderID); id != e.MessageID() {
					t.Fatalf("%s: sequence %d of the answer has event %s, want %s", what, acks[i].Sequence, id, e.MessageID())
				}
			}
			if got := stored(); got != wantStored {
				t.Fatalf("%s: %d stored, want %d", what, got, wantStored)
			}
		}
		never, always := func(int) bool { return false }, func(int) bool { return true }
		check("few", one, upgrades(0, 3), never, 3)
		check("many", one, upgrades(3, 1200), never, 1200)
		check("all known here", one, upgrades(0, 80), always, 1200)
		check("all known to the stream only", other, upgrades(0, 80), always, 1200)
		check("one known to the stream only", other, upgrades(1199, 1250), func(i int) bool { return i == 0 }, 1250)
		old, err := js.Stream(t.Context(), events.StreamPremium)
		if err != nil {
			t.Fatal(err)
		}
		twice := upgrades(1250, 1300)
		check("twice in one call", one, append(twice, twice[7]), func(i int) bool { return i == 50 }, 1300)

		config := old.CachedInfo().Config
		config.AllowAtomicPublish = false
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		check("a stream of an older release", one, upgrades(1300, 1400), never, 1400)
	})
}

func TestAnEventThatCannotBePublishedSpoilsNoOther(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "bridge")
		es := upgrades(0, 60)
		es[4] = events.UserUpgraded{ID: "x", UpgradedAt: time.Unix(0, 0)} // no user
		_, errs := b.PublishAll(t.Context(), es)
		for i, err := range errs {
			if (i == 4) != (err != nil) {
				t.Errorf("event %d: %v", i, err)
			}
		}
		if !fault.Is(errs[4], fault.Invalid) {
			t.Errorf("got %v, want invalid", errs[4])
		}
	})
}

func TestTheLargestMessageFitsIntoADeadLetter(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := testenv.Bus(t, ns, "bridge")
		for name, body := range map[string]string{"escaped": strings.Repeat(`"`, 1<<20), "not UTF-8": strings.Repeat("\xff", 1<<20)} {
			_, err := b.Publish(t.Context(), events.DeadLetter{ID: "big", Stream: "SQS", Consumer: name[:3], Payload: events.Payload(body),
				Reason: "r", Kind: "invalid", Attempts: 1, FirstAt: time.Unix(0, 0), LastAt: time.Unix(0, 0)})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
