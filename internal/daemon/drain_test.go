package daemon_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/test/testlog"
)

func TestHealthAnswersUntilTheLastWorkIsDone(t *testing.T) {
	log, begun, finish := &testlog.Lines{}, make(chan struct{}), make(chan struct{})
	part := daemon.Part{Name: "slow", Run: func(_ context.Context, drain <-chan struct{}) error {
		close(begun)
		<-drain
		<-finish
		return nil
	}}
	code := make(chan int, 1)
	go func() {
		code <- daemon.Main("test", slog.New(slog.NewTextHandler(log, nil)), time.Minute, daemon.HealthOptions{Addr: "127.0.0.1:0", Profiles: true}, nil,
			func(context.Context, *slog.Logger) ([]daemon.Part, error) { return []daemon.Part{part}, nil })
	}()
	<-begun
	base := strings.TrimSuffix(regexp.MustCompile(`http://\S+/readyz`).FindString(log.String()), "/readyz")
	get := func(path string) (int, string) {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/debug/pprof/cmdline": 200} {
		if got, body := get(path); got != want {
			t.Errorf("%s before the stop: %d %s", path, got, body)
		}
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for status := 200; status == 200; {
		var body string
		if status, body = get("/readyz"); status != 200 && (status != 503 || !strings.Contains(body, "stopping")) {
			t.Errorf("/readyz while it stops: %d %s", status, body)
		}
	}
	if got, _ := get("/healthz"); got != 200 {
		t.Errorf("/healthz while it stops: %d", got)
	}
	close(finish)
	if got := <-code; got != daemon.ExitOK {
		t.Errorf("exit code %d", got)
	}
}

func TestAMistakeOfTheConfigurationEndsWithCode2(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	wrong := errors.New("GAS_X is wrong")
	for _, c := range []struct {
		config, build error
		want          int
	}{
		{wrong, nil, daemon.ExitUsage},
		{nil, daemon.Misconfigured{Err: wrong}, daemon.ExitUsage},
		{nil, errors.New("nats is away"), daemon.ExitFailure},
	} {
		got := daemon.Main("test", quiet, time.Second, daemon.HealthOptions{Addr: "127.0.0.1:0"}, c.config,
			func(context.Context, *slog.Logger) ([]daemon.Part, error) { return nil, c.build })
		if got != c.want {
			t.Errorf("%v, %v: code %d, want %d", c.config, c.build, got, c.want)
		}
	}
}
