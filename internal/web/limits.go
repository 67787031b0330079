package web

import (
	"sync"

	"golang.org/x/time/rate"
)

const (
	// An address may begin one sign-in for perSignIn requests of its rate. It may begin as
	// many at once as it could in burstSignIns seconds: people share an address.
	perSignIn, burstSignIns = 100, 60
	// The back channel takes as many requests at once as an address may make in burstLogouts
	// seconds. The provider is one address, ends thousands of sessions in a wave, and may
	// report each only once. Requests to the back channel do not count for the address's own
	// rate.
	burstLogouts = 50
	// changes is how many changes a second one user may make, with burstChanges at once:
	// people press twice.
	changes, burstChanges = 1, 20
	// maxLimited bounds how many buckets are kept.
	maxLimited = 50_000
)

// limits bound the requests of each address and of each user.
type limits struct {
	requests, signIns, logouts, changes *pace
}

func newLimits(cfg Config) *limits {
	return &limits{
		requests: newPace(cfg.Rate, int(max(10*cfg.Rate, 1))),
		signIns:  newPace(cfg.Rate/perSignIn, int(max(burstSignIns*cfg.Rate/perSignIn, 1))),
		logouts:  newPace(cfg.Rate, int(max(burstLogouts*cfg.Rate, 1))),
		changes:  newPace(changes, burstChanges),
	}
}

// pace is a bucket for each key.
type pace struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex // guards buckets
	buckets map[string]*rate.Limiter
}

func newPace(perSecond float64, burst int) *pace {
	return &pace{perSecond: rate.Limit(perSecond), burst: burst, buckets: map[string]*rate.Limiter{}}
}

// allow takes one token from the key's bucket. It returns false if there is none.
func (p *pace) allow(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[key]
	if b == nil {
		if len(p.buckets) >= maxLimited {
			// A bucket that is full again has nothing to remember.
			for k, old := range p.buckets {
				if old.Tokens() >= float64(p.burst) {
					delete(p.buckets, k)
				}
			}
			if len(p.buckets) >= maxLimited {
				clear(p.buckets)
			}
		}
		b = rate.NewLimiter(p.perSecond, p.burst)
		p.buckets[key] = b
	}
	return b.Allow()
}
