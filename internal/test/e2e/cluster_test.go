package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// TestFilesComeBackWhileTheLeadersAreKilled runs the services on three NATS
// servers and kills, one after another, whichever leads the stream that is worked
// on. GAS_CLUSTER_FILES and GAS_CLUSTER_KILLS make it long.
func TestFilesComeBackWhileTheLeadersAreKilled(t *testing.T) {
	t.Parallel()
	files, kills := setting(t, "GAS_CLUSTER_FILES", 120), setting(t, "GAS_CLUSTER_KILLS", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute+time.Duration(files/5)*time.Second)
	defer cancel()
	c := testenv.StartCluster(t, filepath.Join("..", "..", "..", "deploy", "nats", "nats.conf"))
	op := c.Bus("operator")

	l := up(t, ctx, "aws,idp", "--tier-delay", "3s", "--files", strconv.Itoa(files), "--size", "20KiB", "--webhook-addr", "127.0.0.1:18082")
	l.env = append(l.env, "GAS_NATS_URL="+c.URL, "GAS_NATS_CA_FILE="+c.CAFile, "GAS_NATS_REPLICAS=3")
	for _, u := range []string{"bridge", "thaw", "restore", "sweep", "web", "operator"} {
		l.env = append(l.env, "GAS_NATS_"+strings.ToUpper(u)+"_PASSWORD=secret-"+u)
	}
	jobs := l.archived("fern")
	var services []*process
	for _, name := range []string{"bridge", "thaw", "thaw", "restore", "restore"} {
		services = append(services, l.start(name))
	}
	for _, p := range services {
		l.started(p)
	}
	l.call("POST", "refusal?p=0.3", "")
	began := time.Now()
	l.upgrade("fern")

	killed := 0
	for left := files; left > 0; left = l.left("fern") {
		if killed < kills {
			stream := []string{events.StreamRestore, events.StreamThaw}[killed%2]
			i := c.Leader(ctx, op.JS, stream)
			if i < 0 {
				continue
			}
			c.Kill(i)
			killed++
			wait.For(ctx, time.Second)
			c.Start(i)
			until(t, ctx, "the cluster to be whole", func() bool { return c.Whole(ctx, op.JS) })
		}
		if ctx.Err() != nil {
			t.Fatalf("%d files are still archived", left)
		}
		wait.For(ctx, 500*time.Millisecond)
	}
	took := time.Since(began)
	// A server that was just killed does not answer at once.
	until(t, ctx, "the streams to be empty", func() bool {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		n, err := pending(try, op)
		return err == nil && n == 0
	})

	got := l.compare(jobs)
	dead := letters(t, ctx, op)
	summary := fmt.Sprintf("%d files, %d leaders killed, %s: %d wrong, %d archives retrieved, %d doubles, %d dead letters",
		len(jobs), killed, took.Round(time.Second), got.wrong, got.retrieved, got.doubles, dead)
	t.Log(summary)
	if len(jobs) != files || got != (outcome{retrieved: files}) || dead != 0 || killed == 0 {
		t.Error(summary)
	}
}
