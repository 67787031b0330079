package thaw

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/pkg/events"
)

// cell is a store with one key. It counts what is called, and notes how long a call may take.
type cell struct {
	data     []byte
	revision uint64
	get      error // the answer of Get; nil if it works
	swap     error
	reads    int
	swaps    int
	limits   []time.Duration
}

// store returns a cell with the pace; an empty one for the zero pace.
func store(t *testing.T, s SharedPace) *cell {
	t.Helper()
	if s == (SharedPace{}) {
		return &cell{}
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return &cell{data: data, revision: 1}
}

func (c *cell) call(ctx context.Context) {
	if until, ok := ctx.Deadline(); ok {
		c.limits = append(c.limits, time.Until(until))
	}
}

func (c *cell) Get(ctx context.Context, _ string) ([]byte, uint64, error) {
	c.call(ctx)
	c.reads++
	switch {
	case c.get != nil:
		return nil, 0, c.get
	case c.revision == 0:
		return nil, 0, fault.Errorf(fault.NotFound, "no value")
	}
	return c.data, c.revision, nil
}

func (c *cell) Put(context.Context, string, []byte) error { return errors.New("nobody calls this") }

func (c *cell) Swap(ctx context.Context, _ string, data []byte, revision uint64) error {
	c.call(ctx)
	c.swaps++
	switch {
	case c.swap != nil:
		return c.swap
	case revision != c.revision:
		return fault.Errorf(fault.Conflict, "another revision")
	}
	c.data, c.revision = data, revision+1
	return nil
}

func TestWhatChangesNothingIsNotWritten(t *testing.T) {
	now := time.Unix(1_790_000_000, 0).UTC()
	took := func(tier archive.Tier) func(*Pace) { return func(p *Pace) { p.Took(t.Context(), tier) } }
	rest := func(p *Pace) { p.Rest(t.Context()) }
	slow := func(p *Pace) { p.Slow(t.Context()) }
	denied := func(p *Pace) { p.Denied(t.Context()) }
	turn := func(p *Pace) {
		if err := p.Turn(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name         string
		known        SharedPace
		stored       SharedPace
		do           []func(*Pace)
		reads, swaps int
		want         SharedPace
	}{
		{name: "the first refusal", do: []func(*Pace){rest}, reads: 1, swaps: 1, want: SharedPace{Refusals: 1, RestUntil: now.Add(2 * time.Second)}},
		{name: "a refusal during a rest", known: SharedPace{Refusals: 1, RestUntil: now.Add(1)}, do: []func(*Pace){rest}, reads: 1, want: SharedPace{Refusals: 1, RestUntil: now.Add(1)}},
		{name: "a refusal at the end of a rest", known: SharedPace{Refusals: 1, RestUntil: now}, do: []func(*Pace){rest}, reads: 1, swaps: 1, want: SharedPace{Refusals: 2, RestUntil: now.Add(4 * time.Second)}},
		{name: "the first throttle", do: []func(*Pace){slow}, reads: 1, swaps: 1, want: SharedPace{Slowness: 1, SlowedAt: now}},
		{name: "a throttle with another", known: SharedPace{Slowness: 1, SlowedAt: now}, do: []func(*Pace){slow}, reads: 1, want: SharedPace{Slowness: 1, SlowedAt: now}},
		{name: "the first denial", do: []func(*Pace){denied}, reads: 1, swaps: 1, want: SharedPace{RefusedSince: now, ToldAt: now}},
		{name: "one more denial", known: SharedPace{RefusedSince: now.Add(-1), ToldAt: now.Add(-1)}, do: []func(*Pace){denied}, reads: 1, want: SharedPace{RefusedSince: now.Add(-1), ToldAt: now.Add(-1)}},
		{name: "Expedited takes one", do: []func(*Pace){took(archive.Expedited)}},
		{name: "Expedited takes one during a rest", known: SharedPace{Refusals: 2, RestUntil: now.Add(1)}, do: []func(*Pace){took(archive.Expedited)}, want: SharedPace{Refusals: 2, RestUntil: now.Add(1)}},
		{name: "Expedited takes one after the first rest", known: SharedPace{Refusals: 1, RestUntil: now}, do: []func(*Pace){took(archive.Expedited)}, reads: 1, swaps: 1, want: SharedPace{RestUntil: now}},
		{name: "Expedited takes one, and another worker's call said so already", known: SharedPace{Refusals: 1, RestUntil: now.Add(-time.Second)}, stored: SharedPace{RestUntil: now},
			do: []func(*Pace){took(archive.Expedited)}, reads: 1, want: SharedPace{RestUntil: now}},
		{name: "Expedited takes one, and refused another worker's call", known: SharedPace{Refusals: 1, RestUntil: now}, stored: SharedPace{Refusals: 2, RestUntil: now.Add(4 * time.Second)},
			do: []func(*Pace){took(archive.Expedited)}, reads: 1, want: SharedPace{Refusals: 2, RestUntil: now.Add(4 * time.Second)}},
		{name: "Standard takes one after a rest", known: SharedPace{Refusals: 1, RestUntil: now}, do: []func(*Pace){took(archive.Standard)}, want: SharedPace{Refusals: 1, RestUntil: now}},
		{name: "Standard takes one after a denial", known: SharedPace{RefusedSince: now, ToldAt: now.Add(-1)}, do: []func(*Pace){took(archive.Standard)}, reads: 1, swaps: 1, want: SharedPace{ToldAt: now}},
		{name: "Standard takes one after a rest and a denial", known: SharedPace{Refusals: 1, RestUntil: now, RefusedSince: now, ToldAt: now.Add(-1)}, do: []func(*Pace){took(archive.Standard)},
			reads: 1, swaps: 1, want: SharedPace{Refusals: 1, RestUntil: now, ToldAt: now}},
		{name: "a call that passes", known: SharedPace{Slowness: 0.05}, do: []func(*Pace){took(archive.Standard)}},
		{name: "a turn", do: []func(*Pace){turn}, reads: 1},
		{name: "two turns at a time", do: []func(*Pace){turn, turn}, reads: 1},
		{name: "a turn after a call that was as fast as can be", do: []func(*Pace){took(archive.Standard), turn}, reads: 1},
		{name: "a turn after a call that made the worker faster", known: SharedPace{Slowness: 1, SlowedAt: now}, do: []func(*Pace){took(archive.Standard), turn}, reads: 1, swaps: 1,
			want: SharedPace{Slowness: 0.9, SlowedAt: now}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stored := store(t, c.stored)
			p := &Pace{KV: stored, Now: func() time.Time { return now }, shared: c.known}
			for _, do := range c.do {
				do(p)
			}
			if got := p.Shared(); stored.swaps != c.swaps || stored.reads != c.reads || got != c.want {
				t.Errorf("%d reads, %d writes, and the pace is %+v; want %d, %d and %+v", stored.reads, stored.swaps, got, c.reads, c.swaps, c.want)
			}
			if c.swaps == 0 {
				return
			}
			if got, err := DecodeSharedPace(stored.data); err != nil || *got != c.want {
				t.Errorf("the other workers read %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestTheSharedPaceIsReadTwiceASecond(t *testing.T) {
	for age, reads := range map[time.Duration]int{0: 1, 1: 1, 500*time.Millisecond - 1: 1, 500 * time.Millisecond: 2, -1: 2, -time.Hour: 2} {
		now := time.Unix(1_790_000_000, 0)
		stored := store(t, SharedPace{})
		p := &Pace{KV: stored, Now: func() time.Time { return now }}
		for range 2 {
			p.refresh(t.Context()) // as each turn does
			now = now.Add(age)
		}
		if stored.reads != reads {
			t.Errorf("two refreshes with %s between them: %d reads, want %d", age, stored.reads, reads)
		}
	}
}

func TestACallOfTheSharedPaceMayTake300Milliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := store(t, SharedPace{})
		(&Pace{KV: stored}).Rest(t.Context())
		if len(stored.limits) != 2 || stored.limits[0] != 300*time.Millisecond || stored.limits[1] != 300*time.Millisecond {
			t.Errorf("a read and a write may take %v, want 300ms each", stored.limits)
		}
	})
}

// TestABucketThatCannotBeReachedIsToldOnce rests again and again, with the bucket as it is then.
func TestABucketThatCannotBeReachedIsToldOnce(t *testing.T) {
	const lost, found = "cannot be reached", "can be reached again"
	broken := errors.New("no answer")
	conflict := fault.Errorf(fault.Conflict, "another revision")
	for _, c := range []struct {
		name  string
		steps []cell
		gone  bool // the caller
		said  []string
		swaps int
	}{
		{name: "it can", steps: []cell{{}, {}}, swaps: 2},
		{name: "no read", steps: []cell{{get: broken}, {get: broken}}, said: []string{lost}},
		{name: "no read for a while", steps: []cell{{get: broken}, {}, {}}, said: []string{lost, found}, swaps: 2},
		{name: "no write", steps: []cell{{swap: broken}}, said: []string{lost}, swaps: 1},
		{name: "no write for a while", steps: []cell{{swap: broken}, {}}, said: []string{lost, found}, swaps: 2},
		{name: "another worker writes first", steps: []cell{{swap: conflict}, {}}, swaps: 2},
		{name: "the caller is gone", steps: []cell{{get: context.Canceled}}, gone: true},
	} {
		now := time.Unix(1_790_000_000, 0)
		var lines testlog.Lines
		p := &Pace{Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&lines, nil))}
		ctx, leave := context.WithCancel(t.Context())
		if c.gone {
			leave()
		}
		swaps := 0
		for _, step := range c.steps {
			p.KV = &step
			p.Rest(ctx)
			swaps += step.swaps
			now = now.Add(time.Hour)
		}
		leave()
		if len(lines.With("shared pace")) != len(c.said) || swaps != c.swaps {
			t.Errorf("%s: %d writes, want %d; the log says %q", c.name, swaps, c.swaps, lines.String())
		}
		for i, words := range c.said {
			if i < len(lines.With("shared pace")) && len(lines.With(words)) != 1 {
				t.Errorf("%s: the log says %q, want one line with %q", c.name, lines.String(), words)
			}
		}
	}
	(&Pace{KV: &cell{get: broken}}).Rest(t.Context()) // without a log
}

// TestWhileEverythingIsDeniedOneRequestIsMadeAtATime has three workers with the same bucket.
func TestWhileEverythingIsDeniedOneRequestIsMadeAtATime(t *testing.T) {
	for _, c := range []struct {
		denied time.Duration // for how long; 0 for not at all
		most   int           // requests at a time
		took   time.Duration // for three that take a second
	}{{0, 3, time.Second}, {1, 3, time.Second}, {deniedFor - 1, 3, time.Second}, {deniedFor, 1, 3 * time.Second}, {time.Hour, 1, 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			s := SharedPace{}
			if c.denied > 0 {
				s = SharedPace{RefusedSince: began.Add(-c.denied), ToldAt: began.Add(-c.denied)}
			}
			p := &Pace{KV: store(t, s)}
			in, most := make(chan struct{}, 3), 0
			done := make(chan int)
			for range 3 {
				go func() {
					leave, err := p.Probe(t.Context())
					if err != nil {
						t.Error(err)
					}
					in <- struct{}{}
					n := len(in)
					time.Sleep(time.Second)
					<-in
					leave()
					done <- n
				}()
				synctest.Wait() // a request does not wait while another reads the bucket
			}
			for range 3 {
				most = max(most, <-done)
			}
			if took := time.Since(began); most != c.most || took != c.took {
				t.Errorf("denied for %s: %d requests at a time, %s in all; want %d and %s", c.denied, most, took, c.most, c.took)
			}
		})
	}
}

