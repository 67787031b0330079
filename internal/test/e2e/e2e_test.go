// Package e2e runs the real binaries as processes of their own.
package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
)

// process is a running binary.
type process struct {
	*exec.Cmd
	name string
	log  *testlog.Lines
}

type fixture struct {
	t   *testing.T
	bin string
	env []string
}

// binDir has the binaries, once they are built.
var binDir string

func TestMain(m *testing.M) {
	testenv.ServeNATS()
	testenv.SideBySide(4)
	dir, err := os.MkdirTemp("", "gas-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "build", "-o", binDir, "github.com/gas-restore/gas/cmd/...").CombinedOutput()
	return string(out), err
})

// binaries builds all commands, once for all tests, and returns their folder.
func binaries(t *testing.T) string {
	t.Helper()
	if out, err := build(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binDir
}

func (w *fixture) start(name string, args ...string) *process {
	w.t.Helper()
	p := &process{Cmd: exec.Command(filepath.Join(w.bin, name), args...), name: name, log: &testlog.Lines{}}
	p.Stdout, p.Stderr, p.Env = p.log, p.log, w.env
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		if w.t.Failed() {
			lines := strings.Split(p.log.String(), "\n")
			w.t.Logf("%s wrote, at the end:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
	return p
}

// until asks every 50 ms until ok says so.
func until(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within the time", what)
		case <-tick.C:
		}
	}
}

func environment(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	vars := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			t.Fatalf("%s: %q is no KEY=VALUE", file, lines.Text())
		}
		vars[k] = v
	}
	return vars
}

// TestKilledWorkersLoseAndDoubleNothing runs two thaws and two restores on one
// upgrade and kills one of each in the middle. GAS_E2E_FILES sets how many files.
func TestKilledWorkersLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	files := setting(t, "GAS_E2E_FILES", 240)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	l := up(t, ctx, "aws,nats,idp", "--tier-delay", "3s", "--files", strconv.Itoa(files), "--size", "20KiB",
		"--webhook-addr", "127.0.0.1:18081", "--web-addr", "127.0.0.1:18080")
	jobs := l.archived("fern")
	for _, name := range []string{"bridge", "web", "thaw", "restore"} {
		l.start(name)
	}
	thaw2, restore2 := l.start("thaw"), l.start("restore")
	for _, p := range []*process{thaw2, restore2} {
		l.started(p)
	}
	check := l.start("gas", "check")
	if err := check.Wait(); err != nil {
		t.Fatalf("gas check: %v\n%s", err, check.log)
	}
	l.upgrade("fern")
	until(t, ctx, "half of the retrievals", func() bool { return l.counts()["glacier.InitiateJob"] >= files/2 })
	thaw2.Process.Kill()
	until(t, ctx, "a third of the files", func() bool { return l.counts()["glacier.DeleteArchive"] >= files/3 })
	restore2.Process.Kill()

	b := l.bus()
	until(t, ctx, "every file to be restored", func() bool {
		// Deletions are no measure: one that was in flight when its worker was killed is done again.
		if l.left("fern") > 0 {
			return false
		}
		n, err := pending(ctx, b)
		return err == nil && n == 0
	})

	// The one in flight when the worker was killed may have been asked twice over
	// the wire; Glacier must know of one job an archive.
	asked := l.counts()["glacier.InitiateJob"]
	if asked < files || asked > files+1 {
		t.Errorf("%d InitiateJob calls for %d files", asked, files)
	}
	got := l.compare(jobs)
	dead := letters(t, ctx, b)
	summary := fmt.Sprintf("%d files: %d InitiateJob, %d wrong, %d archives retrieved, %d doubles, %d dead letters",
		len(jobs), asked, got.wrong, got.retrieved, got.doubles, dead)
	t.Log(summary)
	if len(jobs) != files || got != (outcome{retrieved: files}) || dead != 0 {
		t.Error(summary)
	}
}
