package bus

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// rule says what becomes of a message whose handler returned a kind of error.
type rule struct {
	// attempts is after how many failures of the message it is given up; 0 is never.
	attempts int
	// first and last are the delays before the second and the latest tries; it
	// doubles in between.
	first, last time.Duration
	// free says that such an outcome is no failure: it burns no attempt.
	free bool
}

// policy is the one table from fault kinds to redelivery. What passes by itself
// is tried for ever, so that an outage of a day needs nobody's help after it;
// what is proven hopeless is given up at once; the rest in between.
var policy = map[fault.Kind]rule{
	fault.Unknown:   {attempts: 20, first: time.Second, last: 10 * time.Minute},
	fault.Transient: {first: time.Second, last: 5 * time.Minute},
	fault.Throttled: {first: 2 * time.Second, last: 5 * time.Minute},
	fault.Capacity:  {first: 30 * time.Second, last: 15 * time.Minute},
	fault.Policy:    {first: 5 * time.Minute, last: time.Hour},
	fault.Wait:      {first: 2 * time.Second, last: time.Minute, free: true},
	fault.Conflict:  {attempts: 20, first: time.Second, last: time.Minute},
	fault.NotFound:  {attempts: 10, first: 2 * time.Second, last: 5 * time.Minute},
	fault.Denied:    {attempts: 60, first: 30 * time.Second, last: 15 * time.Minute},
	fault.Invalid:   {attempts: 1},
	fault.Corrupt:   {attempts: 3, first: 5 * time.Second, last: time.Minute},
}

// From the suspicious delivery of a message on, the beginning of each is noted; with
// crashLimit of them that came to no outcome it is given up: it kills whoever handles it.
const suspicious, crashLimit = 25, 25

// delay returns how long to wait before the next try, after n failures (n ≥ 1)
// or waits, with up to a quarter of jitter so that what failed together does
// not come back together. What waits for a time of its own, as it says, waits so long
// however often it has.
func (r rule) delay(n int, atLeast time.Duration) time.Duration {
	d := float64(r.first) * math.Pow(2, float64(max(n, 1)-1))
	d = max(min(d, float64(r.last)), float64(atLeast))
	if r.free && atLeast > 0 {
		d = float64(atLeast)
	}
	return time.Duration(d * (1 + rand.Float64()/4))
}
