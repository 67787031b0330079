package web

import (
	"sync"

	"golang.org/x/time/rate"
)

const (
	// perSignIn is for how many requests of an address's rate one may begin a
	// sign-in, and burstSignIns how many seconds' worth at once: people share an
	// address.
	perSignIn, burstSignIns = 100, 60
	// burstLogouts is how many seconds' worth of an address's rate may come at once at the
	// back channel: the provider is one address, ends thousands of sessions in a wave, and
	// may tell of each once. What comes there is not counted as a request.
	burstLogouts = 50
	// changes are how many a second one user may make, with burstChanges at once:
	// people press twice.
	changes, burstChanges = 1, 20
	// maxLimited bounds how many are kept apart.
	maxLimited = 50_000
)

// limits hold each address and each user to a pace.
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

// allow takes one from the key's bucket, if there is one.
func (p *pace) allow(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[key]
	if b == nil {
		if len(p.buckets) >= maxLimited {
			// Those that are full again have nothing to remember.
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
