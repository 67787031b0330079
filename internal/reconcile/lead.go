package reconcile

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/outage"
	"github.com/gas-restore/gas/internal/wait"
)

// leadKey is the key of the claim that says which replica sweeps.
const leadKey = "sweep.lead"

// claim says which replica leads. The leader writes the claim again and again. If the
// revision of the claim does not change for a while, the leader is gone. So nothing
// compares the clocks of two machines.
type claim struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Runner makes sure that one of several replicas sweeps at a time.
type Runner struct {
	Sweeper *Sweeper
	// Name tells the replicas apart.
	Name string
	// Every is the time from the end of a sweep to the next one; 5 minutes if zero. Hold is
	// how long a leader may be silent before another replica takes over; 30 seconds if zero.
	Every, Hold time.Duration
	Log         *slog.Logger
	// Runner calls OnSweep after each sweep, and OnLead when this replica begins or stops
	// leading. They may be nil.
	OnSweep func(Report, error)
	OnLead  func(bool)

	failing outage.Log
}

// Run sweeps while this replica leads, until drain is closed or ctx ends. If a leader was
// paused, two replicas may sweep at once. That does no harm: they publish the same
// messages under the same ids.
func (r *Runner) Run(ctx context.Context, drain <-chan struct{}) error {
	ctx, cancel := wait.Until(ctx, drain)
	defer cancel()
	hold := r.Hold
	if hold <= 0 {
		// Long compared with the time that three servers need to store a claim, short
		// compared with a sweep.
		hold = 30 * time.Second
	}
	var (
		seen    uint64    // the revision of another's claim
		changed time.Time // when it was first seen
		ours    bool
		work    sync.WaitGroup
		stop    context.CancelFunc
	)
	lead := func(now bool) {
		if ours == now {
			return
		}
		ours = now
		if r.OnLead != nil {
			r.OnLead(now)
		}
		if !now {
			r.Log.Info("another replica sweeps")
			stop()
			work.Wait()
			return
		}
		r.Log.Info("this replica sweeps")
		var sweepCtx context.Context
		sweepCtx, stop = context.WithCancel(ctx)
		work.Go(func() { r.sweepAll(sweepCtx) })
	}
	defer func() {
		if ours {
			stop()
			work.Wait()
			// The next leader need not wait until the claim is old.
			done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if value, revision, err := r.Sweeper.KV.Get(done, leadKey); err == nil && claimedBy(value) == r.Name {
				r.Sweeper.KV.Swap(done, leadKey, []byte("{}"), revision)
			}
		}
	}()
	var kept time.Time // when our claim was last written
	for ctx.Err() == nil {
		value, revision, err := r.Sweeper.KV.Get(ctx, leadKey)
		switch now, name := time.Now(), claimedBy(value); {
		case err != nil && !fault.Is(err, fault.NotFound):
			if ours && now.Sub(kept) > hold {
				lead(false) // our claim is not written, and another replica will take over
			}
		case name != "" && name != r.Name && revision != seen:
			seen, changed = revision, now
			lead(false)
		case name == "" || name == r.Name || now.Sub(changed) >= hold:
			// After an error, our claim may be written or not. The next read finds out.
			if r.claim(ctx, revision) == nil {
				kept = now
				lead(true)
			}
		}
		wait.For(ctx, hold/4)
	}
	return nil
}

// claimedBy returns the name in a claim; empty if nobody claims to lead.
func claimedBy(value []byte) string {
	var c claim
	_ = json.Unmarshal(value, &c) // a value that is no claim has no name
	return c.Name
}

// claim replaces the claim of that revision by ours.
func (r *Runner) claim(ctx context.Context, revision uint64) error {
	value, err := json.Marshal(claim{r.Name, time.Now().UTC()})
	if err != nil {
		return err
	}
	return r.Sweeper.KV.Swap(ctx, leadKey, value, revision)
}

// sweepAll sweeps again and again.
func (r *Runner) sweepAll(ctx context.Context) {
	every := r.Every
	if every <= 0 {
		every = 5 * time.Minute
	}
	for ctx.Err() == nil {
		report, err := r.Sweeper.Sweep(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.failing.Failed(r.Log, "the sweep did not see everything", "err", err)
		} else {
			r.failing.Over(r.Log, "the sweep sees everything again")
		}
		r.Log.Info("swept", "archives", report.Archives, "calls", report.Calls, "took", report.Took.Round(time.Millisecond), "done", report.Done)
		if r.OnSweep != nil {
			r.OnSweep(report, err)
		}
		if value, err := json.Marshal(report); err == nil {
			if err := r.Sweeper.KV.Put(ctx, ReportKey, value); err != nil {
				r.Log.Warn("report not saved", "err", err)
			}
		}
		wait.For(ctx, every)
	}
}
