package reconcile

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// leadKey is the note that says who sweeps.
const leadKey = "sweep.lead"

// claim is the note of who leads. Its revision is what counts: a leader writes it
// anew all the time, and one whose note has not changed for a while is gone. So
// no clock is compared with another.
type claim struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Runner has one of several replicas sweep at a time.
type Runner struct {
	Sweeper *Sweeper
	// Name tells the replicas apart.
	Name string
	// Every is how long it is from the end of a sweep to the next, Hold for how long
	// a leader may be silent until another takes over; 5 minutes and 30 seconds if
	// zero.
	Every, Hold time.Duration
	Log         *slog.Logger
	// OnSweep and OnLead are told of each sweep, and when this replica begins and
	// ceases to lead. They may be nil.
	OnSweep func(Report, error)
	OnLead  func(bool)
}

// Run sweeps while this replica leads, until drain is closed or ctx ends. Two that
// sweep at once, because one was paused, do no harm: they publish the same messages
// under the same ids.
func (r *Runner) Run(ctx context.Context, drain <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-drain:
			cancel()
		case <-ctx.Done():
		}
	}()
	hold := r.Hold
	if hold <= 0 {
		// Long beside a claim's way to the disks of three servers, short beside a sweep.
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
			// Whoever is next need not wait.
			done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if note, revision, err := r.Sweeper.KV.Get(done, leadKey); err == nil && whose(note) == r.Name {
				r.Sweeper.KV.Swap(done, leadKey, []byte("{}"), revision)
			}
		}
	}()
	var kept time.Time // when our claim was last written
	for ctx.Err() == nil {
		note, revision, err := r.Sweeper.KV.Get(ctx, leadKey)
		switch now, name := time.Now(), whose(note); {
		case err != nil && !fault.Is(err, fault.NotFound):
			if ours && now.Sub(kept) > hold {
				lead(false) // nobody hears us
			}
		case name != "" && name != r.Name && revision != seen:
			seen, changed = revision, now
			lead(false)
		case name == "" || name == r.Name || now.Sub(changed) >= hold:
			// A claim of ours may have been written although we saw an error: the next
			// look finds it.
			if r.claim(ctx, revision) == nil {
				kept = now
				lead(true)
			}
		}
		pause(ctx, hold/4)
	}
	return nil
}

// whose returns the name in a claim, empty if it is nobody's.
func whose(note []byte) string {
	var c claim
	if json.Unmarshal(note, &c) != nil {
		return ""
	}
	return c.Name
}

// claim writes our name over the claim of that revision.
func (r *Runner) claim(ctx context.Context, revision uint64) error {
	note, err := json.Marshal(claim{r.Name, time.Now().UTC()})
	if err != nil {
		return err
	}
	return r.Sweeper.KV.Swap(ctx, leadKey, note, revision)
}

// sweepAll sweeps again and again.
func (r *Runner) sweepAll(ctx context.Context) {
	every := r.Every
	if every <= 0 {
		every = 5 * time.Minute
	}
	for {
		report, err := r.Sweeper.Sweep(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.Log.Warn("sweep cut short", "err", err)
		}
		r.Log.Info("swept", "archives", report.Archives, "calls", report.Calls, "took", report.Took.Round(time.Millisecond), "done", report.Done)
		if r.OnSweep != nil {
			r.OnSweep(report, err)
		}
		if note, err := json.Marshal(report); err == nil {
			if err := r.Sweeper.KV.Put(ctx, ReportKey, note); err != nil {
				r.Log.Warn("report not kept", "err", err)
			}
		}
		pause(ctx, every)
		if ctx.Err() != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
