package wiring

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/snsverify"
)

// workMetrics are the metrics of a service's workers.
type workMetrics struct {
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	waiting, inFlight, limits *prometheus.GaugeVec
}

func newWorkMetrics(consumers ...string) *workMetrics {
	m := &workMetrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_deliveries_total", Help: "Deliveries of messages, by what became of them.",
		}, []string{"consumer", "outcome", "kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gas_delivery_seconds", Help: "Time from receipt of a message to its outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"consumer"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gas_consumer_waiting_messages", Help: "Messages that no worker has yet.",
		}, []string{"consumer"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gas_consumer_in_flight_messages", Help: "Messages that workers have.",
		}, []string{"consumer"}),
		limits: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gas_consumer_limit_ratio", Help: "The used part of a limit of the consumer: 1 is full.",
		}, []string{"consumer", "limit"}),
	}
	for _, consumer := range consumers {
		m.filled(bus.Fill{Consumer: consumer})
		m.seconds.WithLabelValues(consumer)
		m.outcomes.WithLabelValues(consumer, string(bus.Acked), noKind)
		for _, outcome := range bus.Outcomes() {
			for _, kind := range fault.Kinds() {
				if outcome != bus.Acked {
					m.outcomes.WithLabelValues(consumer, string(outcome), kind.String())
				}
			}
		}
	}
	return m
}

func (m *workMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.outcomes, m.seconds, m.waiting, m.inFlight, m.limits}
}

// noKind is the kind of a delivery without an error.
const noKind = "none"

// filled records how full a consumer is.
func (m *workMetrics) filled(f bus.Fill) {
	m.waiting.WithLabelValues(f.Consumer).Set(float64(f.Waiting))
	m.inFlight.WithLabelValues(f.Consumer).Set(float64(f.InHand))
	m.limits.WithLabelValues(f.Consumer, "in_flight").Set(float64(f.InHand) / float64(max(f.MaxInHand, 1)))
	m.limits.WithLabelValues(f.Consumer, "pulls").Set(float64(f.Pulls) / float64(max(f.MaxPulls, 1)))
}

func (m *workMetrics) observe(consumer string) func(bus.Outcome, fault.Kind, time.Duration) {
	return func(o bus.Outcome, kind fault.Kind, took time.Duration) {
		label := kind.String()
		if o == bus.Acked {
			label = noKind
		}
		m.outcomes.WithLabelValues(consumer, string(o), label).Inc()
		m.seconds.WithLabelValues(consumer).Observe(took.Seconds())
	}
}

// tally exports the counters of a drain.
func tally(d *bridge.Drain) []prometheus.Collector {
	labels := prometheus.Labels{"source": d.Source.Name}
	outcome := func(name string, n *atomic.Int64) prometheus.Collector {
		return counter("gas_bridge_messages_total", "SQS messages that are settled, by outcome. With those of gas_bridge_foreign_total and gas_bridge_in_flight_messages they are those of gas_bridge_received_total.",
			prometheus.Labels{"source": d.Source.Name, "outcome": name}, n)
	}
	var all []prometheus.Collector
	for _, kind := range bridge.Foreigns() {
		all = append(all, counter("gas_bridge_foreign_total", "SQS messages that are certainly not for us and were dropped, by what they are.",
			prometheus.Labels{"source": d.Source.Name, "what": kind.String()}, &d.Tally.Foreign[kind]))
	}
	return append(all,
		counter("gas_bridge_received_total", "SQS messages received.", labels, &d.Tally.Received),
		outcome("published", &d.Tally.Published),
		outcome("duplicate", &d.Tally.Duplicate),
		outcome("quarantined", &d.Tally.Quarantined),
		outcome("returned", &d.Tally.Returned),
		counter("gas_bridge_receives_total", "Calls that receive from SQS, empty answers included.", labels, &d.Tally.Receives),
		counter("gas_bridge_leases_renewed_total", "Extensions of the visibility of SQS messages while they waited.", labels, &d.Tally.Extended),
		counter("gas_bridge_undeleted_total", "SQS messages that were stored and could not be deleted: they come again, as duplicates.", labels, &d.Tally.Undeleted),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gas_bridge_in_flight_messages", Help: "SQS messages that are received and not settled.", ConstLabels: labels,
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
			"Messages posted by SNS, by outcome. With those of gas_webhook_refused_total they are those of gas_webhook_received_total.",
			prometheus.Labels{"outcome": name}, n)
	}
	return []prometheus.Collector{
		counter("gas_webhook_received_total", "Messages posted by SNS.", nil, &h.Tally.Received),
		outcome("published", &h.Tally.Published),
		outcome("duplicate", &h.Tally.Duplicate),
		outcome("failed", &h.Tally.Failed),
		outcome("not_understood", &h.Tally.NotUnderstood),
		outcome("foreign", &h.Tally.Foreign),
		outcome("handshake", &h.Tally.Handshakes),
		refusals{h},
	}
}

// refusals exports the number of refused messages for each reason.
type refusals struct{ webhook *bridge.Webhook }

var refusedDesc = prometheus.NewDesc("gas_webhook_refused_total", "Messages that are not genuine, by reason.", []string{"reason"}, nil)

func (r refusals) Describe(ch chan<- *prometheus.Desc) { ch <- refusedDesc }

func (r refusals) Collect(ch chan<- prometheus.Metric) {
	refused := r.webhook.Refused()
	for _, reason := range snsverify.Reasons() {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(refused[reason]), string(reason))
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// restoreMetrics count what the restorer brought back, and how fast.
type restoreMetrics struct {
	now          func() time.Time
	files, bytes prometheus.Counter
	last         prometheus.Gauge
	share        *prometheus.HistogramVec
}

func newRestoreMetrics(now func() time.Time) *restoreMetrics {
	m := &restoreMetrics{
		now:   now,
		files: prometheus.NewCounter(prometheus.CounterOpts{Name: "gas_restored_files_total", Help: "Archives restored."}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "gas_restored_bytes_total", Help: "Bytes restored."}),
		last:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_restored_last_timestamp_seconds", Help: "When this replica last restored an archive, in Unix time."}),
		share: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gas_restored_tier_time_ratio", Help: "Time from the request of a retrieval until its file was back, divided by the longest time that AWS names for the tier. Archives that need no retrieval do not count.",
			Buckets: []float64{0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10},
		}, []string{"tier"}),
	}
	for _, tier := range archive.AllTiers() {
		m.share.WithLabelValues(string(tier))
	}
	m.share.WithLabelValues(other)
	return m
}

func (m *restoreMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.files, m.bytes, m.last, m.share}
}

// restored records a file that is back. job is as it was before.
func (m *restoreMetrics) restored(job archive.Job, bytes int64) {
	m.files.Inc()
	m.bytes.Add(float64(bytes))
	m.last.Set(float64(m.now().Unix()))
	longest := job.Copy.Class.Longest(job.Tier)
	if longest <= 0 || job.RetrievalRequestedAt.IsZero() {
		return
	}
	tier := other
	if slices.Contains(archive.AllTiers(), job.Tier) {
		tier = string(job.Tier)
	}
	m.share.WithLabelValues(tier).Observe(m.now().Sub(job.RetrievalRequestedAt).Seconds() / longest.Seconds())
}
