package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A module of its own, with a mutant of every fate.
func TestMutantsAreKilledOrSurvive(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
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
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	o := options{jobs: 2, seed: 1, list: []equivalent{}, log: t.Logf}
	var out strings.Builder
	left, err := run(t.Context(), &out, o, []string{"./p"})
	if err != nil || left != 1 {
		t.Errorf("%d survived (%v), want 1", left, err)
	}
	for _, want := range []string{
		// Those of Larger are to negate, >= and no return; those of Count to negate and <=.
		"| `p` | 6 | 5 | 4 | 0 | 1 | 0 | 1 |",
		"| survived | Larger, `p.go:4` | `if a > b {` | > becomes >= in a > b |",
		"| not covered | Unseen, `p.go:17` | `func Unseen() bool { return true }` | true becomes false in return true |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant a row %s", out.String(), want)
		}
	}

	// With a proof, and no more than two of the others.
	o.sample = 2
	o.list = []equivalent{{pkg: "p", in: "Larger", line: "if a > b {", change: "> becomes >= in a > b", nth: 1, why: "of two that are equal either is the larger"}}
	out.Reset()
	left, err = run(t.Context(), &out, o, []string{"./p"})
	if want := "| `p` | 6 | 2 | 2 | 0 | 0 | 1 | 1 |"; err != nil || left != 0 || !strings.Contains(out.String(), want) {
		t.Errorf("%d survived (%v), got\n%s\nwant a row %s", left, err, out.String(), want)
	}
}

func TestAMutantLeavesNoCounterexample(t *testing.T) {
	dir := t.TempDir()
	keep, drop := filepath.Join(dir, "testdata", "rapid", "TestA", "a.fail"), filepath.Join(dir, "testdata", "rapid", "TestB", "b.fail")
	write := func(file string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(keep)
	clean := tidy(dir)
	write(drop)
	clean()
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("what was there before: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(drop)); err == nil {
		t.Error("what a mutant left is there still")
	}
}
