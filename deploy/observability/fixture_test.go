// Package observability_test checks what a person on call relies on: the metrics, the rules
// and their pages, and the dashboard.
package observability_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
)

// running is the whole pipeline on this machine. Each part has its own health address, as a
// process of its own would have.
type running struct {
	*stack.Stack
	// health has the URL of each part.
	health map[string]string
	log    *lines
}

// lines collects a log.
type lines struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var healthURL = regexp.MustCompile(`http://\S+/readyz`)

// start runs the pipeline until the test ends.
func start(t *testing.T, people []stack.Person, store stack.Store) *running {
	t.Helper()
	r := &running{health: map[string]string{}, log: &lines{}}
	const free = "127.0.0.1:0"
	s, err := stack.Start(t.Context(), stack.Options{
		Dir: t.TempDir(), Store: store, ExpeditedDelay: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: free, WebhookAddr: free,
	}, people)
	if err != nil {
		t.Fatal(err)
	}
	r.Stack = s
	parts := s.Parts
	for _, p := range s.Parts {
		var log strings.Builder
		health, err := daemon.Health(daemon.HealthOptions{Addr: free}, slog.New(slog.NewTextHandler(&log, nil)), p)
		if err != nil {
			t.Fatal(err)
		}
		r.health[p.Name] = strings.TrimSuffix(healthURL.FindString(log.String()), "/readyz")
		parts = append(parts, health)
	}
	stopper, ctx := daemon.NewStopper(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, stopper, 10*time.Second, parts...) }()
	t.Cleanup(func() {
		stopper.Stop(10 * time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
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
