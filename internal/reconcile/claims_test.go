package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testlog"
)

// claims is a bucket with revisions, which can fail.
type claims struct {
	mu       sync.Mutex // guards what follows
	values   map[string]string
	revision uint64
	fails    error
	refuses  error           // of Swap alone
	swaps    []time.Duration // since began
	began    time.Time
}

func (c *claims) Get(_ context.Context, key string) ([]byte, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, there := c.values[key]
	switch {
	case c.fails != nil:
		return nil, 0, c.fails
	case !there:
		return nil, 0, fault.Errorf(fault.NotFound, "no value")
	}
	return []byte(value), c.revision, nil
}

func (c *claims) Put(_ context.Context, key string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fails != nil {
		return c.fails
	}
	c.values[key] = string(value)
	return nil
}

func (c *claims) Swap(_ context.Context, key string, value []byte, revision uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmp.Or(c.fails, c.refuses); err != nil {
		return err
	}
	if _, there := c.values[key]; there && revision != c.revision {
		return fault.Errorf(fault.Conflict, "another revision")
	}
	c.values[key], c.revision = string(value), c.revision+1
	c.swaps = append(c.swaps, time.Since(c.began))
	return nil
}

func (c *claims) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// running is a runner in simulated time.
type running struct {
	*claims
	began  time.Time
	lines  testlog.Lines
	desk   *desk
	mu     sync.Mutex // guards what follows
	leads  []string   // when it began and stopped to lead
	sweeps []time.Duration
	stop   context.CancelFunc
	done   chan struct{}
}

func start(t *testing.T, c *claims, change func(*Runner)) *running {
	r := &running{claims: c, began: time.Now(), desk: newDesk(whole()), done: make(chan struct{})}
	c.began = r.began
	s := r.desk.sweeper()
	s.KV = c
	runner := &Runner{Sweeper: s, Name: "we", Log: slog.New(slog.NewTextHandler(&r.lines, nil)),
		OnLead: func(now bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.leads = append(r.leads, fmt.Sprintf("%t at %s", now, time.Since(r.began)))
		},
		OnSweep: func(Report, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sweeps = append(r.sweeps, time.Since(r.began))
		}}
	if change != nil {
		change(runner)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		defer close(r.done)
		if err := runner.Run(ctx, nil); err != nil {
			t.Error(err)
		}
	}()
	return r
}

func (r *running) end() { r.stop(); <-r.done }

func TestALeaderWritesItsClaimFourTimesInTheHoldAndSweepsEveryFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			change             func(*Runner)
			claim, every, hold time.Duration
		}{
			{nil, 7500 * time.Millisecond, 5 * time.Minute, 30 * time.Second},
			{func(r *Runner) { r.Hold, r.Every = 4*time.Second, time.Minute }, time.Second, time.Minute, 4 * time.Second},
		} {
			r := start(t, &claims{values: map[string]string{}}, c.change)
			time.Sleep(11*time.Minute + 1)
			r.end()
			same(t, "led", r.leads, []string{"true at 0s"})
			for i, at := range r.sweeps {
				if want := time.Duration(i) * c.every; at != want {
					t.Errorf("sweep %d after %s, want %s", i, at, want)
				}
			}
			if want := int(11*time.Minute/c.every) + 1; len(r.sweeps) != want {
				t.Errorf("%d sweeps, want %d", len(r.sweeps), want)
			}
			claims, released := r.swaps[:len(r.swaps)-1], r.swaps[len(r.swaps)-1]
			for i, at := range claims {
				if want := time.Duration(i) * c.claim; at != want {
					t.Errorf("claim %d after %s, want %s", i, at, want)
				}
			}
			// The next leader need not wait until the claim is old.
			if r.values[leadKey] != "{}" || released != 11*time.Minute+1 {
				t.Errorf("the claim is %s since %s", r.values[leadKey], released)
			}
			if r.values[ReportKey] == "" {
				t.Error("no report is saved")
			}
		}
	})
}

func TestAReplicaLeadsWhenTheClaimOfAnotherStandsStillForTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{values: map[string]string{leadKey: `{"name":"they"}`}, revision: 1}
		r := start(t, c, nil)
		time.Sleep(20 * time.Second)
		c.set(func() { c.revision++ }) // they write once more
		time.Sleep(time.Minute)
		synctest.Wait()
		// Our looks are 7.5 s apart: at 22.5 s the claim is new, at 52.5 s it is 30 s old.
		same(t, "led", r.leads, []string{"true at 52.5s"})
		// They come back and take the claim.
		c.set(func() { c.values[leadKey], c.revision = `{"name":"they"}`, c.revision+1 })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "led", r.leads, []string{"true at 52.5s", "false at 1m22.5s"})
		if len(r.lines.With("another replica sweeps")) != 1 || len(r.lines.With("this replica sweeps")) != 1 {
			t.Errorf("the log says:\n%s", r.lines.String())
		}
		sweeps := len(r.sweeps)
		time.Sleep(20 * time.Second)
		if len(r.sweeps) != sweeps {
			t.Error("it sweeps although another replica leads")
		}
		r.end()
		if r.values[leadKey] != `{"name":"they"}` {
			t.Errorf("the claim of the other replica is %s", r.values[leadKey])
		}
	})
}

