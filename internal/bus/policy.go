package bus

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// rule says what happens to a message after an error of one kind.
type rule struct {
	// attempts is the number of failures after which the message is given up; 0 means
	// never.
	attempts int
	// first and last are the shortest and the longest delay before the next try; the
	// delay doubles in between.
	first, last time.Duration
	// free means that such an outcome is no failure: it burns no attempt.
	free bool
}

// policy is the one table from the kind of an error to the redelivery. Trouble that ends
// without help is tried for ever, so after a long outage nobody has to do anything.
// Hopeless work is given up at once. The rest is tried a few times.
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

// From delivery number suspicious on, the worker records the beginning of each delivery.
// After crashLimit deliveries without an outcome it gives the message up: the message
// kills its workers.
const suspicious, crashLimit = 25, 25

// delay returns how long to wait before the next try, after n failures (n ≥ 1) or waits.
// Up to a quarter of jitter is added, so that messages that failed together do not come
// back together. A message that names its own delay waits exactly so long each time.
func (r rule) delay(n int, atLeast time.Duration) time.Duration {
	d := float64(r.first) * math.Pow(2, float64(max(n, 1)-1))
	d = max(min(d, float64(r.last)), float64(atLeast))
	if r.free && atLeast > 0 {
		d = float64(atLeast)
	}
	return time.Duration(d * (1 + rand.Float64()/4))
}
