package thaw

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestTheOldestFinishedRetrievalIsAdoptedOrElseTheOldest(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	of := func(id string, status archive.RetrievalStatus, minutesAgo int) archive.Retrieval {
		return archive.Retrieval{ID: events.RetrievalID(id), Status: status, RequestedAt: now.Add(-time.Duration(minutesAgo) * time.Minute), CompletedAt: now}
	}
	const doing, done, failed = archive.InProgress, archive.Succeeded, archive.RetrievalFailed
	for _, c := range []struct {
		name   string
		found  []archive.Retrieval
		want   string
		usable int
	}{
		{"none", nil, "", 0},
		{"only failed ones", []archive.Retrieval{of("a", failed, 9)}, "", 0},
		{"one", []archive.Retrieval{of("a", doing, 1)}, "a", 1},
		{"the older one comes first", []archive.Retrieval{of("a", doing, 2), of("b", doing, 1)}, "a", 2},
		{"the older one comes last", []archive.Retrieval{of("a", doing, 1), of("b", doing, 2)}, "b", 2},
		{"both are as old", []archive.Retrieval{of("a", doing, 2), of("b", doing, 2)}, "a", 2},
		{"a younger one is finished", []archive.Retrieval{of("a", doing, 2), of("b", done, 1)}, "b", 2},
		{"a younger one is finished and comes first", []archive.Retrieval{of("a", done, 1), of("b", doing, 2)}, "a", 2},
		{"of two that are finished", []archive.Retrieval{of("a", done, 1), of("b", done, 2), of("c", doing, 3)}, "b", 3},
		{"a failed one comes first and is the oldest", []archive.Retrieval{of("a", failed, 9), of("b", doing, 2), of("c", doing, 1)}, "b", 2},
	} {
		best, usable := bestOf(c.found, now)
		if string(best.ID) != c.want || usable != c.usable {
			t.Errorf("%s: got %q of %d, want %q of %d", c.name, best.ID, usable, c.want, c.usable)
		}
	}
}

func TestASizeOfTheCatalogCountsBeforeGlaciersAndTheAssumedOneLast(t *testing.T) {
	r := &Requester{Prices: cost.Public().In("us-east-1"), AssumedSize: 7 << 30}
	for _, c := range []struct{ catalog, glacier, want int64 }{
		{2 << 30, 5 << 30, 2 << 30}, {0, 5 << 30, 0}, {0, 0, 0}, {-1, 5 << 30, 5 << 30}, {-1, 1, 1}, {-1, 0, 7 << 30}, {-1, -1, 7 << 30},
	} {
		got := r.priceOf(archive.Retrieval{Tier: archive.Standard, Size: c.glacier}, archive.Job{ArchiveSize: c.catalog})
		if want := r.Prices.Of(archive.Vault, archive.Standard, 1, c.want); got != want {
			t.Errorf("the catalog has %d and Glacier %d: got %s, want %s", c.catalog, c.glacier, got, want)
		}
	}
	// One byte of a known size is not the assumed size.
	r.Prices = cost.Table{Regions: map[string]map[archive.Tier]cost.Price{"r": {archive.Standard: {PerGiB: 1 << 20}}}}.In("r")
	if got, want := r.priceOf(archive.Retrieval{Tier: archive.Standard, Size: 1}, archive.Job{ArchiveSize: -1}), r.Prices.Of(archive.Vault, archive.Standard, 1, 1); got != want || got == 0 {
		t.Errorf("one byte: got %s, want %s", got, want)
	}
}

func TestALimitHoldsUpToItsLastMillionth(t *testing.T) {
	for _, c := range []struct {
		limits            Limits
		all, ofUser, cost archive.MicroUSD
		over, limited     bool
	}{
		{Limits{}, 1 << 40, 1 << 40, 1, false, false},
		{Limits{User: 1}, 9, 0, 1, false, true},
		{Limits{User: 1}, 9, 1, 1, true, true},
		{Limits{User: 1}, 9, 0, 2, true, true},
		{Limits{Day: 1}, 0, 9, 1, false, true},
		{Limits{Day: 1}, 1, 9, 1, true, true},
		{Limits{User: 5, Day: 9}, 4, 4, 1, false, true},
		{Limits{User: 5, Day: 9}, 9, 4, 1, true, true},
	} {
		if got := c.limits.over(c.all, c.ofUser, c.cost); (got != "") != c.over || c.limits.Limited() != c.limited {
			t.Errorf("%+v: %d of all, %d of the user, %d more: got %q and limited %v", c.limits, c.all, c.ofUser, c.cost, got, c.limits.Limited())
		}
	}
}

