package wiring

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/version"
)

// traceEnd bounds the time in which the last spans are sent.
const traceEnd = 5 * time.Second

// Traces sends the service's traces to the collector that OpenTelemetry's own variables name,
// until stop. It does so only if OTEL_TRACES_EXPORTER is otlp: without it, nothing is measured.
func Traces(ctx context.Context, service config.Service) (stop func(), err error) {
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "", "none":
		return func() {}, nil
	case "otlp":
	default:
		return nil, config.Fault{Variable: "OTEL_TRACES_EXPORTER", Problem: fmt.Sprintf("%q is neither otlp nor none", exporter)}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" && p != "http/protobuf" {
			return nil, config.Fault{Variable: name, Problem: fmt.Sprintf("%q is not http/protobuf", p)}
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, config.Fault{Variable: "OTEL_EXPORTER_OTLP_ENDPOINT", Problem: err.Error()}
	}
	of, err := resource.Merge(resource.NewSchemaless(attribute.String("service.name", "gas-"+string(service)), attribute.String("service.version", version.Read().Version)), resource.Environment())
	if err != nil {
		return nil, config.Fault{Variable: "OTEL_RESOURCE_ATTRIBUTES", Problem: err.Error()}
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))
	otel.SetTracerProvider(provider)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), traceEnd)
		defer cancel()
		_ = provider.Shutdown(ctx) // the last spans may be lost with their collector
	}, nil
}
