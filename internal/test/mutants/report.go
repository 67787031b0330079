package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// outcome is what became of a mutation.
type outcome int

// The outcomes.
const (
	notReached outcome = iota // no test runs through the place
	notSampled                // chance left it out
	notBuilt                  // the compiler refuses it: nobody could make the mistake
	equal                     // it is on the list of equivalents
	killed                    // a test failed
	timedOut                  // the tests did not end in time, which somebody would notice
	survived                  // nobody noticed
)

// result is a mutation with its outcome.
type result struct {
	mutation
	outcome outcome
	by      string // the test that noticed it, or the proof
}

// count returns how many have one of the outcomes.
func count(results []result, any ...outcome) (n int) {
	for _, r := range results {
		for _, o := range any {
			if r.outcome == o {
				n++
			}
		}
	}
	return n
}

// scored is a package with its results.
type scored struct {
	name    string
	results []result
	alone   int // how many had a build of their own
}

// score returns how many of a hundred mutants the tests notice, of those that change anything.
func score(results []result) string {
	noticed := count(results, killed, timedOut)
	all := noticed + count(results, survived, notReached)
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", float64(1000*noticed/all)/10) // never rounded up to 100
}

// table writes a row for each package. Mutants that the compiler refuses are none.
func table(w io.Writer, all []scored) {
	fmt.Fprintln(w, "| package | mutants | tried | killed | timed out | survived | equivalent | not covered | score |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	row := func(name string, results []result) {
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d | %d | %d | %s |\n", name, len(results)-count(results, notBuilt),
			count(results, killed, timedOut, survived), count(results, killed), count(results, timedOut), count(results, survived),
			count(results, equal), count(results, notReached), score(results))
	}
	var sum []result
	for _, s := range all {
		row("`"+s.name+"`", s.results)
		sum = append(sum, s.results...)
	}
	if len(all) > 1 {
		row("all", sum)
	}
}

// details writes the mutations that need somebody: survivors, and places that no test
// comes to.
func details(w io.Writer, all []scored) {
	for _, s := range all {
		if count(s.results, survived, timedOut, notReached) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n### `%s`\n\n| | where | line | mutation |\n| --- | --- | --- | --- |\n", s.name)
		for _, kind := range []struct {
			outcome outcome
			name    string
		}{{survived, "survived"}, {timedOut, "timed out"}, {notReached, "not covered"}} {
			for _, r := range s.results {
				if r.outcome == kind.outcome {
					in := r.in
					if in == "" {
						in = "the package"
					}
					fmt.Fprintf(w, "| %s | %s, `%s:%d` | %s | %s |\n", kind.name, in, r.file, r.line, code(r.source), cell(r.change))
				}
			}
		}
	}
}

// title begins the section of the report on faults that this program writes.
const title = "## Mutations\n"

// section is what the report says.
func section(all []scored, took time.Duration) string {
	var out strings.Builder
	alone := 0
	for _, s := range all {
		alone += s.alone
	}
	fmt.Fprintf(&out, "%s\nWritten by `MUTANTS_DOCS=docs/faults.md make mutants`, in %s on %d processors. Each mutant is one mistake in one line. "+
		"The tests\nthat come to the line run with it, until one fails. A mutant is timed out if the tests take more than five times as long "+
		"as\nusual; it is equivalent if it has a proof in `internal/test/mutants/equivalent.txt`. The score is the part that is killed or "+
		"timed out,\nof those that are not equivalent. Of the mutants tried, %d could not share one build with the others.\n\n",
		title, took.Round(time.Minute), runtime.NumCPU(), alone)
	table(&out, all)
	return out.String()
}

// writeSection puts a section into a report, in place of the one that is there, or at the end.
func writeSection(file, section string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, after, ok := strings.Cut(string(data), "\n"+title)
	if ok {
		if _, after, ok = strings.Cut(after, "\n## "); ok {
			after = "\n## " + after
		}
	}
	return os.WriteFile(file, []byte(strings.TrimRight(before, "\n")+"\n\n"+section+after), 0o644)
}

// cell makes text safe in a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func code(s string) string {
	if strings.Contains(s, "`") {
		return "`` " + cell(s) + " ``"
	}
	return "`" + cell(s) + "`"
}
