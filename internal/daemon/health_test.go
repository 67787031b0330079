package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/daemon"
)

// TestANoteIsSaidAndReadinessStaysGreen: what works in another way than it should is said
// where an operator looks, and takes no replica out of its place.
func TestANoteIsSaidAndReadinessStaysGreen(t *testing.T) {
	var log strings.Builder
	var red error
	part := daemon.Part{
		Name:  "bridge",
		Ready: []daemon.Check{func(context.Context) error { return red }},
		Notes: []daemon.Check{func(context.Context) error { return errors.New("by the queues alone") }, func(context.Context) error { return nil }},
	}
	health, err := daemon.Health(daemon.HealthOptions{Addr: "127.0.0.1:0"}, slog.New(slog.NewTextHandler(&log, nil)), part)
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`http://\S+/readyz`).FindString(log.String())
	drain, done := make(chan struct{}), make(chan error)
	go func() { done <- health.Run(t.Context(), drain) }()
	defer func() {
		close(drain)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		red    error
		status int
		says   string
	}{{nil, 200, "ready; by the queues alone"}, {errors.New("nats is CLOSED"), 503, "nats is CLOSED"}} {
		red = c.red
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || got["bridge"] != c.says {
			t.Errorf("answered %d %q, %v, want %d %q", resp.StatusCode, got, err, c.status, c.says)
		}
	}
	resp, err := http.Get(strings.Replace(url, "/readyz", "/metrics", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !regexp.MustCompile(`(?m)^gas_build_info\{goversion="go1\.[^"]+",revision="[^"]*",version="[^"]+"\} 1$`).Match(metrics) {
		t.Errorf("the metrics do not tell which build runs: %v\n%s", err, metrics)
	}
}
