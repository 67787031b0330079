package world

import (
	"sync"
	"time"
)

// Clock is the stand-in's time: real time plus what [Clock.Advance] added.
// Under testing/synctest it is the bubble's time.
type Clock struct {
	mu     sync.Mutex // guards what follows
	offset time.Duration
	timers map[*Timer]struct{}
}

// Timer is a function that waits for its time; see [Clock.AfterFunc].
type Timer struct {
	clock *Clock
	at    time.Time // by the clock
	f     func()
	real  *time.Timer
}

// NewClock returns a clock that shows real time.
func NewClock() *Clock { return &Clock{timers: map[*Timer]struct{}{}} }

// Now returns the stand-in's time, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time { return time.Now().Add(c.offset).UTC() }

// AfterFunc calls f in a goroutine of its own when d has passed by this clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) *Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(c.now().Add(d), f)
}

// At calls f in a goroutine of its own when this clock shows at. Other than
// AfterFunc of what is left until then, it is right even if the clock is moved
// meanwhile.
func (c *Clock) At(at time.Time, f func()) *Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(at, f)
}

func (c *Clock) at(at time.Time, f func()) *Timer {
	t := &Timer{clock: c, at: at, f: f}
	c.timers[t] = struct{}{}
	t.real = time.AfterFunc(max(at.Sub(c.now()), 0), t.fire)
	return t
}

// Stop keeps the timer from firing. It returns false if it has fired already.
func (t *Timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, pending := t.clock.timers[t]
	delete(t.clock.timers, t)
	t.real.Stop()
	return pending
}

func (t *Timer) fire() {
	t.clock.mu.Lock()
	_, pending := t.clock.timers[t]
	delete(t.clock.timers, t)
	t.clock.mu.Unlock()
	if pending {
		t.f()
	}
}

// Advance moves the clock forward by d. Timers that are due by then fire.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	now := c.now()
	for t := range c.timers {
		t.real.Reset(max(t.at.Sub(now), 0))
	}
}

// stop stops every timer.
func (c *Clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.timers {
		t.real.Stop()
		delete(c.timers, t)
	}
}
