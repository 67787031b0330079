package thaw_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
)

func TestExpeditedIsLeftAloneForAGrowingTimeUntilItHasCapacityAgain(t *testing.T) {
	now := time.Unix(0, 0)
	p := &thaw.Pace{Now: func() time.Time { return now }}
	var rests []time.Duration
	for range 10 {
		p.Rest(t.Context())
		p.Rest(t.Context()) // of a call that was in flight
		rest := p.Resting(archive.Expedited)
		rests = append(rests, rest)
		if p.Resting(archive.Standard) != 0 {
			t.Error("Standard rests too")
		}
		now = now.Add(rest)
	}
	want := []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
	for i := range want {
		if rests[i] != want[i]*time.Second {
			t.Errorf("rest %d: got %s, want %ds", i+1, rests[i], want[i])
		}
	}
	p.Took(t.Context(), archive.Standard)
	p.Rest(t.Context())
	if got := p.Resting(archive.Expedited); got != 5*time.Minute {
		t.Errorf("after Standard was taken the rest is %s, want it to stay 5m", got)
	}
	now = now.Add(5 * time.Minute)
	p.Took(t.Context(), archive.Expedited)
	p.Rest(t.Context())
	if got := p.Resting(archive.Expedited); got != 2*time.Second {
		t.Errorf("after Expedited was taken the rest is %s, want 2s", got)
	}
}

func TestThrottlesSpreadTheCallsAndCallsThatPassBringThemTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &thaw.Pace{}
		for range 5 {
			p.Slow(t.Context())
			p.Slow(t.Context()) // of a call that was in flight
			time.Sleep(time.Second)
		}
		began := time.Now()
		for range 11 {
			if err := p.Turn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(began); got != 800*time.Millisecond {
			t.Errorf("10 gaps after 5 throttles took %s, want 80ms each", got)
		}
		for range 50 {
			p.Took(t.Context(), archive.Standard)
		}
		began = time.Now()
		for range 11 {
			p.Turn(t.Context())
		}
		if got := time.Since(began); got > 81*time.Millisecond { // the turn that was taken before
			t.Errorf("after 50 calls that passed, 10 gaps took %s", got)
		}
	})
}

func TestARateAndAConcurrencyLimitHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &thaw.Pace{Rate: 50, Calls: 3}
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		in, most := 0, 0
		for range 101 {
			wg.Go(func() {
				if err := p.Turn(t.Context()); err != nil {
					t.Error(err)
				}
				leave, err := p.Enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				in++
				most = max(most, in)
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
				mu.Lock()
				in--
				mu.Unlock()
				leave()
			})
		}
		wg.Wait()
		// 34 rounds of three calls of 100 ms. The last round begins a turn later.
		if took := time.Since(began); most != 3 || took != 3420*time.Millisecond {
			t.Errorf("%d calls at a time in %s, want 3 in 3.42s", most, took)
		}
		free := &thaw.Pace{Rate: 50}
		began = time.Now()
		for range 101 {
			free.Turn(t.Context())
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("101 turns at 50 a second took %s, want 2s", took)
		}
	})
}

func TestOneWorkersRefusalSlowsAndRestsTheOthers(t *testing.T) {
	ns := testenv.NATS(t)
	worker := func() *thaw.Pace {
		return &thaw.Pace{KV: testenv.Bus(t, ns, "thaw").KV(bus.BucketPace), Log: testenv.Log(t)}
	}
	a, b := worker(), worker()
	a.Rest(t.Context())
	a.Slow(t.Context())
	if err := b.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rest, gap := b.Resting(archive.Expedited), b.Shared().Gap(); rest <= 0 || gap != 5*time.Millisecond {
		t.Errorf("the other worker rests Expedited for %s and leaves %s between calls", rest, gap)
	}
	// Ten refusals at the same time count as one.
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { worker().Rest(context.Background()) })
	}
	wg.Wait()
	c := worker()
	c.Turn(t.Context())
	if n := c.Shared(); n.Refusals != 1 {
		t.Errorf("the bucket has %d refusals, want the first one alone", n.Refusals)
	}
}

// lost is a store that cannot be reached.
type lost struct{}

var errLost = errors.New("lost")

func (lost) Get(context.Context, string) ([]byte, uint64, error) { return nil, 0, errLost }
func (lost) Put(context.Context, string, []byte) error           { return errLost }
func (lost) Swap(context.Context, string, []byte, uint64) error  { return errLost }

func TestWithoutASharedPaceAWorkerGoesByItsOwnAnswers(t *testing.T) {
	ns := testenv.NATS(t)
	op := testenv.Bus(t, ns, "operator")
	if err := op.JS.DeleteKeyValue(t.Context(), bus.BucketPace); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]kv.Store{"an error": lost{}, "no bucket": testenv.Bus(t, ns, "thaw").KV(bus.BucketPace), "none": nil} {
		p := &thaw.Pace{KV: store}
		p.Rest(t.Context())
		p.Slow(t.Context())
		if err := p.Turn(t.Context()); err != nil || p.Resting(archive.Expedited) <= 0 || p.Shared().Gap() <= 0 {
			t.Errorf("%s: turn %v, shared pace %+v", name, err, p.Shared())
		}
	}
}

// memory is a store in memory, with one key.
type memory struct {
	value    []byte
	revision uint64
}

func (m *memory) Get(context.Context, string) ([]byte, uint64, error) {
	if m.revision == 0 {
		return nil, 0, fault.Errorf(fault.NotFound, "no value")
	}
	return m.value, m.revision, nil
}

func (m *memory) Put(_ context.Context, _ string, value []byte) error {
	m.value, m.revision = value, m.revision+1
	return nil
}

func (m *memory) Swap(_ context.Context, _ string, value []byte, revision uint64) error {
	if revision != m.revision {
		return fault.Errorf(fault.Conflict, "the value has revision %d", m.revision)
	}
	m.value, m.revision = value, m.revision+1
	return nil
}

func TestHowManyWorkersShareThePaceDoesNotChangeWhereItSettles(t *testing.T) {
	for _, c := range []struct {
		workers, everyNth int
		settles           bool
	}{
		{1, 20, true}, {4, 20, true}, {16, 20, true},
		{1, 5, false}, {4, 5, false}, {16, 5, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			shared := &memory{}
			paces := make([]*thaw.Pace, c.workers)
			for i := range paces {
				paces[i] = &thaw.Pace{KV: shared}
			}
			rng := rand.New(rand.NewPCG(1, 2))
			var sum time.Duration
			for call := range 1000 * c.workers {
				p := paces[rng.IntN(c.workers)]
				if err := p.Turn(t.Context()); err != nil {
					t.Fatal(err)
				}
				// Each call has its own time, so that no two throttles count as one.
				time.Sleep(300 * time.Millisecond)
				if rng.IntN(c.everyNth) == 0 {
					p.Slow(t.Context())
				} else {
					p.Took(t.Context(), archive.Standard)
				}
				if call > 500*c.workers {
					sum += p.Shared().Gap()
				}
			}
			gap := sum / time.Duration(500*c.workers)
			if settled := gap < 50*time.Millisecond; settled != c.settles {
				t.Errorf("%d workers, one call in %d throttled: the gap comes to %s", c.workers, c.everyNth, gap)
			}
		})
	}
}
