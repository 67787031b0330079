package wiring

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/snsverify"
)

func TestTheBridgesAccountsAreExported(t *testing.T) {
	d := &bridge.Drain{Source: bridge.Source{Name: "premium"}}
	d.Tally.Received.Store(10)
	d.Tally.Published.Store(5)
	d.Tally.Duplicate.Store(1)
	d.Tally.Quarantined.Store(1)
	d.Tally.Returned.Store(1)
	d.Tally.Receives.Store(77)
	h := &bridge.Webhook{Drains: []*bridge.Drain{d}, Verify: snsverify.New(snsverify.Config{}), Log: slog.New(slog.DiscardHandler)}
	for range 2 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/sns/premium", strings.NewReader("{")))
	}
	r := prometheus.NewRegistry()
	r.MustRegister(tally(d)...)
	r.MustRegister(webhookMetrics(h)...)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, _ := io.ReadAll(w.Body)
	for _, want := range []string{
		`gas_bridge_received_total{source="premium"} 10`,
		`gas_bridge_messages_total{outcome="published",source="premium"} 5`,
		`gas_bridge_messages_total{outcome="returned",source="premium"} 1`,
		`gas_bridge_in_flight_messages{source="premium"} 2`,
		`gas_bridge_receives_total{source="premium"} 77`,
		`gas_webhook_received_total 2`,
		`gas_webhook_refused_total{reason="` + string(snsverify.Malformed) + `"} 2`,
	} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
}
