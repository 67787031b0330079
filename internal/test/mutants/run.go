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
	"regexp"
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
	sample  int // of each package; 0 for all
	seed    uint64
	jobs    int
	limit   time.Duration  // of a run of some tests; 0 for what their first run suggests
	longest time.Duration  // longer tests do not run; 0 for all
	seeds   int            // of internal/test/sim
	alone   bool           // each mutation has a build of its own
	own     bool           // no suites but each package's own
	also    []string       // suites beside each package's own and its usual ones
	only    *regexp.Regexp // mutations that are tried; nil for all
	list    []equivalent
	log     func(format string, args ...any)
}

// suites are the packages that test another package too, beside its own tests: the users
// of an adapter test the adapter.
var suites = map[string][]string{
	"internal/archive":      {"internal/thaw", "internal/restore", "internal/reconcile"},
	"internal/gate":         {"internal/thaw"},
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

// mutations returns the package's mutations in their plain form.
func (t target) mutations() (ms []mutation, err error) {
	for _, name := range t.GoFiles {
		src, err := os.ReadFile(filepath.Join(t.Dir, name))
		if err != nil {
			return nil, err
		}
		found, err := mutationsOf(name, src)
		if err != nil {
			return nil, err
		}
		ms = append(ms, found...)
	}
	return ms, nil
}

// suite is the tests of a package.
type suite struct {
	pkg, dir string // the package's import path, and where its tests run
	// binary has every mutation behind the switch.
	binary string
	tests  []test // the quick ones first
	args   []string
	env    []string
}

// test is a top-level test, alone.
type test struct {
	name string
	took time.Duration
	seen []byte // by the number of the mutation: 1 where the test comes to its place; nil if that is not known
}

// quick is how long a test may take that tries each mistake outside of functions, for it
// may read a constant or a table directly.
const quick = 2 * time.Second

// reaches returns those tests that may notice a mutation.
func (s suite) reaches(m mutation, number int) (some []test) {
	for _, t := range s.tests {
		if t.seen == nil || t.seen[number] == 1 || m.global && (t.took < quick || len(m.probes) == 0) {
			some = append(some, t)
		}
	}
	return some
}

// job is what the tries of a package's mutations share.
type job struct {
	target
	options
	*checker
	schema
	dir    string
	ms     []mutation
	suites []suite // the package's own first
}

// builtAlone tells whether a mutation has a build of its own.
func (j *job) builtAlone(i int) bool { return j.unswitched[i] || j.options.alone }

// mutate tries the package's mutations.
func (t target) mutate(ctx context.Context, o options) (results []result, alone int, err error) {
	j := &job{target: t, options: o}
	if j.checker, err = newChecker(ctx, t); err != nil {
		return nil, 0, err
	}
	j.ms = j.switched()
	proofs, err := match(t.name, j.ms, o.list)
	if err != nil {
		return nil, 0, err
	}
	if j.dir, err = os.MkdirTemp("", "mutants-"); err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(j.dir)

	results = make([]result, len(j.ms))
	for i, m := range j.ms {
		results[i] = result{mutation: m, outcome: notSampled}
		if !j.builds(m) {
			results[i].outcome = notBuilt
		} else if why, ok := proofs[i]; ok {
			results[i].outcome, results[i].by = equal, why
		}
	}
	tried := func(i int) bool {
		return results[i].outcome == notSampled && (o.only == nil || o.only.MatchString(j.ms[i].String()))
	}
	if j.schema, err = j.schemaOf(j.ms, tried); err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := j.record(ctx); err != nil {
		return nil, 0, err
	}
	o.log("%s: %d mutations, the tests pass without any in %s", t.name, len(j.ms), time.Since(began).Round(time.Second))

	var open []int
	for i := range j.ms {
		if !tried(i) {
			continue
		}
		if !slices.ContainsFunc(j.suites, func(s suite) bool { return len(s.reaches(j.ms[i], i+1)) > 0 }) {
			results[i].outcome = notReached
			continue
		}
		open = append(open, i)
	}
	if o.sample > 0 {
		chance := rand.New(rand.NewPCG(o.seed, 0))
		chance.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
		open = open[:min(o.sample, len(open))]
	}
	var mu sync.Mutex // guards done and alone
	done := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, o.jobs))
	for _, i := range open {
		g.Go(func() error {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			began := time.Now()
			r, err := j.try(gctx, i)
			if err != nil {
				return err
			}
			results[i] = r
			mu.Lock()
			defer mu.Unlock()
			done++
			if j.builtAlone(i) {
				alone++
			}
			o.log("%s: %d of %d in %.1f s: %s: %s %s", t.name, done, len(open), time.Since(began).Seconds(), r.mutation, outcomeNames[r.outcome], r.by)
			return nil
		})
	}
	return results, alone, g.Wait()
}

