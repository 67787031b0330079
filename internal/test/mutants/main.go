// Mutants makes mistakes of one line in packages, one at a time, and sees whether a
// test fails for each. One that nobody notices is a test that is missing, a line that is not
// needed, or a mutation that changes nothing: the last are listed, each with its proof,
// in equivalent.txt.
//
// One test binary has all mistakes of a package, behind a switch that an environment variable
// sets: the go command's overlay puts the changed files over the package's, and no file changes.
// A mistake in a constant or a type needs a build of its own. Each test runs alone
// once without a mistake, which tells the tests that come to its place.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed equivalent.txt
var equivalents string

// usual are the packages that are mutated if none is named: what decides about files and money.
const usual = "internal/archive,internal/gate,internal/thaw,internal/restore,internal/reconcile,internal/bridge,internal/aws/dynamodb"

func main() {
	var o options
	var also, only, out, docs string
	flag.IntVar(&o.sample, "sample", number("MUTANTS_SAMPLE", 0), "how many mutants of each package are tried, drawn by chance; 0 for all; MUTANTS_SAMPLE")
	flag.Uint64Var(&o.seed, "seed", uint64(number("MUTANTS_SEED", 1)), "the seed of that chance; MUTANTS_SEED")
	flag.IntVar(&o.jobs, "jobs", number("MUTANTS_JOBS", runtime.NumCPU()), "how many are tried at a time; MUTANTS_JOBS")
	flag.IntVar(&o.seeds, "sim", number("MUTANTS_SIM", 0), "how many seeds of internal/test/sim try what the tests let pass; MUTANTS_SIM")
	flag.DurationVar(&o.limit, "limit", 0, "the longest that a run of some tests may take; five times what they take without a mutant, and ten seconds, if 0")
	flag.BoolVar(&o.own, "own", false, "let no tests but each package's own try its mutants: quicker, and what they let pass may be noticed by those of its users")
	flag.DurationVar(&o.longest, "longest", 0, "leave tests out that take longer than this without a mutant; none if 0")
	flag.BoolVar(&o.alone, "alone", false, "give each mutant a build of its own: slow, and every outcome must stay the same")
	flag.StringVar(&also, "also", "", "further packages with tests for each mutant, with commas")
	flag.StringVar(&only, "only", "", "a regular expression for the mutations that are tried, such as money.go:49")
	flag.StringVar(&docs, "docs", os.Getenv("MUTANTS_DOCS"), "the report that gets the score, as its section “Mutations”; MUTANTS_DOCS")
	flag.StringVar(&out, "o", "", "the file that the tables go to; the standard output if empty")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: mutants [flags] [package ...]\n\nWithout packages: %s\n\n", strings.ReplaceAll(usual, ",", " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	if also != "" {
		o.also = strings.Split(also, ",")
	}
	packages := flag.Args()
	if len(packages) == 0 {
		packages = strings.Split(usual, ",")
	}
	began := time.Now()
	o.log = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%7s "+format+"\n", append([]any{time.Since(began).Round(time.Second)}, args...)...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if only != "" {
		var err error
		if o.only, err = regexp.Compile(only); err != nil {
			fmt.Fprintln(os.Stderr, "mutants:", err)
			os.Exit(2)
		}
	}
	w := io.Writer(os.Stdout)
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			fmt.Fprintln(os.Stderr, "mutants:", err)
			os.Exit(1)
		}
		defer f.Close()
		w = f
	}
	all, err := run(ctx, o, packages)
	for _, write := range []func(io.Writer, []scored){table, details} {
		write(w, all)
	}
	if err == nil && docs != "" {
		err = writeSection(docs, all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	left := 0
	for _, s := range all {
		left += count(s.results, survived)
	}
	if err != nil || left > 0 {
		os.Exit(1)
	}
}

// number returns the setting, or what it is by default.
func number(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return usual
}

// run mutates the packages. When ctx ends, it returns what was found until then.
func run(ctx context.Context, o options, packages []string) (all []scored, err error) {
	if o.list == nil {
		if o.list, err = parseEquivalents(equivalents); err != nil {
			return nil, fmt.Errorf("equivalent.txt: %w", err)
		}
	}
	for _, pattern := range packages {
		t, err := find(ctx, pattern)
		if err != nil {
			return all, err
		}
		s, began := scored{name: t.name}, time.Now()
		s.results, s.alone, err = t.mutate(ctx, o)
		s.took = time.Since(began)
		all = append(all, s)
		if err != nil {
			return all, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return all, nil
}
