package thaw

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// SharedPace has the answers of Glacier that all workers share. It is one value in the PACE
// bucket.
type SharedPace struct {
	// Expedited rests until RestUntil. Refusals counts how often in a row Expedited had no
	// capacity.
	RestUntil time.Time `json:"expedited_rests_until,omitzero"`
	Refusals  int       `json:"expedited_refusals,omitempty"`
	// Slowness decides how far apart calls are; see [SharedPace.Gap]. SlowedAt is the time of
	// the last throttle.
	Slowness float64   `json:"slowness,omitempty"`
	SlowedAt time.Time `json:"slowed_at,omitzero"`
	// RefusedSince is the time since when Glacier denies every request, of any worker; zero
	// if the last request was taken. ToldAt is the time of the last change of RefusedSince:
	// the later change counts.
	RefusedSince time.Time `json:"refused_since,omitzero"`
	ToldAt       time.Time `json:"refusal_told_at,omitzero"`
}

// SharedPaceKey is the key of the shared pace.
const SharedPaceKey = "glacier"

const (
	// sharedPaceAge is how old a read of the shared pace may be. sharedPaceTime is how long a
	// read or a write may take. A call to Glacier does not wait longer for the shared pace.
	sharedPaceAge  = 500 * time.Millisecond
	sharedPaceTime = 300 * time.Millisecond
)

// DecodeSharedPace returns the shared pace in a value.
func DecodeSharedPace(value []byte) (*SharedPace, error) {
	var s SharedPace
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, fmt.Errorf("shared pace: %w", err)
	}
	return &s, nil
}

// Gap returns the time that a worker leaves between two calls.
func (s SharedPace) Gap() time.Duration {
	switch {
	case s.Slowness <= 0:
		return 0
	case s.Slowness < 1:
		return time.Duration(s.Slowness * float64(firstGap))
	}
	return time.Duration(float64(firstGap) * math.Pow(2, s.Slowness-1))
}

// merge takes newer values over from the bucket. eased is how much this worker's calls
// reduced the slowness since its last write. If this worker could not write a throttle, the
// throttle stays.
func (s *SharedPace) merge(stored SharedPace, eased float64) {
	if stored.RestUntil.After(s.RestUntil) {
		s.RestUntil, s.Refusals = stored.RestUntil, stored.Refusals
	}
	if !stored.SlowedAt.Before(s.SlowedAt) {
		s.SlowedAt, s.Slowness = stored.SlowedAt, max(0, stored.Slowness-eased)
	}
	if stored.ToldAt.After(s.ToldAt) {
		s.ToldAt, s.RefusedSince = stored.ToldAt, stored.RefusedSince
	}
}

// refresh reads the shared pace, if the last read was a while ago. While one caller reads,
// the others continue with the last known values.
func (p *Pace) refresh(ctx context.Context) {
	if p.KV == nil {
		return
	}
	p.mu.Lock()
	now := p.now()
	if age := now.Sub(p.readAt); age >= 0 && age < sharedPaceAge {
		p.mu.Unlock()
		return
	}
	p.readAt = now
	eased := p.eased > 0
	p.mu.Unlock()
	if !eased {
		p.read(ctx)
		return
	}
	// Every worker slows down for every worker's throttles. So this worker must also tell the
	// others how much its calls reduced the slowness.
	p.share(ctx, func(*SharedPace, time.Time) bool { return true })
}

// read takes newer values over from the bucket, and returns the revision there.
func (p *Pace) read(ctx context.Context) (revision uint64, ok bool) {
	readCtx, cancel := context.WithTimeout(ctx, sharedPaceTime)
	defer cancel()
	var stored SharedPace
	revision, _, err := read(readCtx, p.KV, SharedPaceKey, &stored)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil { // else the caller is gone, and the bucket may be fine
		p.reached(err)
	}
	if err != nil {
		return 0, false
	}
	p.shared.merge(stored, p.eased)
	return revision, true
}

// share changes the pace and writes it to the bucket. change returns false if it changed
// nothing. A bucket that cannot be reached costs only a moment. If two workers write at once,
// the second one reads again at its next turn.
func (p *Pace) share(ctx context.Context, change func(*SharedPace, time.Time) bool) {
	var revision uint64
	reached := false
	if p.KV != nil {
		revision, reached = p.read(ctx)
	}
	p.mu.Lock()
	changed := change(&p.shared, p.now())
	shared, eased := p.shared, p.eased
	p.mu.Unlock()
	if !changed || !reached {
		return
	}
	data, err := json.Marshal(shared)
	if err != nil {
		return // a struct of numbers and times always is JSON
	}
	ctx, cancel := context.WithTimeout(ctx, sharedPaceTime)
	defer cancel()
	err = p.KV.Swap(ctx, SharedPaceKey, data, revision)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.eased = max(0, p.eased-eased)
	}
	if !fault.Is(err, fault.Conflict) {
		p.reached(err)
	}
}

// reached tells the log when the bucket cannot be reached, and when it can be again. The
// caller holds p.mu.
func (p *Pace) reached(err error) {
	if (err != nil) == p.alone {
		return
	}
	p.alone = err != nil
	switch {
	case p.Log == nil:
	case p.alone:
		p.Log.Warn("the shared pace cannot be reached: this worker follows only the answers to its own calls", "err", err)
	default:
		p.Log.Info("the shared pace can be reached again")
	}
}
