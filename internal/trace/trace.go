// Package trace follows one piece of work through the services, with OpenTelemetry. A trace
// goes with messages in the form of W3C Trace Context. While nobody collects traces
// (OTEL_TRACES_EXPORTER is not set), everything here does nothing.
package trace

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Key is the name of the header or the attribute that carries a trace.
const Key = "traceparent"

// Span is a step of a piece of work. End it.
type Span struct{ trace.Span }

// Start begins a step of the service. It is a part of the step that ctx belongs to.
func Start(ctx context.Context, service, name string) (context.Context, Span) {
	ctx, span := otel.Tracer("gas/"+service).Start(ctx, name)
	return ctx, Span{span}
}

// Child is [Start] if ctx belongs to a step. Otherwise it begins nothing: a call that nobody
// waits for is no trace of its own.
func Child(ctx context.Context, service, name string) (context.Context, Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, Span{trace.SpanFromContext(context.Background())}
	}
	return Start(ctx, service, name)
}

// Done ends the step, with its error if there is one.
func (s Span) Done(err error) {
	if err != nil {
		s.SetStatus(codes.Error, err.Error())
	}
	s.End()
}

// Of returns the step that ctx belongs to, for a header or an attribute; empty if there is none.
func Of(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[Key]
}

// In returns a context that belongs to the step of another process. If parent is empty or
// cannot be read, it is ctx.
func In(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Key: parent})
}

// Link says that the step of ctx goes on with the work of another one, which ended hours ago.
func Link(ctx context.Context, earlier string) {
	if of := trace.SpanContextFromContext(In(context.Background(), earlier)); of.IsValid() {
		trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: of})
	}
}

// Log returns a log with the ids of the step that ctx belongs to.
func Log(ctx context.Context, log *slog.Logger) *slog.Logger {
	of := trace.SpanContextFromContext(ctx)
	if !of.IsValid() {
		return log
	}
	return log.With("trace_id", of.TraceID().String(), "span_id", of.SpanID().String())
}
