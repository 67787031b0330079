// Stress runs the tests of packages again and again beside a load, with 1, 2, 4 and 8
// processors in turn. A test fails here if it passes only on an idle machine, or only if
// two goroutines happen to come in one order.
//
// More packages run at a time than there are processors, so each package is load for the
// others. Loops that do nothing else than take time replace them when the last packages run.
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
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// processors are what -test.cpu is set to, in turn.
var processors = []int{1, 2, 4, 8}

// few are the packages that start processes or worlds of their own, minutes of them:
// a quarter of the rounds has to do.
var few = []string{"internal/test/e2e", "internal/test/sim", "internal/test/browser", "deploy/nats"}

// options are the flags.
type options struct {
	rounds, load int
	atOnce       int
	limit        time.Duration
	race         bool
	tags         string // build tags; some packages have tests only under a tag
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
	flag.IntVar(&o.atOnce, "at-once", runtime.NumCPU()+2, "how many packages run at a time")
	flag.IntVar(&o.load, "load", runtime.NumCPU(), "how many others run beside each package: other packages, or loops that take processor time where fewer packages are left")
	flag.DurationVar(&o.limit, "limit", 10*time.Minute, "the longest that a round may take")
	flag.BoolVar(&o.race, "race", false, "build the tests with the race detector")
	flag.StringVar(&o.tags, "tags", "", "build tags, as go test takes them; a package runs only if it has tests under these tags")
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
	pkgs, err := list(ctx, o, patterns)
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
	out := &lines{w: w}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.load + 2)) // the loops must not hold us up
	beside := load{others: o.load}
	defer beside.end()
	var all errgroup.Group
	all.SetLimit(max(1, o.atOnce))
	// Those with few rounds take longest, so they begin first.
	order := slices.Clone(pkgs)
	slices.SortStableFunc(order, func(a, b *pkg) int { return a.rounds - b.rounds })
	for i, p := range order {
		all.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			p.run(ctx, out, &beside, o, filepath.Join(bin, strconv.Itoa(i)+".test"))
			fmt.Fprintf(os.Stderr, "%s: %d rounds, %d failures, %s\n", p.path, p.ran, p.failed, p.took.Round(time.Second))
			return nil
		})
	}
	_ = all.Wait() // no function returns an error: a package keeps its own
	ok = !slices.ContainsFunc(pkgs, func(p *pkg) bool { return p.failed > 0 || p.err != nil })
	table(w, pkgs)
	return ok && ctx.Err() == nil, ctx.Err()
}

// list returns the packages that have tests.
func list(ctx context.Context, o options, patterns []string) ([]*pkg, error) {
	args := append([]string{"list", "-tags", o.tags, "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}"}, patterns...)
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
		p := &pkg{path: path, dir: dir, rounds: o.rounds}
		if slices.ContainsFunc(few, func(s string) bool { return strings.HasSuffix(path, "/"+s) }) {
			p.rounds = max(1, o.rounds/4)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs, nil
}

// run builds the package's tests and runs them beside the load.
func (p *pkg) run(ctx context.Context, w io.Writer, beside *load, o options, binary string) {
	args := []string{"test", "-c", "-tags", o.tags, "-o", binary}
	if o.race {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(ctx, "go", append(args, p.path)...).CombinedOutput(); err != nil {
		p.err = fmt.Errorf("%w\n%s", err, out)
		fmt.Fprintf(w, "%s: its tests cannot be built: %v\n", p.path, p.err)
		return
	}
	defer os.Remove(binary)
	beside.packages(1)
	defer beside.packages(-1)
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

// load makes loops take processor time where fewer packages run than a package needs beside it.
type load struct {
	others int // that run beside each package

	mu    sync.Mutex // guards what follows
	runs  int        // packages
	loops []context.CancelFunc
	all   sync.WaitGroup
}

// packages adds n to the packages that run.
func (l *load) packages(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs += n
	want := 0
	if l.runs > 0 {
		want = max(0, l.others-(l.runs-1))
	}
	for ; len(l.loops) > want; l.loops = l.loops[1:] {
		l.loops[0]()
	}
	for len(l.loops) < want {
		ctx, stop := context.WithCancel(context.Background())
		l.loops = append(l.loops, stop)
		l.all.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
}

// end waits until no loop takes time.
func (l *load) end() { l.all.Wait() }

// lines passes whole writes on, one at a time.
type lines struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
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
