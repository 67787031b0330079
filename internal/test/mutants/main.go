// Mutants makes mistakes of one line in packages, one at a time, and sees whether a
// test fails for each. One that nobody notices is a test that is missing, a line that is not
// needed, or a mutation that changes nothing: the last are listed, each with its proof,
// in equivalent.txt.
//
// The mistakes are planted as those of internal/test/sim are, by an overlay of the go
// command: no file changes.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed equivalent.txt
var equivalents string

// usual are the packages that are mutated if none is named: what decides about files and money.
const usual = "internal/archive,internal/aws/dynamodb,internal/thaw,internal/restore,internal/reconcile,internal/bridge,internal/bus"

func main() {
	var o options
	var also, out string
	flag.IntVar(&o.sample, "sample", number("MUTANTS_SAMPLE", 0), "how many mutants of each package are tried, drawn by chance; 0 for all; MUTANTS_SAMPLE")
	flag.Uint64Var(&o.seed, "seed", uint64(number("MUTANTS_SEED", 1)), "the seed of that chance; MUTANTS_SEED")
	flag.IntVar(&o.jobs, "jobs", number("MUTANTS_JOBS", 1), "how many are tried at a time; MUTANTS_JOBS")
	flag.IntVar(&o.seeds, "sim", number("MUTANTS_SIM", 0), "how many seeds of internal/test/sim try what the tests let pass; MUTANTS_SIM")
	flag.DurationVar(&o.limit, "limit", 0, "the longest that a package's tests may take; four times what they take without a mutant, and half a minute, if 0")
	flag.BoolVar(&o.own, "own", false, "let no tests but each package's own try its mutants: quicker, and what they let pass may be noticed by those of its users")
	flag.StringVar(&also, "also", "", "further packages with tests for each mutant, with commas")
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
	left, err := run(ctx, w, o, packages)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
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

// run mutates the packages, writes the tables, and returns how many mutants survived. When ctx ends,
// what was found until then is written.
func run(ctx context.Context, w io.Writer, o options, packages []string) (left int, err error) {
	if o.list == nil {
		if o.list, err = parseEquivalents(equivalents); err != nil {
			return 0, fmt.Errorf("equivalent.txt: %w", err)
		}
	}
	var names []string
	var all [][]result
	for _, pattern := range packages {
		t, ferr := find(ctx, pattern)
		if ferr != nil {
			return 0, ferr
		}
		results, merr := t.mutate(ctx, o)
		names, all = append(names, t.name), append(all, results)
		left += count(results, survived)
		if merr != nil {
			err = fmt.Errorf("%s: %w", t.name, merr)
			break
		}
	}
	head(w)
	for i, name := range names {
		row(w, name, all[i])
	}
	for i, name := range names {
		details(w, name, all[i])
	}
	return left, err
}