// switches answers with the stops, or an error, after a while.
type switches struct {
	archive.Switches
	err   error
	takes time.Duration
	reads int
	limit time.Duration
}

func (s *switches) read(ctx context.Context) (archive.Switches, error) {
	s.reads++
	if until, ok := ctx.Deadline(); ok {
		s.limit = time.Until(until)
	}
	time.Sleep(s.takes)
	return s.Switches, s.err
}

// reader makes a read a port.
type reader func(context.Context) (archive.Switches, error)

func (r reader) Switches(ctx context.Context) (archive.Switches, error) { return r(ctx) }

func TestAStopIsKnownForTwoSecondsAndAnErrorIsNot(t *testing.T) {
	lost := errors.New("no answer")
	for _, c := range []struct {
		name  string
		after time.Duration // the second read
		err   error
		reads int
	}{
		{"at once", 0, nil, 1},
		{"a moment later", 1, nil, 1},
		{"within two seconds", 2*time.Second - 1, nil, 1},
		{"after two seconds", 2 * time.Second, nil, 2},
		{"when the clock went back", -1, nil, 2},
		{"after an error", 0, lost, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			all := &archive.Hold{Reason: "maintenance"}
			from := &switches{err: c.err}
			from.All = all
			s := NewStops(reader(from.read), func() time.Time { return now })
			for range 2 {
				got, err := s.Switches(t.Context())
				if !errors.Is(err, c.err) || err == nil && got.All != all {
					t.Errorf("%s: got %+v, %v", c.name, got, err)
				}
				now = now.Add(c.after)
			}
			if from.reads != c.reads || from.limit != sharedReadTime {
				t.Errorf("%s: %d reads, of %s at most; want %d", c.name, from.reads, from.limit, c.reads)
			}
		})
	}
}

