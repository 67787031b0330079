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

func TestTheSectionKeepsTheRowsOfOtherPackages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.md")
	row := func(pkg string, of outcome) scored { return scored{name: pkg, results: []result{{outcome: of}}} }
	for _, c := range []struct {
		name, before, after string // what is around the section
		rows                []scored
		want                []string
	}{
		{"the first time", "# Report\n\n## First\n\na\n", "", []scored{row("p", killed), row("q", survived)},
			[]string{"| `p` | 1 | 1 | 1 | 0 | 0 | 0 | 0 | 100.0 % | 0 | 0 |\n", "| `q` | 1 | 1 | 0 | 0 | 1 | 0 | 0 | 0.0 % | 0 | 0 |\n"}},
		{"one package again", "", "", []scored{row("q", killed)},
			[]string{"| `p` | 1 | 1 | 1 | 0 | 0 | 0 | 0 | 100.0 % | 0 | 0 |\n", "| `q` | 1 | 1 | 1 | 0 | 0 | 0 | 0 | 100.0 % | 0 | 0 |\n"}},
		{"a section follows", "", "\n## Last\n\nb\n", []scored{row("r", equal)},
			[]string{"| `p` | 1 | 1 | 1", "| `q` | 1 | 1 | 1", "| `r` | 1 | 0 | 0 | 0 | 0 | 1 | 0 |  | 0 | 0 |\n"}},
	} {
		data := c.before
		if data == "" {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data = string(was) + c.after
		}
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := writeSection(file, c.rows); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(got), "# Report\n\n## First\n\na\n\n"+title) || !strings.HasSuffix(string(got), c.after) || strings.Count(string(got), title) != 1 {
			t.Errorf("%s: the report is\n%s", c.name, got)
		}
		for _, want := range c.want {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: got\n%s\nwant a row %s", c.name, got, want)
			}
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
