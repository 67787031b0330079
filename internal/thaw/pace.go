package thaw

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/internal/wait"
)

// Pace decides how fast a worker calls Glacier, and which tier rests. All workers share
// Glacier's answers: when Glacier refuses one worker, the others know without a call. Without
// the bucket, or while the bucket cannot be reached, a worker follows only the answers to its
// own calls.
//
// The zero Pace neither limits nor shares. Its methods may be called from several
// goroutines.
type Pace struct {
	// KV has the shared pace; nil for none.
	KV kv.Store
	// Rate is the most calls a second that this worker makes; 0 is no limit.
	Rate float64
	// Calls is the most calls that this worker has in flight; 0 is no limit.
	Calls int
	// Now is time.Now if it is nil.
	Now func() time.Time
	Log *slog.Logger

	mu     sync.Mutex // guards what follows
	shared SharedPace
	eased  float64   // how much this worker's calls reduced the slowness since its last write
	next   time.Time // when the next call may be made
	readAt time.Time // when the shared pace was last read
	alone  bool      // the bucket could not be reached
	once   sync.Once
	calls  chan struct{}
	probe  chan struct{} // holds one token: one request at a time while everything is denied
}

const (
	// firstRest and longestRest bound the time for which Expedited rests. AWS counts capacity
	// in periods of five minutes, so it comes back within that time.
	firstRest   = 2 * time.Second
	longestRest = 5 * time.Minute
	// firstGap is the time between two calls of a worker after the first throttle. Each
	// further throttle doubles the time, up to about ten seconds.
	firstGap     = 5 * time.Millisecond
	mostSlowness = 12
	// A call that is not throttled reduces the slowness by ease. A throttle adds one. So the
	// pace stays the same while one call in ten is throttled.
	ease = 0.1
	// Throttles within the time together count as one: their calls were in flight at the same
	// time.
	together = 250 * time.Millisecond
	// forgetAfter is the longest time for which a throttle counts.
	forgetAfter = 5 * time.Minute
)

// Shared returns the shared pace as this worker knows it.
func (p *Pace) Shared() SharedPace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shared
}

func (p *Pace) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// Turn waits until a call may be made; ctx ends the wait.
func (p *Pace) Turn(ctx context.Context) error {
	p.refresh(ctx)
	p.mu.Lock()
	now := p.now()
	if p.shared.Slowness > 0 && now.Sub(p.shared.SlowedAt) > forgetAfter {
		p.shared.Slowness = 0
	}
	gap := p.shared.Gap()
	if p.Rate > 0 {
		gap = max(gap, time.Duration(float64(time.Second)/p.Rate))
	}
	at := now
	if p.next.After(now) {
		at = p.next
	}
	p.next = at.Add(gap)
	p.mu.Unlock()
	return wait.For(ctx, at.Sub(now))
}

// Enter waits until fewer than Calls calls are in flight. The caller calls leave when its
// call has ended.
func (p *Pace) Enter(ctx context.Context) (leave func(), err error) {
	p.init()
	if p.calls == nil {
		return func() {}, ctx.Err()
	}
	return take(ctx, p.calls)
}

func (p *Pace) init() {
	p.once.Do(func() {
		p.probe = make(chan struct{}, 1)
		if p.Calls > 0 {
			p.calls = make(chan struct{}, p.Calls)
		}
	})
}

// take waits until the channel has room for a token, and returns the function that takes the
// token out.
func take(ctx context.Context, tokens chan struct{}) (leave func(), err error) {
	select {
	case tokens <- struct{}{}:
		return func() { <-tokens }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Probe lets requests through side by side. If Glacier has denied every request for
// deniedFor, Probe lets one request through at a time: its answer decides for the others. The
// caller calls leave when its request has ended.
func (p *Pace) Probe(ctx context.Context) (leave func(), err error) {
	p.init()
	p.refresh(ctx)
	p.mu.Lock()
	since, now := p.shared.RefusedSince, p.now()
	p.mu.Unlock()
	if since.IsZero() || now.Sub(since) < deniedFor {
		return func() {}, nil
	}
	return take(ctx, p.probe)
}

// Resting returns for how long the tier still rests; 0 if a worker may call it.
func (p *Pace) Resting(tier archive.Tier) time.Duration {
	if tier != archive.Expedited {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.shared.RestUntil.Sub(p.now()))
}

// Rest begins a rest of Expedited, because Expedited had no capacity. The time doubles with
// each refusal after a rest. A refusal during a rest changes nothing: it answers a call from
// before the rest.
func (p *Pace) Rest(ctx context.Context) {
	p.share(ctx, func(s *SharedPace, now time.Time) bool {
		if now.Before(s.RestUntil) {
			return false
		}
		s.Refusals++
		rest := float64(firstRest) * math.Pow(2, float64(s.Refusals-1))
		s.RestUntil = now.Add(time.Duration(min(rest, float64(longestRest))))
		return true
	})
}

// Slow slows all workers down: Glacier throttled a call.
func (p *Pace) Slow(ctx context.Context) {
	p.share(ctx, func(s *SharedPace, now time.Time) bool {
		if now.Sub(s.SlowedAt) < together {
			return false
		}
		if now.Sub(s.SlowedAt) > forgetAfter {
			s.Slowness = 0
		}
		s.Slowness, s.SlowedAt = min(s.Slowness+1, mostSlowness), now
		return true
	})
}

// Denied says that Glacier denied a request, and returns for how long Glacier has denied the
// requests of all workers. One worker with a wrong credential does not make that time long,
// because Glacier takes the requests of the others.
func (p *Pace) Denied(ctx context.Context) time.Duration {
	p.share(ctx, func(s *SharedPace, now time.Time) bool {
		if !s.RefusedSince.IsZero() {
			return false
		}
		s.RefusedSince, s.ToldAt = now, now
		return true
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now().Sub(p.shared.RefusedSince)
}

// Took says that Glacier took a request in the tier.
func (p *Pace) Took(ctx context.Context, tier archive.Tier) {
	p.mu.Lock()
	refused := !p.shared.RefusedSince.IsZero()
	if p.shared.Slowness > 0 {
		p.shared.Slowness = max(0, p.shared.Slowness-ease)
		p.eased = min(p.eased+ease, mostSlowness)
	}
	over := tier == archive.Expedited && p.shared.Refusals > 0 && !p.now().Before(p.shared.RestUntil)
	p.mu.Unlock()
	if !over && !refused {
		return
	}
	p.share(ctx, func(s *SharedPace, now time.Time) (changed bool) {
		if over && s.Refusals > 0 && !now.Before(s.RestUntil) {
			s.Refusals, s.RestUntil, changed = 0, now, true
		}
		if !s.RefusedSince.IsZero() {
			s.RefusedSince, s.ToldAt, changed = time.Time{}, now, true
		}
		return changed
	})
}
