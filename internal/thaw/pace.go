package thaw

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// Pace is how fast a worker asks Glacier, and what it knows of the tiers from
// the answers. Workers tell each other over a board: what one was refused for,
// the others need not find out. Without a board, or while it cannot be reached,
// a worker goes by its own answers alone.
//
// The zero Pace neither limits nor shares. Its methods may be called from
// several goroutines.
type Pace struct {
	// Board is where the workers' notices hang; nil for none.
	Board Notes
	// Rate is the most calls a second that this worker makes; 0 is no limit.
	Rate float64
	// Calls is the most calls that this worker has in flight; 0 is no limit.
	Calls int
	// Now is time.Now if it is nil.
	Now func() time.Time
	Log *slog.Logger

	mu     sync.Mutex // guards what follows
	notice Notice
	eased  float64   // what of the slowness this worker's calls made up for, and is not on the board yet
	next   time.Time // when the next call may be made
	readAt time.Time // when the board was last looked at
	alone  bool      // the board could not be reached
	once   sync.Once
	calls  chan struct{}
}

// Notice is what hangs on the board.
type Notice struct {
	// RestUntil is until when Expedited is left alone, Refusals how often in a row
	// it had no capacity.
	RestUntil time.Time `json:"expedited_rests_until,omitzero"`
	Refusals  int       `json:"expedited_refusals,omitempty"`
	// Slowness says how far apart calls are; see [Notice.Gap]. SlowedAt is when
	// Glacier last throttled.
	Slowness float64   `json:"slowness,omitempty"`
	SlowedAt time.Time `json:"slowed_at,omitzero"`
}

// BoardKey is where the notice hangs.
const BoardKey = "glacier"

const (
	// firstRest and longestRest bound the time for which Expedited is left alone:
	// capacity comes back within the five minutes in which AWS counts it.
	firstRest   = 2 * time.Second
	longestRest = 5 * time.Minute
	// firstGap is the time between two calls of a worker after the first
	// throttle; each further one doubles it, up to about ten seconds.
	firstGap     = 5 * time.Millisecond
	mostSlowness = 12
	// ease is by how much a call that was not throttled makes up for one that was:
	// the pace holds where one call in ten is throttled, and quickens below.
	ease = 0.1
	// together is the time within which throttles are taken for one: they answer
	// calls that were in flight at the same time.
	together = 250 * time.Millisecond
	// forgetAfter is for how long a throttle counts at all.
	forgetAfter = 5 * time.Minute
	// boardAge is how old a look at the board may be, boardTime how long one takes
	// at most: a call to Glacier does not wait longer for it.
	boardAge  = 500 * time.Millisecond
	boardTime = 300 * time.Millisecond
)

// Gap returns the time that a worker leaves between two calls.
func (n Notice) Gap() time.Duration {
	switch {
	case n.Slowness <= 0:
		return 0
	case n.Slowness < 1:
		return time.Duration(n.Slowness * float64(firstGap))
	}
	return time.Duration(float64(firstGap) * math.Pow(2, n.Slowness-1))
}

// Notice returns what this worker goes by.
func (p *Pace) Notice() Notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notice
}

func (p *Pace) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// Turn waits until a call may be made; ctx ends the wait.
func (p *Pace) Turn(ctx context.Context) error {
	p.look(ctx)
	p.mu.Lock()
	now := p.now()
	if p.notice.Slowness > 0 && now.Sub(p.notice.SlowedAt) > forgetAfter {
		p.notice.Slowness = 0
	}
	gap := p.notice.Gap()
	if p.Rate > 0 {
		gap = max(gap, time.Duration(float64(time.Second)/p.Rate))
	}
	at := now
	if p.next.After(now) {
		at = p.next
	}
	p.next = at.Add(gap)
	p.mu.Unlock()
	return wait(ctx, at.Sub(now))
}

