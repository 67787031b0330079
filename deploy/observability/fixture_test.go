// Package observability_test checks what a person on call relies on: the metrics, the rules
// and their pages, and the dashboard.
package observability_test

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
)

func TestMain(m *testing.M) {
	testenv.SideBySide(5)
	os.Exit(m.Run())
}

// running is the whole pipeline on this machine. Each part has its own health address, as a
// process of its own would have.
type running struct {
	*stack.Stack
	// health has the URL of each part.
	health map[string]string
	log    *testlog.Lines
}

var healthURL = regexp.MustCompile(`http://\S+/readyz`)

// start runs the pipeline until the test ends.
func start(t *testing.T, people []stack.Person, store stack.Store) *running {
	t.Helper()
	r := &running{health: map[string]string{}, log: &testlog.Lines{}}
	s := stacktest.Start(t, stack.Options{Store: store, ExpeditedDelay: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(r.log, nil))}, people...)
	r.Stack = s
	parts := s.Parts
	for _, p := range s.Parts {
		var log strings.Builder
		health, err := daemon.Health(daemon.HealthOptions{Addr: "127.0.0.1:0"}, slog.New(slog.NewTextHandler(&log, nil)), p)
		if err != nil {
			t.Fatal(err)
		}
		r.health[p.Name] = strings.TrimSuffix(healthURL.FindString(log.String()), "/readyz")
		parts = append(parts, health)
	}
	stacktest.Run(t, parts...)
	return r
}

// scrape returns the metrics of a part.
func (r *running) scrape(t *testing.T, part string) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get(r.health[part] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", part, resp.Status, err, body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Fatalf("%s: %v", part, err)
	}
	return families
}

// series returns the labels of each series of a family, as text.
func series(f *dto.MetricFamily) []string {
	var all []string
	for _, m := range f.Metric {
		var labels []string
		for _, l := range m.Label {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		all = append(all, f.GetName()+"{"+strings.Join(labels, ",")+"}")
	}
	return all
}

// value returns the sum of a family's counters and gauges, and of the counts of its
// histograms, over the series with all the labels ("name=value").
func value(f *dto.MetricFamily, labels ...string) (sum float64) {
	for i, s := range series(f) {
		match := true
		for _, l := range labels {
			match = match && strings.Contains(s, l)
		}
		if m := f.Metric[i]; match {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}
