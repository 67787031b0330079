package observability_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/demo"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/pkg/events"
)

// TestATraceFollowsOneFileFromTheUpgradeToTheBytes follows parents, and links where hours lie
// in between, and prints the spans as a tree.
func TestATraceFollowsOneFileFromTheUpgradeToTheBytes(t *testing.T) {
	memory := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(memory))
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	r := start(t, []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 1, Size: 1000}}, stack.InVault)
	if err := demo.Subscribe(t.Context(), r.Config.WebBaseURL, "fern"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for e := range r.Bus.FollowStatus(ctx, "fern", events.Position{}) {
		if e.State == archive.Restored {
			break
		}
	}
	// The last spans end after the status.
	var lines []string
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	steps := []string{
		"web POST /subscribe", "aws SNS Publish", "bridge take premium message", "thaw-plan thaw-plan", "thaw-request thaw-request", "aws Glacier InitiateJob",
		"restore restore", "restore fetch", "aws Glacier GetJobOutput", "restore put", "aws S3 PutObject", "restore release", "aws Glacier DeleteArchive", "restore clear", "restore tell",
	}
	missing := steps
	for len(missing) > 0 && ctx.Err() == nil {
		<-tick.C
		lines = tree(memory.GetSpans(), "POST /subscribe")
		missing = slices.DeleteFunc(slices.Clone(steps), func(step string) bool {
			return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, step) })
		})
	}
	t.Logf("one file:\n%s", strings.Join(lines, "\n"))
	if len(missing) > 0 {
		t.Errorf("the trace lacks %q", missing)
	}
	if !strings.Contains(r.log.String(), "msg=restored service=restore trace_id=") {
		t.Errorf("the log of the restored file has no trace:\n%s", r.log)
	}
}

// tree returns the spans below the first one with the name, with those that link to them.
func tree(spans tracetest.SpanStubs, root string) (lines []string) {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return cmp.Compare(a.StartTime.UnixNano(), b.StartTime.UnixNano()) })
	children := map[trace.SpanID][]tracetest.SpanStub{}
	later := map[trace.TraceID][]tracetest.SpanStub{} // the roots of traces that link to a trace
	for _, s := range spans {
		children[s.Parent.SpanID()] = append(children[s.Parent.SpanID()], s)
		for _, l := range s.Links {
			for _, first := range spans {
				if first.SpanContext.TraceID() == s.SpanContext.TraceID() && !first.Parent.IsValid() {
					later[l.SpanContext.TraceID()] = append(later[l.SpanContext.TraceID()], first)
				}
			}
		}
	}
	var begin time.Time
	var add func(s tracetest.SpanStub, depth int, how string)
	add = func(s tracetest.SpanStub, depth int, how string) {
		service := strings.TrimPrefix(s.InstrumentationScope.Name, "gas/")
		lines = append(lines, fmt.Sprintf("%s%s%s %s  +%s %s", strings.Repeat("  ", depth), how, service, s.Name, s.StartTime.Sub(begin).Round(time.Millisecond), s.EndTime.Sub(s.StartTime).Round(100*time.Microsecond)))
		for _, c := range children[s.SpanContext.SpanID()] {
			add(c, depth+1, "")
		}
	}
	for _, s := range spans {
		if s.Name != root {
			continue
		}
		begin = s.StartTime
		add(s, 0, "")
		for _, l := range later[s.SpanContext.TraceID()] {
			add(l, 1, "later: ")
		}
		break
	}
	return lines
}
