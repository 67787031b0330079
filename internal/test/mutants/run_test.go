package main

import (
	"strings"
	"testing"
)

// A module of its own, with a mutant of every fate.
func TestMutantsAreKilledOrSurvive(t *testing.T) {
	module(t, map[string]string{
		"go.mod": "module example.test/m\n\ngo 1.26\n",
		"p/p.go": `package p

func Larger(a, b int) int {
	if a > b {
		return a
	}
	return b
}

func Count(n int) (sum int) {
	for sum < n {
		sum++
	}
	return sum
}

func Unseen() bool { return true }
`,
		"p/p_test.go": `package p

import "testing"

func TestP(t *testing.T) {
	if Larger(1, 2) != 2 || Larger(3, 2) != 3 || Count(3) != 3 || Count(0) != 0 {
		t.Fatal("wrong")
	}
}
`,
	})
	o := options{jobs: 2, seed: 1, list: []equivalent{}, log: t.Logf}
	play := func() string {
		all, err := run(t.Context(), o, []string{"./p"})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		table(&out, all)
		details(&out, all)
		return out.String()
	}
	out := play()
	for _, want := range []string{
		// Those of Larger are to negate, >= and no return; those of Count to negate and <=.
		"| `p` | 6 | 5 | 4 | 0 | 1 | 0 | 1 | 66.6 % | 0 | 0 |",
		"| survived | Larger, `p.go:4` | `if a > b {` | > becomes >= in a > b |",
		"| not covered | Unseen, `p.go:17` | `func Unseen() bool { return true }` | true becomes false in return true |",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant a row %s", out, want)
		}
	}

	// With a proof, and no more than two of the others.
	o.sample = 2
	o.list = []equivalent{{pkg: "p", in: "Larger", line: "if a > b {", change: "> becomes >= in a > b", nth: 1, why: "of two that are equal either is the larger"}}
	if out, want := play(), "| `p` | 6 | 2 | 2 | 0 | 0 | 1 | 1 |"; !strings.Contains(out, want) {
		t.Errorf("got\n%s\nwant a row %s", out, want)
	}
}
