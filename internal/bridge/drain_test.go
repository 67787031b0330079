package bridge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAnIdleQueueCostsOneLongPollAtATime(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.start()
		b.after(50 * time.Second)
		is(t, "the waits of the receives", &b.queue.receives, "0s  20s\n20s  20s\n40s  20s")
		is(t, "the leases of the receives", &b.queue.leases, "0s  30s\n20s  30s\n40s  30s")
		is(t, "receives at a time", b.queue.receives.mostAtATime(), 1)
		is(t, "how long the stop took", b.stop(), 0*time.Second)
	})
}

func TestTheLeaseIsAsLongAsTheSettingSays(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.Lease = time.Minute
		b.start()
		b.after(0)
		is(t, "the lease", &b.queue.leases, "0s  1m0s")
	})
}

// TestFullAnswersDoubleTheReceivesUpTo32: two answers at the same time double their number twice.
func TestFullAnswersDoubleTheReceivesUpTo32(t *testing.T) {
	for _, c := range []struct {
		name  string
		width int
		want  []int
	}{
		{"no setting", 0, []int{1, 2, 8, 32, 32}},
		{"a setting", 5, []int{1, 2, 5, 5, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			withFakes(t, func(t *testing.T, b *fakes) {
				b.Width = c.width
				b.queue.lend = func(ctx context.Context) ([]queue.Message, error) {
					time.Sleep(time.Second)
					return slices.Repeat([]queue.Message{upgrade(1)}, queue.BatchSize), nil
				}
				b.start()
				b.after(500 * time.Millisecond)
				var got []int
				for range c.want {
					got = append(got, b.queue.receives.now())
					b.after(time.Second)
				}
				is(t, "receives in flight", got, c.want)
				for _, call := range b.queue.receives.list() {
					if call.d != 0 && call.d != longPoll {
						t.Fatalf("a receive waits %s, want a long poll, or nothing beside another receive", call.d)
					}
				}
			})
		})
	}
}

func TestAnAnswerSaysHowManyReceivesFollow(t *testing.T) {
	for _, c := range []struct{ width, answer, want int }{
		{1, 10, 2}, {2, 10, 4}, {16, 10, 32}, {20, 10, 32}, {32, 10, 32}, // full
		{8, 9, 4}, {9, 9, 4}, {2, 1, 1}, {1, 1, 1}, // some
		{32, 0, 1}, {1, 0, 1}, // none
	} {
		r := &run{width: c.width, limit: 32}
		if r.received(c.answer); r.width != c.want {
			t.Errorf("%d receives, then an answer of %d: %d receives, want %d", c.width, c.answer, r.width, c.want)
		}
	}
}

func TestAReceiveStartsUnlessItMustWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, c := range map[string]struct {
			run         *run
			start, only bool
			wait        time.Duration
		}{
			"the first":           {run: &run{width: 1}, start: true, only: true},
			"the second":          {run: &run{width: 2, inFlight: 1}, start: true},
			"enough are there":    {run: &run{width: 2, inFlight: 2}},
			"a pause":             {run: &run{width: 1, notUntil: now.Add(time.Minute)}, wait: time.Minute},
			"the pause's last ns": {run: &run{width: 1, notUntil: now.Add(1)}, wait: 1},
			"the pause is over":   {run: &run{width: 1, notUntil: now}, start: true, only: true},
		} {
			before := c.run.inFlight
			start, only, wait := c.run.next()
			if start != c.start || only != c.only || wait != c.wait || (c.run.inFlight > before) != c.start {
				t.Errorf("%s: start %t, only %t, wait %s, want %t, %t, %s; %d in flight after %d", name, start, only, wait, c.start, c.only, c.wait, c.run.inFlight, before)
			}
		}
	})
}

func TestEvenTheShortestPauseEnds(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		ctx, cancel := context.WithCancel(t.Context())
		r := b.newRun(ctx)
		r.notUntil = time.Now().Add(1)
		go r.receiveAll(ctx, ctx)
		b.after(time.Second)
		is(t, "the receives", len(b.queue.receives.list()), 1)
		cancel()
		synctest.Wait()
	})
}

