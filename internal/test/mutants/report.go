package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
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
	took    time.Duration
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

const columns = "| package | mutants | tried | killed | timed out | survived | equivalent | not covered | score | own build | minutes |\n" +
	"| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"

// row is a package's row. Mutants that the compiler refuses are none.
func (s scored) row() string {
	return fmt.Sprintf("| `%s` | %d | %d | %d | %d | %d | %d | %d | %s | %d | %.0f |", s.name, len(s.results)-count(s.results, notBuilt),
		count(s.results, killed, timedOut, survived), count(s.results, killed), count(s.results, timedOut), count(s.results, survived),
		count(s.results, equal), count(s.results, notReached), score(s.results), s.alone, s.took.Minutes())
}

// table writes a row for each package.
func table(w io.Writer, all []scored) {
	fmt.Fprint(w, columns)
	for _, s := range all {
		fmt.Fprintln(w, s.row())
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

const preface = title + `
Written by ` + "`MUTANTS_DOCS=docs/faults.md make mutants`" + `, which replaces the rows of the packages that it runs. Each mutant is one
mistake in one line. The tests that come to the line run with it, until one fails. A mutant is timed out if the tests take more
than five times as long as usual. It is equivalent if ` + "`internal/test/mutants/equivalent.txt`" + ` has a proof. The score is the part
that is killed or timed out, of all mutants that are not equivalent. “Own build” counts those that could not share one build
with the others.

`

// writeSection puts the rows into the section of a report. The section keeps its rows of other
// packages. If the report has no such section yet, it becomes the last one.
func writeSection(file string, all []scored) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, old, _ := strings.Cut(string(data), "\n"+title)
	old, after, more := strings.Cut(old, "\n## ")
	if more {
		after = "\n## " + after
	}
	rows := map[string]string{}
	for line := range strings.Lines(old) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); ok && strings.HasPrefix(line, "| `") {
			rows[name] = strings.TrimSpace(line)
		}
	}
	for _, s := range all {
		rows[s.name] = s.row()
	}
	section := preface + columns
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		section += rows[name] + "\n"
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
