// Stress runs the tests of packages again and again beside a load, with 1, 2, 4 and 8
// processors in turn. A test fails here if it passes only on an idle machine, or only if
// two goroutines happen to come in one order.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

// processors are what -test.cpu is set to, in turn.
var processors = []int{1, 2, 4, 8}

// few are the packages that start processes or worlds of their own, minutes of them:
// a quarter of the rounds has to do.
var few = []string{"internal/test/e2e", "internal/test/sim", "internal/test/browser", "deploy/nats"}

// options are the flags.
type options struct {
	rounds, load int
	limit        time.Duration
	race         bool
	tests        string
	logs         string
}

// pkg is a package with tests, and their result.
type pkg struct {
	path, dir string
	rounds    int // that it is to have
	ran       int
	failed    int
	took      time.Duration
	err       error // it could not be built
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", rounds(os.Getenv("STRESS_ROUNDS")), "how often each package's tests run; STRESS_ROUNDS, else 20; a quarter for "+strings.Join(few, ", "))
	flag.IntVar(&o.load, "load", runtime.NumCPU(), "how many loops take processor time meanwhile")
	flag.DurationVar(&o.limit, "limit", 10*time.Minute, "the longest that a round may take")
	flag.BoolVar(&o.race, "race", false, "build the tests with the race detector")
	flag.StringVar(&o.tests, "run", "", "the tests to run, as go test -run takes them")
	flag.StringVar(&o.logs, "logs", "", "the folder that the logs of what failed are put into; a new temporary one if empty")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := stress(ctx, os.Stdout, o, patterns)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stress:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// rounds reads STRESS_ROUNDS.
func rounds(text string) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	return 20
}

// stress runs everything and writes the table. ok is false if something failed.
func stress(ctx context.Context, w io.Writer, o options, patterns []string) (ok bool, err error) {
	pkgs, err := list(ctx, o.rounds, patterns)
	if err != nil {
		return false, err
	}
	bin, err := os.MkdirTemp("", "stress-bin-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(bin)
	if o.logs == "" {
		o.logs, err = os.MkdirTemp("", "stress-logs-")
	} else {
		err = os.MkdirAll(o.logs, 0o755)
	}
	if err != nil {
		return false, err
	}
	defer os.Remove(o.logs) // only if nothing is in it
	ok = true
	for _, p := range pkgs {
		if ctx.Err() != nil {
			break
		}
		p.run(ctx, w, o, filepath.Join(bin, "a.test"))
		ok = ok && p.failed == 0 && p.err == nil
		fmt.Fprintf(os.Stderr, "%s: %d rounds, %d failures, %s\n", p.path, p.ran, p.failed, p.took.Round(time.Second))
	}
	table(w, pkgs)
	return ok && ctx.Err() == nil, ctx.Err()
}

// list returns the packages that have tests.
func list(ctx context.Context, rounds int, patterns []string) ([]*pkg, error) {
	args := append([]string{"list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}"}, patterns...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var pkgs []*pkg
	for line := range strings.Lines(string(out)) {
		path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		p := &pkg{path: path, dir: dir, rounds: rounds}
		if slices.ContainsFunc(few, func(s string) bool { return strings.HasSuffix(path, "/"+s) }) {
			p.rounds = max(1, rounds/4)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs, nil
}

// run builds the package's tests and runs them beside the load.
func (p *pkg) run(ctx context.Context, w io.Writer, o options, binary string) {
	args := []string{"test", "-c", "-o", binary}
	if o.race {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(ctx, "go", append(args, p.path)...).CombinedOutput(); err != nil {
		p.err = fmt.Errorf("%w\n%s", err, out)
		fmt.Fprintf(w, "%s: its tests cannot be built: %v\n", p.path, p.err)
		return
	}
	stop := burn(o.load)
	defer stop()
	for i := range p.rounds {
		n := processors[i%len(processors)]
		began := time.Now()
		log, err := round(ctx, p.dir, binary, n, o)
		if ctx.Err() != nil {
			return // what ended with us tells nothing
		}
		p.took += time.Since(began)
		p.ran++
		if err == nil {
			continue
		}
		p.failed++
		file := filepath.Join(o.logs, fmt.Sprintf("%s-%d-cpu%d.log", strings.ReplaceAll(p.path, "/", "_"), i+1, n))
		if werr := os.WriteFile(file, log, 0o644); werr != nil {
			err = errors.Join(err, werr)
		}
		fmt.Fprintf(w, "FAIL %s, round %d, -test.cpu %d: %s (%v)\n%s  the whole log: %s\n", p.path, i+1, n, strings.Join(failures(log), ", "), err, excerpt(log, 20), file)
	}
}

// round runs the tests once. All processes that they start end with them.
func round(ctx context.Context, dir, binary string, cpu int, o options) ([]byte, error) {
	args := []string{"-test.cpu", strconv.Itoa(cpu), "-test.timeout", o.limit.String()}
	if o.tests != "" {
		args = append(args, "-test.run", o.tests)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = end
	// A child that was left behind holds the pipe open.
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	end()
	return log.Bytes(), err
}

// burn takes the time of n processors until it is stopped.
func burn(n int) (stop func()) {
	before := runtime.GOMAXPROCS(n + 2)
	var done atomic.Bool
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !done.Load() {
			}
		})
	}
	return func() {
		done.Store(true)
		all.Wait()
		runtime.GOMAXPROCS(before)
	}
}

var failLine = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// failures returns the names of the tests that failed, of each the innermost: the
// one around it failed by it.
func failures(log []byte) []string {
	var names []string
	for _, m := range failLine.FindAllSubmatch(log, -1) {
		names = append(names, string(m[1]))
	}
	names = slices.DeleteFunc(names, func(outer string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, outer+"/") })
	})
	if len(names) == 0 {
		return []string{"no test by name"}
	}
	return slices.Compact(names)
}

// excerpt returns up to n lines of the log from the first failure on, indented.
func excerpt(log []byte, n int) string {
	at := 0
	if m := regexp.MustCompile(`(?m)^(\s*--- FAIL|panic:|fatal error:|WARNING: DATA RACE)`).FindIndex(log); m != nil {
		at = m[0]
	}
	var b strings.Builder
	for line := range strings.Lines(string(log[at:])) {
		if n--; n < 0 {
			break
		}
		b.WriteString("  | " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// table writes what came of the packages.
func table(w io.Writer, pkgs []*pkg) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "rounds\tfailures\tseconds\t  package")
	for _, p := range pkgs {
		failed := strconv.Itoa(p.failed)
		if p.err != nil {
			failed = "not built"
		}
		fmt.Fprintf(t, "%d\t%s\t%.1f\t  %s\n", p.ran, failed, p.took.Seconds(), p.path)
	}
	t.Flush()
}
