package wiring

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/pkg/events"
)

// Prices returns the prices of retrievals in the region. They come from GAS_PRICES_FILE if
// that is set, otherwise from the built-in list.
func Prices(cfg config.Config, region string) (cost.Prices, error) {
	table, err := priceTable(cfg)
	if err != nil {
		return cost.Prices{}, err
	}
	prices := table.In(region)
	prices.CopyDays = cfg.ArchiveDays
	return prices, nil
}

// priceTable returns the price list of GAS_PRICES_FILE, or the built-in one.
func priceTable(cfg config.Config) (cost.Table, error) {
	if cfg.PricesFile == "" {
		return cost.Public(), nil
	}
	f, err := os.Open(cfg.PricesFile)
	if err != nil {
		return cost.Table{}, config.Fault{Variable: "GAS_PRICES_FILE", Problem: err.Error()}
	}
	defer f.Close()
	table, err := cost.Read(f)
	if err != nil {
		return cost.Table{}, config.Fault{Variable: "GAS_PRICES_FILE", Problem: fmt.Sprintf("%s: %v", cfg.PricesFile, err)}
	}
	return table, nil
}

// Thaw returns the planner, the requester and the sweeper. Only one replica sweeps at a
// time.
func Thaw(ctx context.Context, e Env) (daemon.Part, error) {
	base, err := e.connect(ctx, config.Thaw, e.Config.ThawPassword)
	if err != nil {
		return daemon.Part{}, err
	}
	b, cfg := base.bus, base.aws
	prices, err := Prices(e.Config, cfg.Region)
	if err != nil {
		b.Close()
		return daemon.Part{}, err
	}
	if prices.StandIn != "" {
		e.Log.Warn("the price list does not have this region: set GAS_PRICES_FILE", "region", prices.Region, "prices_of", prices.StandIn)
	}
	catalog := dynamodb.New(cfg, Tables(e.Config))
	m, tm := newWorkMetrics(bus.ConsumerPlan, bus.ConsumerRequest), newThawMetrics()
	stops := thaw.NewStops(catalog, e.clock())
	planner := &thaw.Planner{
		Accounts:    catalog,
		Plans:       catalog,
		Budgets:     catalog,
		Switches:    stops,
		Jobs:        catalog,
		Tasks:       bus.Tasks{Bus: b},
		KV:          b.KV(bus.BucketPlans),
		Tiers:       e.Config.TierOrder(),
		Prices:      prices,
		AssumedSize: e.Config.AssumedSize,
		Now:         e.clock(),
		Log:         e.Log,
		OnPlan:      func(o thaw.Outcome) { tm.plans.WithLabelValues(string(o)).Inc() },
	}
	planner.Limits.User, planner.Limits.Day = e.Config.Budgets()
	pace := &thaw.Pace{
		KV:    b.KV(bus.BucketPace),
		Rate:  e.Config.ThawRate,
		Calls: e.Config.ThawCalls,
		Now:   e.clock(),
		Log:   e.Log,
	}
	sweep, sweepBus, sweepMetrics, err := e.sweeper(ctx, cfg, catalog)
	if err != nil {
		b.Close()
		return daemon.Part{}, err
	}
	requester := &thaw.Requester{
		Accounts:     catalog,
		Catalog:      catalog,
		Plans:        catalog,
		Budgets:      catalog,
		Switches:     stops,
		Limits:       planner.Limits,
		Vault:        Store(e.Config, cfg),
		Tiers:        e.Config.TierOrder(),
		Pace:         pace,
		CallTime:     e.Config.ThawCallTime,
		Prices:       prices,
		AssumedSize:  e.Config.AssumedSize,
		Now:          e.clock(),
		Log:          e.Log,
		Completions:  streams{sweepBus},
		Mixed:        e.Config.Vault != "" && e.Config.ArchiveBucket != "",
		OnRequested:  tm.requested,
		OnAdopted:    tm.adopt,
		OnDuplicates: func(n int) { tm.duplicates.Add(float64(n)) },
	}
	plan := &bus.Worker[events.UserUpgraded]{
		Bus: b, Stream: events.StreamPremium, Consumer: bus.ConsumerPlan, Slots: 2,
		Handle: planner.Plan, Door: stops.Door, Observe: m.observe(bus.ConsumerPlan), OnFill: m.filled, Logger: e.Log,
	}
	request := &bus.Worker[events.ThawRequested]{
		Bus: b, Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, Slots: e.Config.ThawSlots,
		Handle: requester.Request, Door: stops.Door, Observe: m.observe(bus.ConsumerRequest), OnFill: m.filled, Logger: e.Log,
	}
	return daemon.Part{
		Name:    string(config.Thaw),
		Run:     together(b.Watch, sweepBus.Watch, plan.Run, request.Run, sweep.Run),
		Ready:   []daemon.Check{b.Outlook("thaw").Err, sweepBus.Outlook("sweep").Err, base.calls.Err},
		Metrics: slices.Concat(base.metrics, m.all(), tm.all(), paceMetrics(pace), sweepMetrics),
		Close:   func() { b.Close(); sweepBus.Close() },
	}, nil
}

// thawMetrics count requested retrievals and their cost.
type thawMetrics struct {
	retrievals, cost    *prometheus.CounterVec
	plans               *prometheus.CounterVec
	adopted, duplicates prometheus.Counter
}

func newThawMetrics() *thawMetrics {
	m := &thawMetrics{
		retrievals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_retrievals_requested_total", Help: "Retrievals requested from Glacier.",
		}, []string{"tier", "fallback"}),
		cost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_retrieval_cost_dollars_total", Help: "The price of retrievals by the price list.",
		}, []string{"tier"}),
		plans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_plans_total", Help: "Plans, by how they ended.",
		}, []string{"outcome"}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gas_adopted_retrievals_total", Help: "Retrievals that an interrupted worker requested and another found at Glacier.",
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gas_duplicate_retrievals_total", Help: "Retrievals that turned out to be one too many for their archive.",
		}),
	}
	for _, tier := range archive.AllTiers() {
		m.retrievals.WithLabelValues(string(tier), "no")
		m.retrievals.WithLabelValues(string(tier), "yes")
		m.cost.WithLabelValues(string(tier))
	}
	for _, outcome := range thaw.Outcomes() {
		m.plans.WithLabelValues(string(outcome))
	}
	return m
}

func (m *thawMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.retrievals, m.cost, m.plans, m.adopted, m.duplicates}
}

func (m *thawMetrics) requested(r archive.Retrieval, fallback bool) {
	m.retrievals.WithLabelValues(string(r.Tier), yesNo(fallback)).Inc()
	m.bill(r)
}

// adopt counts an adopted retrieval: the worker that requested it died before it could
// count it.
func (m *thawMetrics) adopt(r archive.Retrieval) {
	m.adopted.Inc()
	m.bill(r)
}

func (m *thawMetrics) bill(r archive.Retrieval) {
	m.cost.WithLabelValues(string(r.Tier)).Add(float64(r.Cost) / float64(archive.Dollar))
}

func paceMetrics(p *thaw.Pace) []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	return []prometheus.Collector{
		gauge("gas_thaw_call_gap_seconds", "Time that this thaw leaves between two calls, because Glacier throttles.",
			func() float64 { return p.Shared().Gap().Seconds() }),
		gauge("gas_thaw_expedited_rest_seconds", "For how long Expedited is still left alone, for lack of capacity.",
			func() float64 { return p.Resting(archive.Expedited).Seconds() }),
	}
}
