package trace_test

import (
	"context"
	"testing"

	"github.com/gas-restore/gas/internal/trace"
)

// BenchmarkOff measures a step of a message while nobody collects traces.
func BenchmarkOff(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		ctx, step := trace.Start(trace.In(ctx, ""), "thaw", "request")
		if trace.Of(ctx) != "" {
			b.Fatal("there is a trace")
		}
		step.Done(nil)
	}
}

func TestWithoutACollectorThereIsNoTrace(t *testing.T) {
	ctx, step := trace.Start(t.Context(), "thaw", "request")
	defer step.Done(nil)
	if got := trace.Of(ctx); got != "" {
		t.Errorf("the step is %q, want none", got)
	}
	// Of gives back the step of another process. It gives nothing for text that it cannot read.
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct{ in, want string }{{good, good}, {"", ""}, {"x", ""}, {"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""}} {
		if got := trace.Of(trace.In(t.Context(), c.in)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}
