package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// options are the flags.
type options struct {
	sample int // of each package; 0 for all
	seed   uint64
	jobs   int
	limit  time.Duration // of a suite; 0 for what its first run suggests
	seeds  int           // of internal/test/sim
	own    bool          // no suites but each package's own
	also   []string      // suites beside each package's own and its usual ones
	list   []equivalent
	log    func(format string, args ...any)
}

// suites are the packages that test another package too, beside its own tests: the users
// of an adapter test the adapter.
var suites = map[string][]string{
	"internal/archive":      {"internal/thaw", "internal/restore", "internal/reconcile"},
	"internal/aws/dynamodb": {"internal/thaw", "internal/restore", "internal/reconcile", "internal/web"},
}

// target is a package that is mutated.
type target struct {
	name       string // within the module
	ImportPath string
	Dir        string
	GoFiles    []string
	Module     struct{ Path, Dir string }
}

func find(ctx context.Context, pattern string) (target, error) {
	var t target
	if !strings.HasPrefix(pattern, ".") && !filepath.IsAbs(pattern) {
		pattern = "./" + pattern
	}
	out, err := goTool(ctx, "", "list", "-json=ImportPath,Dir,GoFiles,Module", pattern)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(out, &t); err != nil {
		return t, fmt.Errorf("%s is not one package: %w", pattern, err)
	}
	t.name = strings.TrimPrefix(t.ImportPath, t.Module.Path+"/")
	return t, nil
}

// goTool runs the go command in dir.
func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

// suite is a test binary that may kill.
type suite struct {
	pkg, dir string // the package's import path, and where its tests run
	args     []string
	env      []string
	limit    time.Duration
	took     time.Duration // without a mutation
	// covered is what its tests reach of the package; nil if that is not known.
	covered coverage
}

// reaches tells whether the suite may notice the mutation.
func (s suite) reaches(m mutation) bool {
	return s.covered == nil || s.covered.reaches(m.file, m.line, m.column)
}

// mutations returns the package's mutations, and its files by their names.
func (t target) mutations() ([]mutation, map[string][]byte, error) {
	var ms []mutation
	sources := map[string][]byte{}
	for _, name := range t.GoFiles {
		src, err := os.ReadFile(filepath.Join(t.Dir, name))
		if err != nil {
			return nil, nil, err
		}
		sources[name] = src
		found, err := mutationsOf(name, src)
		if err != nil {
			return nil, nil, err
		}
		ms = append(ms, found...)
	}
	return ms, sources, nil
}

