package web

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// hubFixture is a hub over a stream in memory, in a bubble.
func hubFixture(t *testing.T) (*fixturePorts, *hub) {
	w := &fixturePorts{news: make(chan struct{}), faults: map[string]error{}}
	return w, newHub(w, Config{Logger: slog.New(slog.DiscardHandler)}, func(events.UserID) {})
}

func runHub(t *testing.T, h *hub) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

func TestTheHubFollowsOnceHoweverManyWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := hubFixture(t)
		w.tell(status("ada", "j0", archive.Planned))
		runHub(t, h)
		var all []*listener
		for range 1000 {
			l, err := h.listen(t.Context(), "ada", func() {})
			if err != nil {
				t.Fatal(err)
			}
			if l.from.Seq != 1 {
				t.Fatalf("a reader begins after %s, want 1", l.from)
			}
			all = append(all, l)
		}
		w.tell(status("bob", "j9", archive.Planned))
		w.tell(status("ada", "j1", archive.Requested))
		synctest.Wait()
		for i, l := range all {
			if got := <-l.changes; got.at.Seq != 3 {
				t.Fatalf("reader %d got %s, want 3", i, got.at)
			}
			h.leave(l)
		}
		w.change(func() {
			if w.follows != 1 {
				t.Errorf("the stream was followed %d times, want once", w.follows)
			}
		})
		if len(h.listeners) != 0 {
			t.Errorf("readers are left: %v", h.listeners)
		}
	})
}

func TestTheHubDropsAReaderThatIsTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := hubFixture(t)
		runHub(t, h)
		cut := 0
		slow, err := h.listen(t.Context(), "ada", func() { cut++ })
		if err != nil {
			t.Fatal(err)
		}
		for range backlog + 10 {
			w.tell(status("ada", "j1", archive.Copying))
		}
		synctest.Wait()
		got := 0
		for range slow.changes {
			got++
		}
		if got != backlog || cut != 1 || h.dropped != 1 {
			t.Errorf("it got %d changes, was cut %d times, and %d are counted; want %d, 1, 1", got, cut, h.dropped, backlog)
		}
		h.leave(slow)
	})
}

func TestTheHubGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := hubFixture(t)
		w.faults["Position"] = errors.New("nats is away")
		runHub(t, h)
		synctest.Wait()
		if _, ok := h.position(); ok {
			t.Error("the hub knows a position that nobody told it")
		}
		ctx, cancel := context.WithTimeout(t.Context(), hubPause/2)
		if _, err := h.listen(ctx, "ada", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("listening to a hub that is not ready: %v", err)
		}
		cancel()
		time.Sleep(hubPause)
		l, err := h.listen(t.Context(), "ada", nil)
		if err != nil {
			t.Fatal(err)
		}
		// The stream breaks. The reader still gets the changes that come meanwhile.
		w.change(func() {
			w.faults["Follow"] = errors.New("connection lost")
			for _, st := range []archive.State{archive.Planned, archive.Requested} {
				w.statuses = append(w.statuses, Status{Position: w.at(len(w.statuses) + 1), StatusChanged: status("ada", events.JobID("j1"), st)})
			}
			close(w.news)
			w.news = make(chan struct{})
		})
		time.Sleep(2 * hubPause)
		for want := uint64(1); want <= 2; want++ {
			if got := <-l.changes; got.at.Seq != want {
				t.Errorf("got change %s, want %d", got.at, want)
			}
		}
	})
}

func TestTheHubGoesOnInAStreamThatWasMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := hubFixture(t)
		for range 5 {
			w.tell(status("ada", "j1", archive.Copying))
		}
		runHub(t, h)
		cut := 0
		old, err := h.listen(t.Context(), "ada", func() { cut++ })
		if err != nil {
			t.Fatal(err)
		}
		w.remake("t")
		w.tell(status("ada", "j1", archive.Restored))
		time.Sleep(2 * hubPause)
		synctest.Wait()
		if d, ok := <-old.changes; ok || cut != 1 {
			t.Errorf("a reader of the old stream got %+v and was cut %d times, want it cut: it may have missed something", d, cut)
		}
		if at, ok := h.position(); !ok || at.String() != "t-1" {
			t.Errorf("the hub is at %s, want t-1", at)
		}
		l, err := h.listen(t.Context(), "ada", func() {})
		if err != nil {
			t.Fatal(err)
		}
		w.tell(status("ada", "j2", archive.Planned))
		if d := <-l.changes; d.at.String() != "t-2" {
			t.Errorf("got change %s, want t-2", d.at)
		}
		// A stream that lost its end counts the same numbers again.
		w.change(func() { w.statuses = w.statuses[:1]; close(w.news); w.news = make(chan struct{}) })
		time.Sleep(2 * hubPause)
		if _, ok := <-l.changes; ok {
			t.Error("a reader of what was lost was not cut")
		}
		if at, _ := h.position(); at.String() != "t-1" {
			t.Errorf("the hub is at %s, want t-1", at)
		}
	})
}