var outcomeNames = map[outcome]string{killed: "killed by", timedOut: "timed out in", survived: "SURVIVED"}

// overlay writes files over those of the package, and returns the file that tells the go command so.
func (j *job) overlay(dir string, files map[string][]byte) (string, error) {
	replace := map[string]string{}
	for name, text := range files {
		replace[filepath.Join(j.Dir, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

// build makes the test binary of a package.
func (j *job) build(ctx context.Context, overlay, pkg, binary string) error {
	_, err := goTool(ctx, j.Module.Dir, "test", "-c", "-vet=off", "-ldflags=-w", "-overlay", overlay, "-o", binary, pkg)
	return err
}

// record builds the suites, and runs each of their tests alone without a mutation, to see how long
// it takes and which mutations it reaches.
func (j *job) record(ctx context.Context) error {
	names, more := []string{j.name}, suites[j.name]
	if j.own {
		more = nil
	}
	for _, s := range slices.Concat(more, j.also) {
		if !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	overlay, err := j.overlay(j.dir, j.files)
	if err != nil {
		return err
	}
	for i, name := range names {
		s := suite{pkg: j.Module.Path + "/" + name, dir: filepath.Join(j.Module.Dir, name), binary: filepath.Join(j.dir, fmt.Sprintf("%d.test", i))}
		if err := j.build(ctx, overlay, s.pkg, s.binary); err != nil {
			return err
		}
		if _, err := os.Stat(s.binary); errors.Is(err, os.ErrNotExist) {
			continue // it has no tests
		}
		if err := j.runAlone(ctx, &s); err != nil {
			return err
		}
		j.suites = append(j.suites, s)
	}
	if j.seeds > 0 {
		s := suite{
			pkg: j.Module.Path + "/internal/test/sim", dir: filepath.Join(j.Module.Dir, "internal/test/sim"), binary: filepath.Join(j.dir, "sim.test"),
			env: []string{"GAS_SIM_SEEDS=" + strconv.Itoa(j.seeds)}, tests: []test{{name: "TestSeeds", took: 3 * time.Second * time.Duration(j.seeds)}},
		}
		if err := j.build(ctx, overlay, s.pkg, s.binary); err != nil {
			return err
		}
		j.suites = append(j.suites, s)
	}
	return nil
}

// runAlone runs each test of a suite alone.
func (j *job) runAlone(ctx context.Context, s *suite) error {
	// A mutant's counterexample is of no use to anybody, and would make the next run another one.
	if _, err := s.run(ctx, s.binary, "-rapid.nofailfile", "-test.list=^$"); err == nil {
		s.args = []string{"-rapid.nofailfile"}
	}
	out, err := s.run(ctx, s.binary, "-test.list=.")
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", s.pkg, err, out)
	}
	for _, name := range strings.Fields(string(out)) {
		if !strings.HasPrefix(name, "Benchmark") {
			s.tests = append(s.tests, test{name: name})
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, j.jobs))
	for i := range s.tests {
		g.Go(func() error {
			t := &s.tests[i]
			seen := filepath.Join(j.dir, t.name+".seen")
			defer os.Remove(seen)
			if err := os.WriteFile(seen, make([]byte, len(j.ms)+1), 0o600); err != nil {
				return err
			}
			with := *s
			with.env = []string{"GAS_MUTANT_SEEN=" + seen}
			began := time.Now()
			out, err := with.run(gctx, s.binary, "-test.run=^"+t.name+"$", "-test.timeout=20m")
			if err != nil {
				return fmt.Errorf("%s of %s fails without a mutation: %w\n%s", t.name, s.pkg, err, out)
			}
			if t.took = time.Since(began); t.took > 5*time.Second {
				j.log("%s: %s of %s takes %.1f s", j.name, t.name, s.pkg, t.took.Seconds())
			}
			t.seen, err = os.ReadFile(seen)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if j.longest > 0 {
		s.tests = slices.DeleteFunc(s.tests, func(t test) bool { return t.took > j.longest })
	}
	slices.SortStableFunc(s.tests, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	return nil
}

// run runs a test binary. All processes that it starts end with it, and none gets so much
// memory that a mutant could harm the machine.
func (s suite) run(ctx context.Context, binary string, args ...string) ([]byte, error) {
	args = slices.Concat([]string{"-c", `ulimit -v 8388608; exec "$0" "$@"`, binary}, s.args, args)
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

// try runs the tests that come to the mutation's place, the quick ones first, until one fails.
func (j *job) try(ctx context.Context, i int) (result, error) {
	r := result{mutation: j.ms[i], outcome: survived}
	var overlay, binary string
	if j.builtAlone(i) {
		dir, err := os.MkdirTemp(j.dir, "alone-")
		if err != nil {
			return r, err
		}
		defer os.RemoveAll(dir)
		m := j.ms[i]
		if overlay, err = j.overlay(dir, map[string][]byte{m.file: m.apply(j.sources[m.file])}); err != nil {
			return r, err
		}
		binary = filepath.Join(dir, "a.test")
	}
	for _, s := range j.suites {
		tests := s.reaches(j.ms[i], i+1)
		if len(tests) == 0 {
			continue
		}
		file := s.binary
		if j.builtAlone(i) {
			file = binary
			if err := j.build(ctx, overlay, s.pkg, file); err != nil {
				return r, err
			}
		}
		s.env = append(slices.Clone(s.env), "GAS_MUTANT="+strconv.Itoa(i+1))
		for budget := firstBatch; len(tests) > 0; budget *= 2 {
			n, usual := batch(tests, budget)
			var err error
			if r.outcome, r.by, err = j.some(ctx, s, file, tests[:n], usual); err != nil || r.outcome != survived {
				r.by = strings.TrimPrefix(s.pkg, j.Module.Path+"/") + " " + r.by
				return r, err
			}
			tests = tests[n:]
		}
	}
	return r, nil
}

// firstBatch is how long the tests take that are tried first, in one process; each further batch
// takes twice as long.
const firstBatch = 500 * time.Millisecond

// batch returns how many of the tests are tried in one process, and how long they take.
func batch(tests []test, budget time.Duration) (n int, usual time.Duration) {
	for n < len(tests) && (n == 0 || usual+tests[n].took <= budget) {
		usual += tests[n].took
		n++
	}
	return n, usual
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// some runs some tests, and returns what became of the mutation, and the test that noticed it.
func (j *job) some(ctx context.Context, s suite, binary string, tests []test, usual time.Duration) (outcome, string, error) {
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = t.name
	}
	limit := j.limit
	if limit <= 0 {
		limit = 10*time.Second + 5*usual
	}
	// The tests' own limit tells where they hang; ours ends them if they cannot even do that.
	limited, cancel := context.WithTimeout(ctx, limit+10*time.Second)
	defer cancel()
	out, err := s.run(limited, binary, "-test.run=^("+strings.Join(names, "|")+")$", "-test.failfast", "-test.timeout="+limit.String())
	late := limited.Err() != nil || bytes.Contains(out, []byte("panic: test timed out after"))
	switch {
	case ctx.Err() != nil:
		return survived, "", ctx.Err()
	case err == nil:
		return survived, "", nil
	case late:
		return timedOut, names[0], nil
	}
	if m := failed.FindSubmatch(out); m != nil {
		return killed, string(m[1]), nil
	}
	return killed, "a crash", nil
}
