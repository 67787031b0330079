package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// planned is what one plan was.
type planned struct {
	took       time.Duration
	deliveries int
	tasks      uint64
	most       uint64        // that stood in THAW
	counting   time.Duration // of one Outstanding
	counts     map[string]int64
	peak       int64
}

// plan runs a planner, with a worker and a lease, on one upgrade of the user, while its
// tasks are taken and done at once.
func (w *world) plan(ctx context.Context, user string) (planned, error) {
	st, err := w.Operator.JS.Stream(ctx, events.StreamThaw)
	if err == nil {
		err = st.Purge(ctx)
	}
	if err != nil {
		return planned{}, err
	}
	b, err := w.Connect(ctx, "thaw")
	if err != nil {
		return planned{}, err
	}
	defer b.Close()
	cfg, err := w.SDK(ctx)
	if err != nil {
		return planned{}, err
	}
	catalog := dynamodb.New(cfg, benchworld.Tables())
	p := &thaw.Planner{
		Accounts: catalog, Jobs: catalog, Tasks: bus.Tasks{Bus: b}, Plans: catalog, Budgets: catalog, KV: b.KV(bus.BucketPlans),
		Tiers: archive.DefaultTiers(), Prices: cost.Public().In(w.Region), Now: time.Now, Log: quiet,
	}
	var got planned
	done := make(chan struct{})
	worker := &bus.Worker[events.UserUpgraded]{
		Bus: b, Stream: events.StreamPremium, Consumer: bus.ConsumerPlan, Slots: 2, Handle: p.Plan, Logger: quiet,
		Observe: func(o bus.Outcome, _ fault.Kind, _ time.Duration) {
			if got.deliveries++; o == bus.Acked {
				close(done)
			}
		},
	}
	taker, err := w.Connect(ctx, "thaw")
	if err != nil {
		return got, err
	}
	defer taker.Close()
	takes := &bus.Worker[events.ThawRequested]{
		Bus: taker, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: 256, Logger: quiet,
		Handle: func(context.Context, events.ThawRequested, bus.Emit) error { return nil },
	}
	before, err := st.Info(ctx)
	if err == nil {
		err = w.Local("DELETE", "counts", nil)
	}
	if err != nil {
		return got, err
	}
	debug.FreeOSMemory()
	benchtab.ResetPeak()
	drain := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error { return worker.Run(ctx, drain) })
	g.Go(func() error { return takes.Run(ctx, drain) })
	g.Go(func() error { return w.watch(ctx, user, st, drain, &got) })
	began := time.Now()
	if _, err := w.Operator.Publish(ctx, events.UserUpgraded{ID: "bench-" + user, UserID: events.UserID(user), UpgradedAt: time.Now()}); err != nil {
		return got, err
	}
	select {
	case <-done:
	case <-time.After(time.Hour):
		return got, fmt.Errorf("the plan of %s is not done", user)
	}
	got.took, got.peak = time.Since(began), benchtab.PeakRSS()
	close(drain)
	if err := g.Wait(); err != nil {
		return got, err
	}
	if got.counts, err = w.Counts(); err != nil {
		return got, err
	}
	info, err := st.Info(ctx)
	if err == nil {
		got.tasks = info.State.LastSeq - before.State.LastSeq
	}
	return got, err
}

// watch looks at THAW until drain is closed.
func (w *world) watch(ctx context.Context, user string, st jetstream.Stream, drain <-chan struct{}, got *planned) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	looks := 0
	var took time.Duration
	for {
		select {
		case <-drain:
			got.counting = took / time.Duration(max(looks, 1))
			return nil
		case <-tick.C:
		}
		info, err := st.Info(ctx)
		if err != nil {
			return err
		}
		got.most = max(got.most, info.State.Msgs)
		began := time.Now()
		if _, err := w.Operator.Outstanding(ctx, events.UserID(user), 1); err != nil {
			return err
		}
		took += time.Since(began)
		looks++
	}
}

// someArchive is an archive that is only planned, never requested.
func someArchive(i int) cold { return cold{id: events.ArchiveID(fmt.Sprintf("archive-%07d", i))} }

// sparse is the table of what planning costs by how much of the user's jobs is
// archived.
func (w *world) sparse(ctx context.Context, jobs int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   fmt.Sprintf("Planning a user with %d jobs, by how many are archived", jobs),
		Columns: []string{"archived", "archives", "tasks", "Query calls", "archives a Query", "ms", "µs an archive"},
		Notes:   []string{"The index has the archived jobs alone: what is not archived costs no call."},
	}
	for _, percent := range []int{1, 10, 100} {
		user, archived := fmt.Sprint("sparse-", percent), jobs*percent/100
		if err := w.addJobs(ctx, user, jobs, archived, someArchive); err != nil {
			return nil, err
		}
		p, err := w.plan(ctx, user)
		if err != nil {
			return nil, err
		}
		q := p.counts["dynamodb.Query"]
		t.Add(fmt.Sprint(percent, " %"), archived, p.tasks, q, f0(float64(archived)/float64(q)), p.took.Milliseconds(), f0(float64(p.took.Microseconds())/float64(archived)))
	}
	return t, nil
}

// large is the table of one plan of very many archives.
func (w *world) large(ctx context.Context, most int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   "One plan of very many archives",
		Columns: []string{"archives", "tasks", "seconds", "deliveries", "archives a second", "most in THAW", "µs to count them", "peak memory, MiB"},
		Notes: []string{
			"Its tasks are taken and done at once, in the same process, so that the plan is what is measured: it goes on as there is room in its window.",
			"Peak memory is of the planner's and the taker's process; AWS and NATS are another.",
		},
	}
	for n := most / 100; n <= most; n *= 10 {
		user := fmt.Sprint("large-", n)
		if err := w.addJobs(ctx, user, n, n, someArchive); err != nil {
			return nil, err
		}
		p, err := w.plan(ctx, user)
		if err != nil {
			return nil, err
		}
		t.Add(n, p.tasks, fmt.Sprintf("%.1f", p.took.Seconds()), p.deliveries, f0(float64(n)/p.took.Seconds()), p.most, p.counting.Microseconds(), p.peak>>20)
	}
	return t, nil
}