// newRun is the state of a Run that has not started.
func (b *fakes) newRun(ctx context.Context) *run {
	return &run{Drain: b.Drain, lease: defaultLease, limit: 4, width: 1, arrived: make(chan []queue.Message, 100), changed: make(chan struct{}, 1),
		loans: map[string]loan{}, stopped: ctx.Done()}
}

func TestThePublishersGetNoEmptyBatch(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		r := b.newRun(t.Context())
		r.receive(t.Context(), t.Context(), true)
		is(t, "batches for the publishers", len(r.arrived), 0)
	})
}

// TestTheReceivedMessagesAreBounded: a message uses its body and 3 KiB, and all messages 24 MiB.
// One receive in flight brings one batch more. After a stop, the publications have 8 s. Then the
// messages go back at once.
func TestTheReceivedMessagesAreBounded(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		body := strings.Repeat("x", 1000)
		b.Width = 1
		n := 0
		b.queue.lend = func(context.Context) ([]queue.Message, error) {
			batch := make([]queue.Message, queue.BatchSize)
			for i := range batch {
				batch[i] = upgrade(n)
				batch[i].Body = body
				n++
			}
			return batch, nil
		}
		let := make(chan struct{})
		b.publish.store = func(context.Context, events.Event) error { <-let; return errAway }
		b.start()
		b.after(time.Hour)
		const batch = queue.BatchSize * (1000 + 3*1024)
		is(t, "messages received", b.Tally.Received.Load(), queue.BatchSize*(24*1024*1024/batch+1))
		if b.queue.receives.now() != 0 {
			t.Error("a receive is in flight, and its messages would have no room")
		}

		close(b.closed)
		b.after(8*time.Second - 1)
		is(t, "messages given back just before 8 s", len(b.queue.returns.list()), 0)
		b.after(1)
		is(t, "calls that give back after 8 s", len(b.queue.returns.list()), 1) // of the receive that waits for room
		close(let)
		<-b.done
		b.closed = nil
		is(t, "messages given back", b.Tally.Returned.Load(), n)
		back := map[string]int{}
		for _, c := range b.queue.returns.list() {
			if c.d != 0 {
				t.Fatalf("messages go back after %s, want at once: another bridge may have them", c.d)
			}
			for _, r := range c.receipts {
				back[r]++
			}
		}
		is(t, "different messages in the calls that give back", len(back), n)
		for r, times := range back {
			if times != 1 {
				t.Errorf("%s was given back %d times", r, times)
			}
		}
		is(t, "messages in no account", b.Tally.InHand(), 0)
		is(t, "calls that delete", len(b.queue.deletes.list()), 0)
	})
}

func TestSettledMessagesMakeRoomForOthers(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		large := strings.Repeat("x", maxMessage)
		b.publish.store = func(_ context.Context, e events.Event) error {
			if e.(events.DeadLetter).ID == "m3" {
				return errInvalid
			}
			return nil
		}
		b.holds(60) // 60 MiB
		for i := range b.queue.backlog {
			b.queue.backlog[i].Body = large
		}
		b.start()
		b.after(time.Minute)
		b.tally("0 published, 0 duplicate, 59 quarantined, 1 returned, 0 undeleted")
	})
}

// TestAStopEndsThoughNothingAnswers: publications may take 8 s, and then each call to the queue 5 s.
// A service has 25 s for its stop.
func TestAStopEndsThoughNothingAnswers(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(ctx context.Context, _ events.Event) error { return hang(ctx) }
		b.queue.giveBack = func(ctx context.Context, receipts []string) []error { return each(hang(ctx))(ctx, receipts) }
		b.holds(5)
		b.start()
		b.after(time.Minute)
		is(t, "how long the stop took", b.stop(), 13*time.Second)
		b.tally("0 published, 0 duplicate, 0 quarantined, 5 returned, 0 undeleted")
		b.logged(5, `level=DEBUG msg="not returned to the queue" queue=fake err="context deadline exceeded"`)
	})
}

func TestMessagesThatArriveDuringAStopAreSettled(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.lend = func(context.Context) ([]queue.Message, error) {
			time.Sleep(4 * time.Second)
			return []queue.Message{upgrade(0)}, nil
		}
		b.queue.remove = func(_ context.Context, receipts []string) []error {
			time.Sleep(3 * time.Second)
			return each(nil)(nil, receipts)
		}
		b.start()
		b.after(time.Second)
		is(t, "how long the stop took", b.stop(), 6*time.Second)
		b.tally("1 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
	})
}

