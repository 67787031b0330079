package observability_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/demo"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/pkg/events"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../../docs/metrics.md"

// bounded are the labels that a metric may have. Each has a fixed list of values.
var bounded = []string{
	"aws_service", "class", "code", "consumer", "fallback", "finding", "action", "goversion", "kind", "limit", "operation", "outcome", "part",
	"reason", "revision", "route", "source", "stream", "tier", "user", "version", "what", "whole",
}

// TestTheMetricsKeepTheConventions runs the pipeline, brings files back, and compares the
// metrics before and after.
func TestTheMetricsKeepTheConventions(t *testing.T) {
	people := []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 8}, {ID: "moss", Name: "Moss", Role: archive.Free, Archived: 1}}
	r := start(t, people, stack.InBoth)
	before := map[string]bool{}
	families := map[string]*dto.MetricFamily{} // of all parts
	parts := slices.Sorted(maps.Keys(r.health))
	if want := []string{"bridge", "restore", "thaw", "web"}; !slices.Equal(parts, want) {
		t.Fatalf("parts %v, want %v", parts, want)
	}
	for _, part := range parts {
		for _, f := range r.scrape(t, part) {
			for _, s := range series(f) {
				before[part+" "+s] = true
			}
		}
	}

	if err := demo.Subscribe(t.Context(), r.Config.WebBaseURL, "fern"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	back := map[events.JobID]bool{}
	for e := range r.Bus.FollowStatus(ctx, "fern", events.Position{}) {
		if e.State == archive.Restored {
			back[e.JobID] = true
		}
		if len(back) == 8 {
			break
		}
	}
	if len(back) != 8 {
		t.Fatalf("%d of 8 files are back", len(back))
	}

	allowed := map[string]bool{}
	for _, l := range bounded {
		allowed[l] = true
	}
	for _, part := range parts {
		scraped := r.scrape(t, part)
		problems, err := promlint.NewWithMetricFamilies(slices.Collect(maps.Values(scraped))).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", part, p.Metric, p.Text)
		}
		for name, f := range scraped {
			if !strings.HasPrefix(name, "gas_") {
				continue // Go's and the process's own
			}
			if f.GetHelp() == "" || !strings.HasSuffix(f.GetHelp(), ".") {
				t.Errorf("%s: %s has the help %q, want a sentence", part, name, f.GetHelp())
			}
			if other := families[name]; other != nil && other.GetHelp() != f.GetHelp() {
				t.Errorf("%s has two helps: %q and %q", name, other.GetHelp(), f.GetHelp())
			}
			families[name] = f
			for _, m := range f.Metric {
				for _, l := range m.Label {
					if !allowed[l.GetName()] {
						t.Errorf("%s: %s has the label %q, which is not in the list of bounded labels", part, name, l.GetName())
					}
				}
			}
			for _, s := range series(f) {
				if !before[part+" "+s] {
					t.Errorf("%s: %s began with its first event: it must begin at 0", part, s)
				}
			}
		}
		if f := scraped["gas_aws_calls_total"]; f != nil && value(f, "operation=other") > 0 {
			t.Errorf("%s makes calls of AWS that wiring's list does not have: %v", part, f)
		}
	}
	thaw, restore, web, bridge := r.scrape(t, "thaw"), r.scrape(t, "restore"), r.scrape(t, "web"), r.scrape(t, "bridge")
	for _, c := range []struct {
		what string
		f    *dto.MetricFamily
		with []string
		want float64
	}{
		{"files that are back", restore["gas_restored_files_total"], nil, 8},
		{"files with a share of their tier's time", restore["gas_restored_tier_time_ratio"], nil, 7}, // one needs no retrieval
		{"sign-ins", web["gas_web_sign_ins_total"], []string{"outcome=ok"}, 1},
		{"upgrades", web["gas_web_requests_total"], []string{"route=POST /subscribe", "class=3xx"}, 1},
		{"upgrades in SQS", bridge["gas_bridge_received_total"], []string{"source=premium"}, 1},
		{"ages of upgrades", bridge["gas_bridge_message_age_seconds"], []string{"source=premium"}, 1},
		{"bridge ready", bridge["gas_ready"], []string{"part=bridge"}, 1},
		{"connections of thaw", thaw["gas_nats_connected"], nil, 2},
		{"dead letters", thaw["gas_stream_messages"], []string{"stream=DEAD"}, 0},
	} {
		if c.f == nil {
			t.Errorf("%s: no such metric", c.what)
		} else if got := value(c.f, c.with...); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	if last := value(restore["gas_restored_last_timestamp_seconds"]); time.Since(time.Unix(int64(last), 0)) > time.Hour {
		t.Errorf("the last file was restored at %v", last)
	}
	documented(t, families, parts, r)
}

// documented compares docs/metrics.md with the metrics.
func documented(t *testing.T, families map[string]*dto.MetricFamily, parts []string, r *running) {
	t.Helper()
	of := map[string][]string{}
	for _, part := range parts {
		for name := range r.scrape(t, part) {
			of[name] = append(of[name], part)
		}
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\nEach service has these at `/metrics` of `GAS_HEALTH_LISTEN`, beside those of Go and of the process. Every series is\n" +
		"there from the start, at 0. `go test ./deploy/observability -update` writes this page.\n\n| metric | type | labels | of | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		who := strings.Join(of[name], ", ")
		if len(of[name]) == len(parts) {
			who = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), strings.Join(labels, " "), who, f.GetHelp())
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := os.ReadFile(metricsPage); err != nil || string(page) != b.String() {
		t.Errorf("%s does not say what /metrics has (%v): go test ./deploy/observability -update", metricsPage, err)
	}
}
