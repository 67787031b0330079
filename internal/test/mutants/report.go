package main

import (
	"fmt"
	"io"
	"strings"
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
	by      string // the suite that found it, or the proof
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

// head is the first table's.
func head(w io.Writer) {
	fmt.Fprintln(w, "| package | mutants | tried | killed | timed out | survived | equivalent | not covered |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
}

// row writes a package's row. Mutants that the compiler refuses are none.
func row(w io.Writer, pkg string, results []result) {
	fmt.Fprintf(w, "| `%s` | %d | %d | %d | %d | %d | %d | %d |\n", pkg, len(results)-count(results, notBuilt),
		count(results, killed, timedOut, survived), count(results, killed), count(results, timedOut), count(results, survived),
		count(results, equal), count(results, notReached))
}

// details writes the mutations that need somebody: survivors, and places that no test
// comes to.
func details(w io.Writer, pkg string, results []result) {
	if count(results, survived, timedOut, notReached) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### `%s`\n\n| | where | line | mutation |\n| --- | --- | --- | --- |\n", pkg)
	for _, kind := range []struct {
		outcome outcome
		name    string
	}{{survived, "survived"}, {timedOut, "timed out"}, {notReached, "not covered"}} {
		for _, r := range results {
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

// cell makes text safe in a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func code(s string) string {
	if strings.Contains(s, "`") {
		return "`` " + cell(s) + " ``"
	}
	return "`" + cell(s) + "`"
}