// TestManyWakeUpsDuringAReceiveCauseOneMore: each receive takes a second and fails.
func TestManyWakeUpsDuringAReceiveCauseOneMore(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.lend = func(context.Context) ([]queue.Message, error) {
			time.Sleep(time.Second)
			return nil, errAway
		}
		b.start()
		b.after(500 * time.Millisecond)
		for range 3 {
			b.Wake()
		}
		b.after(2500 * time.Millisecond)
		is(t, "receives", b.queue.receives.times(), []time.Duration{0, time.Second, 2200 * time.Millisecond})
	})
}

// TestThePauseDoublesWhileSomethingFails: from 100 ms to 30 s.
func TestThePauseDoublesWhileSomethingFails(t *testing.T) {
	const ms = time.Millisecond
	starts := []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms, 3100 * ms, 6300 * ms, 12700 * ms, 25500 * ms, 51100 * ms, 81100 * ms, 111100 * ms}
	t.Run("receiving", func(t *testing.T) {
		withFakes(t, func(t *testing.T, b *fakes) {
			fails := func(context.Context) ([]queue.Message, error) { return nil, errAway }
			b.queue.lend = fails
			b.start()
			b.after(2 * time.Minute)
			is(t, "receives", b.queue.receives.times(), starts)
			is(t, "the trouble", b.Ready(t.Context()), "premium queue: receiving: away")
			b.logged(1, `level=WARN msg="drain pauses" queue=fake while=receiving pause=100ms err=away`, `level=DEBUG msg="drain pauses" queue=fake while=receiving pause=6.4s err=away`)
			b.logged(0, "works again")

			b.queue.then(func() { b.queue.lend = nil })
			b.after(time.Minute)
			is(t, "the trouble after a success", b.Ready(t.Context()), nil)
			b.logged(1, `level=INFO msg="drain works again" queue=fake after=receiving failures=12`)

			b.queue.then(func() { b.queue.lend = fails })
			b.after(1250 * ms) // the long poll ends, the next receive fails, and the one after a pause
			last := b.queue.receives.times()
			is(t, "the pause after a success", last[len(last)-1]-last[len(last)-2], 100*ms)
		})
	})
	t.Run("looking", func(t *testing.T) {
		withFakes(t, func(t *testing.T, b *fakes) {
			b.publish.look = func() error { return errAway }
			b.start()
			b.after(2 * time.Minute)
			is(t, "looks", b.publish.looks.times(), starts)
			is(t, "the trouble", b.Ready(t.Context()), "premium queue: checking jetstream: away")
			is(t, "receives while JetStream is away", len(b.queue.receives.list()), 0)
			b.publish.then(func() { b.publish.look = nil })
			b.after(30 * time.Second)
			is(t, "the trouble after a success", b.Ready(t.Context()), nil)
			is(t, "receives afterwards", len(b.queue.receives.list()), 1)
		})
	})
}

func TestAStopIsNoTrouble(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.lend = func(ctx context.Context) ([]queue.Message, error) { <-ctx.Done(); return nil, ctx.Err() }
		b.start()
		b.after(time.Second)
		b.stop()
		is(t, "the trouble", b.Ready(t.Context()), nil)
		b.logged(0, "drain pauses")
	})
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.lend = func(ctx context.Context) ([]queue.Message, error) { return nil, errors.New("not reached") }
		wait := make(chan struct{})
		b.publish.look = func() error { <-wait; return errAway }
		b.start()
		b.after(time.Second)
		close(b.closed)
		b.after(time.Second)
		close(wait)
		<-b.done
		b.closed = nil
		is(t, "the trouble", b.Ready(t.Context()), nil)
	})
}

