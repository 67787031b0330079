package wiring

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
)

// workMetrics are those of a service's workers.
type workMetrics struct {
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newWorkMetrics() *workMetrics {
	return &workMetrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_deliveries_total", Help: "Deliveries of messages, by what became of them.",
		}, []string{"consumer", "outcome", "kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gas_delivery_seconds", Help: "Time from receipt of a message to its outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"consumer"}),
	}
}

func (m *workMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.outcomes, m.seconds}
}

func (m *workMetrics) observe(consumer string) func(bus.Outcome, fault.Kind, time.Duration) {
	return func(o bus.Outcome, kind fault.Kind, took time.Duration) {
		label := kind.String()
		if o == bus.Acked {
			label = "none"
		}
		m.outcomes.WithLabelValues(consumer, string(o), label).Inc()
		m.seconds.WithLabelValues(consumer).Observe(took.Seconds())
	}
}

// tally exports a drain's accounting.
func tally(d *bridge.Drain) []prometheus.Collector {
	counter := func(outcome string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "gas_bridge_messages_total",
			Help:        "SQS messages: received = published + duplicate + quarantined + returned.",
			ConstLabels: prometheus.Labels{"source": d.Source.Name, "outcome": outcome},
		}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		counter("received", &d.Tally.Received),
		counter("published", &d.Tally.Published),
		counter("duplicate", &d.Tally.Duplicate),
		counter("quarantined", &d.Tally.Quarantined),
		counter("returned", &d.Tally.Returned),
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
