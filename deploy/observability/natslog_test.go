package observability_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/demo"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// TestAnOutageOfNATSHasFewLinesInTheLog takes NATS away while files come back, for long enough
// that each connection tries many times, and counts the lines that an operator reads.
func TestAnOutageOfNATSHasFewLinesInTheLog(t *testing.T) {
	t.Parallel()
	const (
		files = 40
		away  = 12 * time.Second
		free  = "127.0.0.1:0"
	)
	addrs := testenv.FreeAddrs(t, 2)
	s, err := stack.Start(t.Context(), stack.Options{
		Dir: t.TempDir(), Only: []string{stack.AWS, stack.NATS, stack.IDP}, Store: stack.InVault, ExpeditedDelay: time.Second,
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: addrs[0], WebhookAddr: addrs[1],
	}, []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: files, Size: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nats := newPlug(t, strings.TrimPrefix(s.NATS.ClientURL(), "nats://"))
	cfg := s.Config
	cfg.NATSURL = "nats://" + nats.addr
	key, secret := s.AWS.Credentials()
	log := &testlog.Lines{}
	var parts []daemon.Part
	for name, build := range map[config.Service]func(context.Context, wiring.Env) (daemon.Part, error){
		config.Bridge: wiring.Bridge, config.Thaw: wiring.Thaw, config.Restore: wiring.Restore, config.Web: wiring.Web,
	} {
		part, err := build(t.Context(), wiring.Env{
			Config: cfg, AWS: awsclient.Options{Region: s.AWS.Region(), Endpoint: s.AWS.Endpoint(), AccessKey: key, SecretKey: secret},
			Log: slog.New(slog.NewTextHandler(log, nil)).With("service", string(name)),
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parts = append(parts, part)
	}
	stacktest.Run(t, parts...)

	if err := demo.Subscribe(t.Context(), cfg.WebBaseURL, "fern"); err != nil {
		t.Fatal(err)
	}
	within, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seen := func(state archive.State, n int) {
		t.Helper()
		jobs := map[events.JobID]bool{}
		for e := range s.Bus.FollowStatus(within, "fern", events.Position{}) {
			if e.State == state {
				jobs[e.JobID] = true
			}
			if len(jobs) >= n {
				return
			}
		}
		t.Fatalf("%d of %d files are %s", len(jobs), n, state)
	}
	seen(archive.Requested, 1)
	nats.pull()
	if err := wait.For(t.Context(), away); err != nil {
		t.Fatal(err)
	}
	nats.push()
	seen(archive.Restored, files)
	var loud []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			loud = append(loud, line)
		}
	}
	// One for each of the five connections, and for each kind of work that needs it.
	if most := 40; len(loud) > most || len(loud) < 5 {
		t.Errorf("%d lines, want 5 to %d:\n%s", len(loud), most, strings.Join(loud, ""))
	}
	t.Logf("%d lines about %s", len(loud), away)
}