func TestACallerThatLeavesEndsNoReadOfTheStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &switches{takes: 10 * time.Second}
		s := NewStops(reader(from.read), time.Now)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began := time.Now()
		if _, err := s.Switches(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s, want the end of the caller's time after a second", err, time.Since(began))
		}
		if _, err := s.Switches(t.Context()); err != nil || time.Since(began) != 10*time.Second || from.reads != 1 {
			t.Errorf("another caller: %v after %s and %d reads, want the answer of the one read after 10s", err, time.Since(began), from.reads)
		}
	})
}

func TestADoorIsClosedOnlyByAStopOfEverything(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   switches
		closed time.Duration
	}{
		{"no stop", switches{}, 0},
		{"a stop of a user", switches{Switches: archive.Switches{Users: map[events.UserID]archive.Hold{"u": {}}}}, 0},
		{"a stop of everything", switches{Switches: archive.Switches{All: &archive.Hold{Reason: "maintenance"}}}, time.Second},
		{"a read that fails", switches{err: errors.New("no answer"), Switches: archive.Switches{All: &archive.Hold{}}}, 0},
		{"a read that takes longer than a look", switches{takes: 2 * time.Second, Switches: archive.Switches{All: &archive.Hold{}}}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := NewStops(reader(c.from.read), time.Now)
			began := time.Now()
			closed, why := s.Door()
			if closed != c.closed || (why != "") != (closed > 0) || time.Since(began) > time.Second {
				t.Errorf("%s: closed for %s, %q, after %s; want %s", c.name, closed, why, time.Since(began), c.closed)
			}
			time.Sleep(time.Minute) // the read ends
		})
	}
}