func TestFailuresAtTheSameTimeAreOne(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		r := b.newRun(t.Context())
		pause := func() time.Duration { return time.Until(r.notUntil) }
		r.width = 8
		r.failed(receiving, errAway)
		r.failed(receiving, errors.New("the same"))
		is(t, "the receives at a time after a failure", r.width, 1)
		is(t, "the pause after two failures at once", pause(), 100*time.Millisecond)
		is(t, "the trouble", b.Ready(t.Context()), "premium queue: receiving: the same")
		b.logged(1, "drain pauses")
		b.after(100 * time.Millisecond)
		r.failed(receiving, errAway)
		is(t, "the pause after the next one", pause(), 200*time.Millisecond)
		b.logged(2, "drain pauses")

		r.worked(receiving)
		b.after(150 * time.Millisecond)
		r.failed(receiving, errAway) // within the last pause, and yet something new
		is(t, "the pause after a success between", pause(), 100*time.Millisecond)
		b.logged(3, "drain pauses")
		is(t, "the trouble", b.Ready(t.Context()), "premium queue: receiving: away")
	})
}

func TestTheLongestPauseCounts(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		r := b.newRun(t.Context())
		for range 5 {
			r.failed(looking, errAway)
			b.after(max(0, time.Until(r.notUntil)))
		}
		r.failed(looking, errAway) // 3.2 s
		r.failed(deleting, errors.New("and this"))
		is(t, "the pause", time.Until(r.notUntil), 3200*time.Millisecond)
		is(t, "the trouble", b.Ready(t.Context()), "premium queue: checking jetstream: away")
		r.worked(looking)
		is(t, "the rest of the trouble", b.Ready(t.Context()), "premium queue: deleting: and this")
		r.worked(deleting)
		is(t, "no trouble", b.Ready(t.Context()), nil)
	})
}

// TestReceivingGoesOnAtOnceWhenThereIsRoom: while a stream is full, nothing is received. The held
// messages show when there is room again.
func TestReceivingGoesOnAtOnceWhenThereIsRoom(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(context.Context, events.Event) error { return errFull }
		b.holds(5)
		b.start()
		b.after(5 * time.Minute)
		if at := b.queue.receives.times(); at[len(at)-1] > 20*time.Second {
			t.Errorf("a receive started after %s, with a full stream", at[len(at)-1])
		}
		is(t, "the trouble", b.Ready(t.Context()), "premium queue: publishing: no room")
		b.publish.then(func() { b.publish.store = nil })
		b.after(time.Minute)
		tries := b.publish.publications.times()
		if at, room := b.queue.receives.times(), tries[len(tries)-1]; !slices.Contains(at, room) {
			t.Errorf("receives at %s, want one at %s, when there was room", at, room)
		}
		b.tally("5 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
	})
}

func TestTwoPublicationsAnd32SettlingCallsGoOnAtATime(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.store = func(context.Context, events.Event) error { time.Sleep(time.Millisecond); return nil }
		b.queue.remove = func(_ context.Context, receipts []string) []error {
			time.Sleep(time.Second)
			return each(nil)(nil, receipts)
		}
		b.holds(2000)
		b.start()
		b.after(time.Minute)
		is(t, "publications at a time", b.publish.publications.mostAtATime(), 2)
		is(t, "calls that delete at a time", b.queue.deletes.mostAtATime(), 32)
		b.tally("2000 published, 0 duplicate, 0 quarantined, 0 returned, 0 undeleted")
	})
}

func TestAPublicationTakesEverythingThatHasArrivedUpTo500Messages(t *testing.T) {
	batches := func(n int, size ...int) [][]queue.Message {
		var all [][]queue.Message
		for _, s := range size {
			all = append(all, make([]queue.Message, s))
		}
		for range n {
			all = append(all, make([]queue.Message, queue.BatchSize))
		}
		return all
	}
	for name, c := range map[string]struct {
		arrived [][]queue.Message
		closed  bool
		want    int
	}{
		"one batch":                  {batches(1), false, 10},
		"several":                    {batches(6), false, 60},
		"more than enough":           {batches(60), false, 500},
		"no half of a batch":         {batches(60, 1), false, 491},
		"the last ones after a stop": {batches(3), true, 30},
		"the last one after a stop":  {batches(1), true, 10},
	} {
		r := &run{arrived: make(chan []queue.Message, 100)}
		for _, batch := range c.arrived {
			r.arrived <- batch
		}
		if c.closed {
			close(r.arrived)
		}
		if got := len(r.gather(<-r.arrived)); got != c.want {
			t.Errorf("%s: %d messages, want %d", name, got, c.want)
		}
	}
}
