package bus_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestANoteIsSwappedOnlyIfItIsTheOneThatWasRead(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		a, b := testenv.Bus(t, ns, "thaw").KV(bus.BucketPlans), testenv.Bus(t, ns, "thaw").KV(bus.BucketPlans)
		ctx := t.Context()
		if _, _, err := a.Get(ctx, "k"); !fault.Is(err, fault.NotFound) {
			t.Errorf("no note: got %v", err)
		}
		if err := a.Swap(ctx, "k", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		if err := b.Swap(ctx, "k", []byte("2"), 0); !fault.Is(err, fault.Conflict) {
			t.Errorf("a second first note: got %v", err)
		}
		note, rev, err := b.Get(ctx, "k")
		if err != nil || string(note) != "1" {
			t.Fatalf("got %q, %v", note, err)
		}
		if err := a.Swap(ctx, "k", []byte("3"), rev); err != nil {
			t.Fatal(err)
		}
		if err := b.Swap(ctx, "k", []byte("4"), rev); !fault.Is(err, fault.Conflict) {
			t.Errorf("a note that was read before the last write: got %v", err)
		}
		if err := b.Put(ctx, "k", []byte("5")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := a.Delete(ctx, "k"); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := b.Get(ctx, "k"); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted: got %v", err)
		}
		if err := b.Swap(ctx, "k", []byte("6"), 0); err != nil {
			t.Errorf("a first note after a deletion: %v", err)
		}
	})
}

func TestNotesOfABucketThatIsNotThereFailUntilItIs(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		if err := op.JS.DeleteKeyValue(t.Context(), bus.BucketPace); err != nil {
			t.Fatal(err)
		}
		n := testenv.Bus(t, ns, "thaw").KV(bus.BucketPace)
		if err := n.Put(t.Context(), "k", []byte("1")); !fault.Is(err, fault.Transient) {
			t.Errorf("got %v of kind %s", err, fault.KindOf(err))
		}
		if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
			t.Fatal(err)
		}
		if err := n.Put(t.Context(), "k", []byte("1")); err != nil {
			t.Error(err)
		}
	})
}

func TestTheOperatorListsTheNotesThatMatch(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		n := testenv.Bus(t, ns, "operator").KV(bus.BucketPlans)
		list := func(filter string) (got []string) {
			for note, err := range n.List(t.Context(), filter) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(note))
			}
			slices.Sort(got)
			return got
		}
		if got := list("hold.*"); len(got) != 0 {
			t.Errorf("got %v of none", got)
		}
		for i := range 3 {
			if err := n.Put(t.Context(), fmt.Sprint("hold.u", i), []byte{byte('0' + i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Delete(t.Context(), "hold.u1"); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(list("hold.*")); got != "[0 2]" {
			t.Errorf("got %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range n.List(ctx, "hold.*") {
			if err == nil {
				t.Error("a list of a caller who is gone has no error")
			}
		}
	})
}

func TestAStreamThatIsFullThrottlesWhoPublishes(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		op := testenv.Bus(t, ns, "operator")
		st, err := op.JS.Stream(t.Context(), events.StreamThaw)
		if err != nil {
			t.Fatal(err)
		}
		cfg := st.CachedInfo().Config
		cfg.MaxBytes = 4 << 10
		if _, err := op.JS.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		var es []events.Event
		for i := range 100 {
			es = append(es, bustest.Task(fmt.Sprint("j", i)))
		}
		b := testenv.Bus(t, ns, "thaw")
		if err := (bus.Tasks{Bus: b}).Publish(t.Context(), es); !fault.Is(err, fault.Throttled) {
			t.Errorf("a batch: got %v of kind %s", err, fault.KindOf(err))
		}
		var last error
		for _, e := range es {
			if _, last = b.Publish(t.Context(), e); last != nil {
				break
			}
		}
		if !fault.Is(last, fault.Throttled) {
			t.Errorf("one by one: got %v of kind %s", last, fault.KindOf(last))
		}
	})
}
