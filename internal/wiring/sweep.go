package wiring

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/pkg/events"
)

// sweeper returns the runner that finds lost work. It has a connection of its own, because
// it may publish messages that the services may not publish.
func (e Env) sweeper(ctx context.Context, cfg aws.Config, catalog *dynamodb.Catalog) (*reconcile.Runner, *bus.Bus, []prometheus.Collector, error) {
	b, err := e.connectNATS(ctx, "sweep", e.Config.SweepPassword)
	if err != nil {
		return nil, nil, nil, err
	}
	m := newSweepMetrics()
	host, _ := os.Hostname() // it may be empty: the rest of the name is unique
	return &reconcile.Runner{
		Sweeper: &reconcile.Sweeper{
			Catalog: catalog,
			Vault:   Store(e.Config, cfg),
			Streams: streams{b},
			KV:      b.KV(bus.BucketSweep),
			Slack:   e.Config.SweepSlack,
			Calls:   e.Config.SweepCalls,
			Now:     e.clock(),
			Log:     e.Log.With("part", "sweep"),

			OnClosed: m.planClosed,
		},
		Name:    fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6]),
		Every:   e.Config.SweepEvery,
		Log:     e.Log.With("part", "sweep"),
		OnSweep: m.swept,
		OnLead:  m.lead,
	}, b, slices.Concat(m.all(), busMetrics("sweep", b), []prometheus.Collector{&backlogs{bus: b, now: e.clock()}}), nil
}

// streams puts the bus behind the sweeper's port.
type streams struct{ *bus.Bus }

func (s streams) Dead(ctx context.Context, e events.Event) (bool, error) {
	_, dead, err := s.Bus.DeadOf(ctx, e)
	return dead, err
}

func (s streams) Publish(ctx context.Context, e events.Event) error {
	_, err := s.Bus.Publish(ctx, e)
	return err
}

// sweepMetrics count what sweeps found and did.
type sweepMetrics struct {
	leads, last, archives prometheus.Gauge
	due, plans            prometheus.Gauge
	found                 *prometheus.GaugeVec
	done                  *prometheus.CounterVec
	sweeps                *prometheus.CounterVec
	calls                 prometheus.Counter
	allBack               prometheus.Histogram
}

func newSweepMetrics() *sweepMetrics {
	m := &sweepMetrics{
		leads:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_sweep_leader", Help: "1 while this replica sweeps."}),
		last:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_sweep_last_timestamp_seconds", Help: "When this replica last finished a sweep, in Unix time."}),
		archives: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_sweep_archives", Help: "Archives that the last sweep compared with their owners' roles."}),
		due:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_sweep_due", Help: "Requests and retrievals that were overdue at the last sweep."}),
		plans:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_sweep_plans", Help: "Plans that the last sweep checked."}),
		found: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gas_sweep_found", Help: "Archives of the last sweep, by what was found.",
		}, []string{"finding"}),
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_sweep_actions_total", Help: "Actions of sweeps for lost work.",
		}, []string{"action"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_sweeps_total", Help: "Sweeps, by whether they saw everything.",
		}, []string{"whole"}),
		calls: prometheus.NewCounter(prometheus.CounterOpts{Name: "gas_sweep_calls_total", Help: "Calls to AWS that count against GAS_SWEEP_CALLS."}),
		allBack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gas_plan_all_back_seconds", Help: "Time from the upgrade of a user until all archives of the user are back.",
			Buckets: []float64{60, 600, hour, 3 * hour, 6 * hour, 12 * hour, 24 * hour, 48 * hour, 7 * 24 * hour},
		}),
	}
	for _, f := range reconcile.Findings() {
		m.found.WithLabelValues(string(f))
	}
	for _, a := range reconcile.Actions() {
		m.done.WithLabelValues(string(a))
	}
	m.sweeps.WithLabelValues(yesNo(true))
	m.sweeps.WithLabelValues(yesNo(false))
	return m
}

func (m *sweepMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.leads, m.last, m.archives, m.due, m.plans, m.found, m.done, m.sweeps, m.calls, m.allBack}
}

func (m *sweepMetrics) lead(now bool) {
	if now {
		m.leads.Set(1)
		return
	}
	m.leads.Set(0)
}

// hour is an hour in seconds.
const hour = 60 * 60

// planClosed records how long a user waited for all files.
func (m *sweepMetrics) planClosed(p archive.Plan) {
	began := p.UpgradedAt
	if began.IsZero() {
		began = p.OpenedAt
	}
	m.allBack.Observe(p.EmptySince.Sub(began).Seconds())
}

func (m *sweepMetrics) swept(r reconcile.Report, err error) {
	m.last.SetToCurrentTime()
	m.archives.Set(float64(r.Archives))
	m.due.Set(float64(r.Due))
	m.plans.Set(float64(r.Plans))
	for _, f := range reconcile.Findings() {
		m.found.WithLabelValues(string(f)).Set(float64(r.Found[f]))
	}
	for a, n := range r.Done {
		m.done.WithLabelValues(string(a)).Add(float64(n))
	}
	m.sweeps.WithLabelValues(yesNo(err == nil)).Inc()
	m.calls.Add(float64(r.Calls))
}
