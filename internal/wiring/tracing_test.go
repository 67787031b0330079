package wiring

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/trace"
)

func TestTracesGoToTheCollectorThatTheEnvironmentNames(t *testing.T) {
	before := otel.GetTracerProvider()
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	paths := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	step := func() {
		_, s := trace.Start(t.Context(), "thaw", "request")
		s.Done(nil)
	}
	for _, off := range []string{"", "none"} {
		t.Setenv("OTEL_TRACES_EXPORTER", off)
		stop, err := Traces(t.Context(), config.Thaw)
		if err != nil {
			t.Fatal(err)
		}
		step()
		stop()
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	stop, err := Traces(t.Context(), config.Thaw)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 0 {
		t.Error("spans were sent while no exporter was set")
	}
	step()
	stop()
	if len(paths) != 1 || <-paths != "/v1/traces" {
		t.Error("the collector did not get the span")
	}
	for name, wrong := range map[string]string{"OTEL_TRACES_EXPORTER": "jaeger", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, wrong)
			_, err := Traces(t.Context(), config.Thaw)
			if f, ok := err.(config.Fault); !ok || f.Variable != name {
				t.Errorf("got %v, want a fault of %s", err, name)
			}
		})
	}
}
