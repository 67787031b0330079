package world

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Capacity is how many Expedited retrievals a service accepts. Glacier and S3 have one each.
// The caller guards it. Make one with [Unlimited].
type Capacity struct {
	most     int // a window; negative: no limit
	window   time.Duration
	accepted []int64 // when retrievals were accepted within the window, in milliseconds
	refusal  float64
}

// Unlimited returns a capacity without a limit.
func Unlimited() Capacity { return Capacity{most: -1} }

// Set lets perWindow retrievals be accepted in any window. A negative number is no limit.
func (c *Capacity) Set(perWindow int, window time.Duration) {
	c.most, c.window, c.accepted = perWindow, window, nil
}

// Refuse lets retrievals be refused with the probability p, 0 to 1, beside the limit.
func (c *Capacity) Refuse(p float64) { c.refusal = p }

// Admit reports whether a retrieval at the time now, in milliseconds, is accepted, and counts
// it if it is.
func (c *Capacity) Admit(now int64, random *rand.Rand) bool {
	c.accepted = slices.DeleteFunc(c.accepted, func(at int64) bool { return at <= now-c.window.Milliseconds() })
	if c.most >= 0 && len(c.accepted) >= c.most || c.refusal > 0 && random.Float64() < c.refusal {
		return false
	}
	if c.most >= 0 {
		c.accepted = append(c.accepted, now)
	}
	return true
}