func TestAReplicaWhoseClaimIsNotWrittenStopsAfterTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{values: map[string]string{}}
		r := start(t, c, nil)
		time.Sleep(time.Second)
		c.set(func() { c.fails = fault.New(fault.Transient, errors.New("no answer")) })
		time.Sleep(time.Minute)
		synctest.Wait()
		// The claim was written at 0 s. At 30 s it is as old as the hold, and then older.
		same(t, "led", r.leads, []string{"true at 0s", "false at 37.5s"})
		c.set(func() { c.fails = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "led", r.leads, []string{"true at 0s", "false at 37.5s", "true at 1m7.5s"})
		// The report of a sweep that could not be saved is told.
		r.end()
		if n := len(r.lines.With("report not saved")); n != 0 {
			t.Errorf("%d reports were not saved", n)
		}
	})
}

// A stop waits for the sweep that runs, and a claim that cannot be read is not released.
func TestALeaderThatStopsEndsItsSweepFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{values: map[string]string{}}
		var r *running
		r = start(t, c, nil)
		synctest.Wait()
		r.desk.mu.Lock()
		r.desk.late = time.Minute // a page of the audit, which begins anew after an hour
		r.desk.mu.Unlock()
		time.Sleep(time.Hour + time.Second)
		stopped := time.Now()
		r.end()
		if took := time.Since(stopped); took != 59*time.Second {
			t.Errorf("the stop took %s, want the rest of the sweep, 59 s", took)
		}
		if len(r.sweeps) != 12 {
			t.Errorf("%d sweeps were told, want the twelve that ended", len(r.sweeps))
		}

		c = &claims{values: map[string]string{}}
		r = start(t, c, nil)
		time.Sleep(time.Second)
		c.set(func() { c.fails = errors.New("no answer") })
		r.end()
		if claimedBy([]byte(c.values[leadKey])) != "we" {
			t.Errorf("the claim is %s", c.values[leadKey])
		}
	})
}

func TestASweepThatFailsIsToldAndItsEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{values: map[string]string{}}
		r := start(t, c, nil)
		synctest.Wait()
		r.desk.mu.Lock()
		r.desk.answers["DuePlans"] = errors.New("no answer")
		r.desk.mu.Unlock()
		time.Sleep(16 * time.Minute)
		r.desk.mu.Lock()
		delete(r.desk.answers, "DuePlans")
		r.desk.mu.Unlock()
		time.Sleep(25 * time.Minute)
		r.end()
		if failed, over := r.lines.With("the sweep did not see everything"), r.lines.With("the sweep sees everything again"); len(failed) != 3 || len(over) != 1 {
			t.Errorf("the log says %q and %q", failed, over)
		}
		if n := len(r.lines.With("msg=swept")); n != len(r.sweeps) {
			t.Errorf("%d lines about %d sweeps", n, len(r.sweeps))
		}
	})
}

func TestAClaimThatIsReleasedIsTakenAtTheNextLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{values: map[string]string{leadKey: `{"name":"they"}`}, revision: 1}
		r := start(t, c, nil)
		time.Sleep(time.Second)
		c.set(func() { c.values[leadKey], c.revision = "{}", 2 })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "led", r.leads, []string{"true at 7.5s"})
		// They take it, and we stop before we have seen that.
		c.set(func() { c.values[leadKey], c.revision = `{"name":"they"}`, c.revision+1 })
		r.end()
		if c.values[leadKey] != `{"name":"they"}` {
			t.Errorf("the claim of the other replica is %s", c.values[leadKey])
		}
	})
}

func TestAReplicaThatCannotWriteItsClaimDoesNotLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Another replica may have been first at the same moment.
		c := &claims{values: map[string]string{}, refuses: fault.New(fault.Conflict, errors.New("another revision"))}
		r := start(t, c, nil)
		time.Sleep(time.Minute)
		r.end()
		if len(r.leads) != 0 || len(r.sweeps) != 0 {
			t.Errorf("it led %v, and swept %d times", r.leads, len(r.sweeps))
		}
	})
}

// A sweep that runs when another replica takes over ends before this replica can lead again. The
// sweep is in a call that takes a minute.
func TestTwoSweepsOfOneReplicaNeverRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &claims{values: map[string]string{}}
		r := start(t, c, nil)
		synctest.Wait()
		r.desk.mu.Lock()
		r.desk.late = time.Minute
		r.desk.mu.Unlock()
		time.Sleep(time.Hour + time.Second)
		c.set(func() { c.values[leadKey], c.revision = `{"name":"they"}`, c.revision+1 })
		time.Sleep(10 * time.Second)
		c.set(func() { c.values[leadKey], c.revision = "{}", c.revision+1 })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		// The call began at 1h0m0s. The look after it finds the claim released.
		same(t, "led", r.leads, []string{"true at 0s", "false at 1h0m7.5s", "true at 1h1m7.5s"})
		r.end()
	})
}