// mutate tries the package's mutations.
func (t target) mutate(ctx context.Context, o options) ([]result, error) {
	ms, sources, err := t.mutations()
	if err != nil {
		return nil, err
	}
	proofs, err := match(t.name, ms, o.list)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	all, err := t.baseline(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	o.log("%s: %d mutations, the tests pass without any in %s", t.name, len(ms), time.Since(began).Round(time.Second))

	results := make([]result, len(ms))
	var open []int
	for i, m := range ms {
		results[i] = result{mutation: m, outcome: notSampled}
		switch why, ok := proofs[i]; {
		case ok:
			results[i].outcome, results[i].by = equal, why
		case !slices.ContainsFunc(all, func(s suite) bool { return s.covered != nil && s.reaches(m) }):
			results[i].outcome = notReached
		default:
			open = append(open, i)
		}
	}
	chance := rand.New(rand.NewPCG(o.seed, 0))
	chance.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	want := len(open)
	if o.sample > 0 {
		want = min(o.sample, want)
	}
	var mu sync.Mutex // guards tried
	tried := 0
	for tried < want && len(open) > 0 {
		// Another takes the place of what does not compile.
		next := open[:min(want-tried, len(open))]
		open = open[len(next):]
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(max(1, o.jobs))
		for _, i := range next {
			g.Go(func() error {
				if gctx.Err() != nil {
					return gctx.Err()
				}
				r, err := t.try(gctx, sources[ms[i].file], ms[i], all)
				if err != nil {
					return err
				}
				results[i] = r
				mu.Lock()
				defer mu.Unlock()
				if r.outcome != notBuilt {
					tried++
				}
				o.log("%s: %d of %d: %s: %s %s", t.name, tried, want, r.mutation, outcomeNames[r.outcome], r.by)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return results, err
		}
	}
	return results, nil
}

var outcomeNames = map[outcome]string{notBuilt: "does not compile", killed: "killed by", timedOut: "timed out in", survived: "SURVIVED"}

// baseline runs the suites without a mutation, and returns them, the package's own first and then
// the quick ones.
func (t target) baseline(ctx context.Context, dir string, o options) ([]suite, error) {
	names, more := []string{t.name}, suites[t.name]
	if o.own {
		more = nil
	}
	for _, s := range slices.Concat(more, o.also) {
		if !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	var all []suite
	for i, name := range names {
		tests := t.Module.Path + "/" + name
		s := suite{pkg: tests, dir: filepath.Join(t.Module.Dir, name), limit: o.limit}
		binary := filepath.Join(dir, fmt.Sprintf("baseline-%d.test", i))
		if _, err := goTool(ctx, t.Module.Dir, "test", "-c", "-cover", "-covermode=set", "-coverpkg="+t.ImportPath, "-o", binary, tests); err != nil {
			return nil, err
		}
		if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
			continue // it has no tests
		}
		profile := filepath.Join(dir, fmt.Sprintf("%d.cover", i))
		began := time.Now()
		out, err := s.run(ctx, binary, "-test.coverprofile="+profile)
		if err != nil {
			return nil, fmt.Errorf("the tests of %s fail without a mutation: %w\n%s", name, err, out)
		}
		if s.took = time.Since(began); s.limit <= 0 {
			s.limit = 30*time.Second + 4*s.took
		}
		if s.covered, err = readCoverage(profile); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b suite) int {
		others := func(s suite) int {
			if s.pkg == t.ImportPath {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(others(a), others(b)), cmp.Compare(a.took, b.took))
	})
	if o.seeds > 0 {
		sim := t.Module.Path + "/internal/test/sim"
		all = append(all, suite{
			pkg: sim, dir: filepath.Join(t.Module.Dir, "internal/test/sim"), args: []string{"-test.run=TestSeeds"},
			env: []string{"GAS_SIM_SEEDS=" + strconv.Itoa(o.seeds)}, limit: time.Minute + 15*time.Second*time.Duration(o.seeds),
		})
	}
	return all, nil
}

// run runs a test binary. All processes that it starts end with it, and none gets so much
// memory that a mutant could harm the machine.
func (s suite) run(ctx context.Context, binary string, args ...string) ([]byte, error) {
	defer tidy(s.dir)()
	args = slices.Concat([]string{"-c", `ulimit -v 16777216; exec "$0" "$@"`, binary}, s.args, args)
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
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
	return out.Bytes(), err
}

// tidy returns what removes the counterexamples that rapid keeps beside tests, but for those
// that are there now: a mutant's are of no use.
func tidy(dir string) func() {
	pattern := filepath.Join(dir, "testdata", "rapid", "*", "*.fail")
	before, _ := filepath.Glob(pattern) // its error is of a bad pattern
	return func() {
		after, _ := filepath.Glob(pattern)
		for _, file := range after {
			if !slices.Contains(before, file) {
				os.Remove(file)
				os.Remove(filepath.Dir(file)) // if it was the last one
				os.Remove(filepath.Dir(filepath.Dir(file)))
			}
		}
	}
}

// try builds each suite with the mutation and runs it, until one fails.
func (t target) try(ctx context.Context, src []byte, m mutation, all []suite) (result, error) {
	r := result{mutation: m, outcome: survived}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	changed, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(t.Dir, m.file): changed}})
	if err != nil {
		return r, err
	}
	if err := errors.Join(os.WriteFile(changed, m.apply(src), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return r, err
	}
	if _, err := goTool(ctx, t.Module.Dir, "build", "-overlay", overlay, t.ImportPath); err != nil {
		r.outcome = notBuilt
		return r, ctx.Err()
	}
	for _, s := range all {
		if !s.reaches(m) {
			continue
		}
		binary := filepath.Join(dir, "a.test")
		if _, err := goTool(ctx, t.Module.Dir, "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, s.pkg); err != nil {
			return r, err
		}
		// The test's own limit tells where it hangs; ours ends one that cannot even do that.
		limited, cancel := context.WithTimeout(ctx, s.limit+10*time.Second)
		out, err := s.run(limited, binary, "-test.failfast", "-test.timeout="+s.limit.String())
		late := limited.Err() != nil || bytes.Contains(out, []byte("panic: test timed out after"))
		cancel()
		switch {
		case ctx.Err() != nil:
			return r, ctx.Err()
		case err == nil:
			continue
		case late:
			r.outcome = timedOut
		default:
			r.outcome = killed
		}
		r.by = strings.TrimPrefix(s.pkg, t.Module.Path+"/")
		return r, nil
	}
	return r, nil
}
