package wiring

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
)

// workMetrics are the metrics of a service's workers.
type workMetrics struct {
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	fill     *prometheus.GaugeVec
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
		fill: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gas_consumer_fill", Help: "A consumer's messages that wait, messages in flight and waiting workers, beside their limits: 0 means no limit.",
		}, []string{"consumer", "what"}),
	}
}

func (m *workMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.outcomes, m.seconds, m.fill}
}

// filled records how full a consumer is.
func (m *workMetrics) filled(f bus.Fill) {
	for what, n := range map[string]float64{
		"waiting": float64(f.Waiting), "in_hand": float64(f.InHand), "max_in_hand": float64(f.MaxInHand), "pulls": float64(f.Pulls), "max_pulls": float64(f.MaxPulls),
	} {
		m.fill.WithLabelValues(f.Consumer, what).Set(n)
	}
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

// tally exports the counters of a drain.
func tally(d *bridge.Drain) []prometheus.Collector {
	labels := prometheus.Labels{"source": d.Source.Name}
	outcome := func(name string, n *atomic.Int64) prometheus.Collector {
		return counter("gas_bridge_messages_total", "SQS messages: received = published + duplicate + quarantined + returned + all of gas_bridge_foreign_total + in flight.",
			prometheus.Labels{"source": d.Source.Name, "outcome": name}, n)
	}
	var all []prometheus.Collector
	for _, kind := range bridge.Foreigns() {
		all = append(all, counter("gas_bridge_foreign_total", "SQS messages that are certainly not for us and were dropped, by what they are.",
			prometheus.Labels{"source": d.Source.Name, "what": kind.String()}, &d.Tally.Foreign[kind]))
	}
	return append(all,
		outcome("received", &d.Tally.Received),
		outcome("published", &d.Tally.Published),
		outcome("duplicate", &d.Tally.Duplicate),
		outcome("quarantined", &d.Tally.Quarantined),
		outcome("returned", &d.Tally.Returned),
		counter("gas_bridge_receives_total", "Calls that receive from SQS, empty answers included.", labels, &d.Tally.Receives),
		counter("gas_bridge_leases_renewed_total", "Extensions of the visibility of SQS messages while they waited.", labels, &d.Tally.Extended),
		counter("gas_bridge_undeleted_total", "SQS messages that were stored and could not be deleted: they come again, as duplicates.", labels, &d.Tally.Undeleted),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gas_bridge_in_hand", Help: "SQS messages that are received and not settled.", ConstLabels: labels,
		}, func() float64 { return float64(d.Tally.InHand()) }),
	)
}

func counter(name, help string, labels prometheus.Labels, n *atomic.Int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(n.Load()) })
}

// webhookMetrics exports the counters of the webhook.
func webhookMetrics(h *bridge.Webhook) []prometheus.Collector {
	outcome := func(name string, n *atomic.Int64) prometheus.Collector {
		return counter("gas_webhook_messages_total",
			"Messages posted by SNS: received = published + duplicate + failed + not_understood + foreign + handshake + all of gas_webhook_refused_total.",
			prometheus.Labels{"outcome": name}, n)
	}
	return []prometheus.Collector{
		outcome("received", &h.Tally.Received),
		outcome("published", &h.Tally.Published),
		outcome("duplicate", &h.Tally.Duplicate),
		outcome("failed", &h.Tally.Failed),
		outcome("not_understood", &h.Tally.NotUnderstood),
		outcome("foreign", &h.Tally.Foreign),
		outcome("handshake", &h.Tally.Handshakes),
		refusals{h},
	}
}

// refusals exports the number of refused messages for each reason. The verifier names the
// reasons. A reason has no series before its first refusal.
type refusals struct{ webhook *bridge.Webhook }

var refusedDesc = prometheus.NewDesc("gas_webhook_refused_total", "Messages that are not genuine, by reason.", []string{"reason"}, nil)

func (r refusals) Describe(ch chan<- *prometheus.Desc) { ch <- refusedDesc }

func (r refusals) Collect(ch chan<- prometheus.Metric) {
	for reason, n := range r.webhook.Refused() {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), string(reason))
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
