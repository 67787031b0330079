// Package testclock has a clock that a test sets.
package testclock

import (
	"sync"
	"time"
)

// Clock is a clock that stands still until a test moves it. Several goroutines may use it.
type Clock struct {
	mu sync.Mutex // guards t
	t  time.Time
}

// At returns a clock that shows t.
func At(t time.Time) *Clock { return &Clock{t: t} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Add moves the clock forward by d, or back if d is negative.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}
