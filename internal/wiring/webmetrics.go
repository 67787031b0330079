package wiring

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/web"
)

// webMetrics is the site's [web.Meter].
type webMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	signIns  *prometheus.CounterVec
	streams  prometheus.Gauge
	cuts     *prometheus.CounterVec
}

func newWebMetrics() *webMetrics {
	m := &webMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_web_requests_total", Help: "Requests to the site, by route and class of the status.",
		}, []string{"route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gas_web_request_seconds", Help: "Time of a request to the site. A live stream counts until it begins.",
			Buckets: []float64{0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10},
		}, []string{"route"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_web_sign_ins_total", Help: "Sign-ins, by outcome: ok, or who is at fault.",
		}, []string{"outcome"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gas_web_streams", Help: "Live streams that are open."}),
		cuts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_web_streams_cut_total", Help: "Live streams that the site ended early, by reason.",
		}, []string{"reason"}),
	}
	for _, outcome := range web.SignIns() {
		m.signIns.WithLabelValues(outcome)
	}
	for _, why := range web.Cuts() {
		m.cuts.WithLabelValues(why)
	}
	return m
}

// know makes a series for each of the routes.
func (m *webMetrics) know(routes []string) {
	for _, route := range append([]string{web.OtherRoute}, routes...) {
		for class := 2; class <= 5; class++ {
			m.requests.WithLabelValues(route, classOf(100*class))
		}
		m.seconds.WithLabelValues(route)
	}
}

func (m *webMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.signIns, m.streams, m.cuts}
}

func classOf(status int) string { return fmt.Sprintf("%dxx", min(max(status/100, 1), 5)) }

func (m *webMetrics) Request(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, classOf(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *webMetrics) SignIn(outcome string) { m.signIns.WithLabelValues(outcome).Inc() }
func (m *webMetrics) Stream(change int)     { m.streams.Add(float64(change)) }
func (m *webMetrics) Cut(why string)        { m.cuts.WithLabelValues(why).Inc() }