// Enter waits until fewer than Calls calls are in flight, and returns what to
// call when this one has ended.
func (p *Pace) Enter(ctx context.Context) (leave func(), err error) {
	p.once.Do(func() {
		if p.Calls > 0 {
			p.calls = make(chan struct{}, p.Calls)
		}
	})
	if p.calls == nil {
		return func() {}, ctx.Err()
	}
	select {
	case p.calls <- struct{}{}:
		return func() { <-p.calls }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Resting returns for how long the tier is to be left alone, 0 if it may be
// asked for.
func (p *Pace) Resting(tier archive.Tier) time.Duration {
	if tier != archive.Expedited {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.notice.RestUntil.Sub(p.now()))
}

// Rest leaves Expedited alone for a while: it had no capacity. The time doubles
// with each refusal after a rest. Refusals during one are of calls that were in
// flight when it began.
func (p *Pace) Rest(ctx context.Context) {
	p.share(ctx, func(n *Notice, now time.Time) bool {
		if now.Before(n.RestUntil) {
			return false
		}
		n.Refusals++
		rest := float64(firstRest) * math.Pow(2, float64(n.Refusals-1))
		n.RestUntil = now.Add(time.Duration(min(rest, float64(longestRest))))
		return true
	})
}

// Slow slows this worker and the others down: Glacier throttled a call.
func (p *Pace) Slow(ctx context.Context) {
	p.share(ctx, func(n *Notice, now time.Time) bool {
		if now.Sub(n.SlowedAt) < together {
			return false
		}
		if now.Sub(n.SlowedAt) > forgetAfter {
			n.Slowness = 0
		}
		n.Slowness, n.SlowedAt = min(n.Slowness+1, mostSlowness), now
		return true
	})
}

// Took says that Glacier took a request in the tier.
func (p *Pace) Took(ctx context.Context, tier archive.Tier) {
	p.mu.Lock()
	if p.notice.Slowness > 0 {
		p.notice.Slowness = max(0, p.notice.Slowness-ease)
		p.eased = min(p.eased+ease, mostSlowness)
	}
	over := tier == archive.Expedited && p.notice.Refusals > 0 && !p.now().Before(p.notice.RestUntil)
	p.mu.Unlock()
	if !over {
		return
	}
	p.share(ctx, func(n *Notice, now time.Time) bool {
		if n.Refusals == 0 || now.Before(n.RestUntil) {
			return false
		}
		n.Refusals, n.RestUntil = 0, now
		return true
	})
}

// look reads the board, if the last look was a while ago. Callers that come
// while one is looking go on with what is known.
func (p *Pace) look(ctx context.Context) {
	if p.Board == nil {
		return
	}
	p.mu.Lock()
	now := p.now()
	if age := now.Sub(p.readAt); age >= 0 && age < boardAge {
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
	// The pace holds where so many of all workers' calls are throttled: each tells
	// the others what its calls made up for, as it tells them of its throttles.
	p.share(ctx, func(*Notice, time.Time) bool { return true })
}

// read takes over from the board what is newer there, and returns its revision.
func (p *Pace) read(ctx context.Context) (revision uint64, ok bool) {
	lookCtx, cancel := context.WithTimeout(ctx, boardTime)
	defer cancel()
	var n Notice
	revision, _, err := read(lookCtx, p.Board, BoardKey, &n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil { // else it is the caller who is gone, not the board
		p.reached(err)
	}
	if err != nil {
		return 0, false
	}
	p.notice.merge(n, p.eased)
	return revision, true
}

// merge takes over what is newer on the board, less what this worker's calls have
// made up for and the board does not know of yet. A throttle that could not be hung up
// stays.
func (n *Notice) merge(board Notice, eased float64) {
	if board.RestUntil.After(n.RestUntil) {
		n.RestUntil, n.Refusals = board.RestUntil, board.Refusals
	}
	if !board.SlowedAt.Before(n.SlowedAt) {
		n.SlowedAt, n.Slowness = board.SlowedAt, max(0, board.Slowness-eased)
	}
}

// share changes the notice and hangs it up. change returns false if there is
// nothing to change. A board that cannot be reached costs a moment and no more;
// of two who write at once, the later looks again on its next turn.
func (p *Pace) share(ctx context.Context, change func(*Notice, time.Time) bool) {
	var revision uint64
	reached := false
	if p.Board != nil {
		revision, reached = p.read(ctx)
	}
	p.mu.Lock()
	changed := change(&p.notice, p.now())
	n, eased := p.notice, p.eased
	p.mu.Unlock()
	if !changed || !reached {
		return
	}
	data, err := json.Marshal(n)
	if err != nil {
		return // a struct of numbers and times always is JSON
	}
	ctx, cancel := context.WithTimeout(ctx, boardTime)
	defer cancel()
	err = p.Board.Swap(ctx, BoardKey, data, revision)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.eased = max(0, p.eased-eased)
	}
	if !fault.Is(err, fault.Conflict) {
		p.reached(err)
	}
}

// reached tells the log when the board is lost and when it is back. The caller
// holds p.mu.
func (p *Pace) reached(err error) {
	if (err != nil) == p.alone {
		return
	}
	p.alone = err != nil
	switch {
	case p.Log == nil:
	case p.alone:
		p.Log.Warn("the workers' board cannot be reached: going by this worker's own answers", "err", err)
	default:
		p.Log.Info("the workers' board is back")
	}
}

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DecodeNotice returns the notice that hangs on the board.
func DecodeNotice(note []byte) (*Notice, error) {
	var n Notice
	if err := json.Unmarshal(note, &n); err != nil {
		return nil, fmt.Errorf("notice: %w", err)
	}
	return &n, nil
}