func TestADayEndsAtMidnightInUTC(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	for _, at := range []time.Time{
		time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 27, 23, 59, 59, 0, time.UTC), time.Date(2026, 11, 28, 0, 30, 0, 0, berlin),
		time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC),
	} {
		if day, next, want := dayOf(at), nextDay(at), time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC); day != "2026-11-27" || !next.Equal(want) {
			t.Errorf("%s is on %s, and the next day begins at %s", at, day, next)
		}
	}
}

// stubStore has one answer.
type stubStore struct {
	kv.Store
	data []byte
	err  error
}

func (s stubStore) Get(context.Context, string) ([]byte, uint64, error) { return s.data, 7, s.err }
func (s stubStore) Put(context.Context, string, []byte) error           { return s.err }

func TestOnlyAMissingKeyIsNoError(t *testing.T) {
	lost := errors.New("lost")
	for _, c := range []struct {
		name     string
		store    stubStore
		revision uint64
		found    bool
		err      bool
	}{
		{"a value", stubStore{data: []byte(`5`)}, 7, true, false},
		{"no value", stubStore{err: fault.Errorf(fault.NotFound, "no value")}, 0, false, false},
		{"no store", stubStore{err: lost}, 0, false, true},
		{"no JSON", stubStore{data: []byte(`x`)}, 7, false, true},
	} {
		var v int
		revision, found, err := read(t.Context(), c.store, "k", &v)
		if revision != c.revision || found != c.found || (err != nil) != c.err || found != (v == 5) {
			t.Errorf("%s: got revision %d, found %v, value %d, %v", c.name, revision, found, v, err)
		}
	}
	if err := write(t.Context(), stubStore{err: lost}, "k", 5); !errors.Is(err, lost) {
		t.Errorf("a write to no store: got %v", err)
	}
	if err := write(t.Context(), stubStore{}, "k", func() {}); err == nil {
		t.Error("a func is written as JSON")
	}
}

func TestAnAccountIsReadOnceASecondAndAnErrorIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c accountCache
		reads, broken := 0, errors.New("broken")
		var fails error
		get := func() (archive.Account, error) {
			return c.get(t.Context(), time.Now, "u", func(ctx context.Context, id events.UserID) (archive.Account, error) {
				reads++
				if _, ok := ctx.Deadline(); !ok {
					t.Error("a read has no deadline")
				}
				return archive.Account{ID: id, PlansOpened: reads}, fails
			})
		}
		for _, step := range []struct {
			what  string
			after time.Duration
			fails error
			reads int
		}{
			{"the first", 0, nil, 1},
			{"a moment later", 999 * time.Millisecond, nil, 1},
			{"a second later", time.Millisecond, nil, 2},
			{"an error", time.Second, broken, 3},
			{"after the error", 0, nil, 4},
		} {
			time.Sleep(step.after)
			fails = step.fails
			account, err := get()
			if reads != step.reads || !errors.Is(err, step.fails) || err == nil && account.PlansOpened != reads || err != nil && account.ID != "" {
				t.Errorf("%s: %d reads, %+v, %v; want %d reads", step.what, reads, account, err, step.reads)
			}
		}
		c.forget("u")
		if account, err := get(); reads != 5 || account.PlansOpened != 5 || err != nil {
			t.Errorf("after it was forgotten: %d reads, %+v, %v", reads, account, err)
		}
	})
}

func TestAReadThatBeganBeforeAnAccountWasForgottenIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c accountCache
		read := func(plans int, takes time.Duration) func(context.Context, events.UserID) (archive.Account, error) {
			return func(ctx context.Context, id events.UserID) (archive.Account, error) {
				time.Sleep(takes)
				return archive.Account{ID: id, PlansOpened: plans}, nil
			}
		}
		done := make(chan archive.Account)
		go func() {
			account, _ := c.get(t.Context(), time.Now, "u", read(1, 10*time.Millisecond))
			done <- account
		}()
		synctest.Wait()
		c.forget("u")
		if account, err := c.get(t.Context(), time.Now, "u", read(2, 20*time.Millisecond)); err != nil || account.PlansOpened != 2 {
			t.Errorf("got %+v, %v, want what was read afterwards", account, err)
		}
		<-done
		// The read ends when its time is up, and the caller may leave before that.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		hangs := func(ctx context.Context, _ events.UserID) (archive.Account, error) {
			<-ctx.Done()
			return archive.Account{}, ctx.Err()
		}
		if _, err := c.get(ctx, time.Now, "v", hangs); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("a caller that leaves after a second: %v after %s", err, time.Since(began))
		}
		if _, err := c.get(t.Context(), time.Now, "v", hangs); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 15*time.Second {
			t.Errorf("a read that hangs: %v after %s, want 15 s", err, time.Since(began))
		}
	})
}

func TestMemoriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		fixed := func() time.Time { return now }
		var c accountCache
		get := func(i int) {
			if _, err := c.get(t.Context(), fixed, events.UserID(fmt.Sprint(i)), func(_ context.Context, id events.UserID) (archive.Account, error) {
				return archive.Account{ID: id}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10_000 {
			get(i)
		}
		if len(c.seen) != 10_000 {
			t.Errorf("%d accounts are cached, want 10,000", len(c.seen))
		}
		if get(10_000); len(c.seen) != 1 {
			t.Errorf("%d accounts are cached after one more, want that one", len(c.seen))
		}
		var w watched
		for i := range 100_000 {
			w.age(events.JobID(fmt.Sprint(i)), "t", now)
		}
		if age := w.age("0", "t", now.Add(time.Minute)); age != time.Minute || len(w.intents) != 100_000 {
			t.Errorf("the first of %d intents is %s old, want a minute and 100,000", len(w.intents), age)
		}
		if age := w.age("0", "another", now.Add(time.Minute)); age != 0 || len(w.intents) != 1 {
			t.Errorf("another intent is %s old, beside %d", age, len(w.intents)-1)
		}
	})
}

func TestHowFarApartCallsAre(t *testing.T) {
	for slowness, want := range map[float64]time.Duration{
		-1: 0, 0: 0, 0.5: 2500 * time.Microsecond, 1: 5 * time.Millisecond, 1.5: 7071067, 2: 10 * time.Millisecond, 12: 10240 * time.Millisecond,
	} {
		if got := (SharedPace{Slowness: slowness}).Gap(); got != want {
			t.Errorf("slowness %v: got %s, want %s", slowness, got, want)
		}
	}
}

func TestThrottlesCountForFiveMinutesAndTwelveAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := func(p *Pace, n int) time.Duration {
			began := time.Now()
			for range n {
				if err := p.Turn(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(began)
		}
		p := &Pace{}
		for range 20 {
			p.Slow(t.Context())
			time.Sleep(250 * time.Millisecond)
		}
		if got := p.Shared().Slowness; got != 12 {
			t.Errorf("after twenty throttles the slowness is %v, want 12", got)
		}
		time.Sleep(5*time.Minute - 250*time.Millisecond)
		p = &Pace{shared: SharedPace{Slowness: 2, SlowedAt: time.Now().Add(-5 * time.Minute)}}
		if got := turns(p, 2); got != 10*time.Millisecond {
			t.Errorf("five minutes after a throttle the gap is %s, want 10ms", got)
		}
		p = &Pace{shared: SharedPace{Slowness: 2, SlowedAt: time.Now().Add(-5*time.Minute - 1)}}
		if got := turns(p, 2); got != 0 {
			t.Errorf("later the gap is %s, want none", got)
		}
		for age, want := range map[time.Duration]float64{
			0: 2, 249 * time.Millisecond: 2, 250 * time.Millisecond: 3, 5 * time.Minute: 3, 5*time.Minute + 1: 1,
		} {
			p := &Pace{shared: SharedPace{Slowness: 2, SlowedAt: time.Now().Add(-age)}}
			if p.Slow(t.Context()); p.Shared().Slowness != want {
				t.Errorf("a throttle %s after the last: the slowness is %v, want %v", age, p.Shared().Slowness, want)
			}
		}
		p = &Pace{shared: SharedPace{Slowness: 1, SlowedAt: time.Now().Add(-5*time.Minute - 1)}}
		if got := turns(p, 2); got != 0 {
			t.Errorf("later, after one throttle, the gap is %s, want none", got)
		}
		if got := turns(&Pace{Rate: 0.5}, 2); got != 2*time.Second {
			t.Errorf("at half a call a second the gap is %s, want 2s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p = &Pace{Rate: 1}
		turns(p, 1)
		if err := p.Turn(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a turn of a caller that is gone: %v", err)
		}
		if leave, err := (&Pace{}).Enter(ctx); leave == nil || !errors.Is(err, context.Canceled) {
			t.Errorf("without a limit, a caller that is gone enters: %v", err)
		}
		p = &Pace{Calls: 1}
		if _, err := p.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		if leave, err := p.Enter(ctx); leave != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("a second call at a time enters: %v", err)
		}
	})
}

func TestOnlyAStoreThatForgetsOutputsHasOldIntents(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	r := &Requester{Now: func() time.Time { return now }}
	for _, c := range []struct {
		class archive.Class
		age   time.Duration
		want  bool
	}{
		{archive.Vault, 23 * time.Hour, false}, {archive.Vault, 23*time.Hour + 1, true},
		{archive.Instant, 0, false}, {archive.Instant, 1000 * time.Hour, false},
	} {
		job := archive.Job{Copy: archive.Copy{Class: c.class}, Intent: &archive.Intent{At: now.Add(-c.age)}}
		if got := r.outlived(job); got != c.want {
			t.Errorf("an intent of %s, %s old, is outlived: %t, want %t", c.class, c.age, got, c.want)
		}
	}
}
