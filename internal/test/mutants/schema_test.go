package main

import (
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes files into a module of its own, and makes that the working directory.
func module(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestAllMistakesOfAFileStandBehindOneSwitch(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("testdata", "operators.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	golden, err := filepath.Abs(filepath.Join("testdata", "switched.golden"))
	if err != nil {
		t.Fatal(err)
	}
	module(t, map[string]string{"go.mod": "module example.test/m\n\ngo 1.26\n", "p/p.go": string(src)})
	target, err := find(t.Context(), "./p")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChecker(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	ms := c.switched()
	s, err := c.schemaOf(ms, func(i int) bool { return c.builds(ms[i]) })
	if err != nil {
		t.Fatal(err)
	}
	pretty, err := format.Source(s.files["p.go"])
	if err != nil {
		t.Fatal(err)
	}
	got := string(pretty)
	for i, m := range ms {
		switch {
		case !c.builds(m):
			got += "// does not compile: " + m.String() + "\n"
		case s.unswitched[i]:
			got += "// has a build of its own: " + m.String() + "\n"
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the file is not that of %s (-update writes it):\n%s", golden, got)
	}
}

func TestASectionTakesThePlaceOfTheOneBefore(t *testing.T) {
	const old, one, two = "# Report\n\n## First\n\na\n", title + "\none\n", title + "\ntwo\n"
	file := filepath.Join(t.TempDir(), "report.md")
	for _, c := range []struct{ before, section, want string }{
		{old, one, old + "\n" + one},
		{old + "\n" + one, two, old + "\n" + two},
		{old + "\n" + one + "\n## Last\n\nb\n", two, old + "\n" + two + "\n## Last\n\nb\n"},
	} {
		if err := os.WriteFile(file, []byte(c.before), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := writeSection(file, c.section); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%q: got %q, want %q", c.before, got, c.want)
		}
	}
}

func TestTheScoreIsNeverRoundedUp(t *testing.T) {
	results := make([]result, 3000)
	for i := range results {
		results[i].outcome = killed
	}
	if got := score(results); got != "100.0 %" {
		t.Errorf("all are killed: got %s", got)
	}
	results[0].outcome, results[1].outcome, results[2].outcome = survived, equal, timedOut
	if got := score(results); !strings.HasPrefix(got, "99.9") {
		t.Errorf("one survived: got %s", got)
	}
}
