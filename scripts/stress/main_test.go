package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheInnermostTestIsNamed(t *testing.T) {
	log := []byte("ok\n--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\n        a_test.go:1: no\n--- FAIL: TestC (0.1s)\n")
	if got, want := failures(log), []string{"TestA/b", "TestC"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := failures([]byte("panic: no")); len(got) != 1 {
		t.Errorf("got %v, want one word for no name", got)
	}
}

// A module of its own, so that what fails by design is not among our tests.
func TestWhatFailsNowAndThenIsReportedAndWhatPassesIsCounted(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":         "module example.test/m\n\ngo 1.26\n",
		"good/a_test.go": "package good\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) {}\n",
		"bad/a_test.go":  "package bad\n\nimport (\n\t\"runtime\"\n\t\"testing\"\n)\n\nfunc TestBad(t *testing.T) {\n\tif runtime.GOMAXPROCS(0) == 4 {\n\t\tt.Error(\"four are too many\")\n\t}\n}\n",
		"none/a.go":      "package none\n",
		"tag/a_test.go":  "//go:build long\n\npackage tag\n\nimport \"testing\"\n\nfunc TestTagged(t *testing.T) {}\n",
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
	var out strings.Builder
	logs := filepath.Join(dir, "logs")
	ok, err := stress(context.Background(), &out, options{rounds: 4, atOnce: 2, load: 1, limit: time.Minute, tags: "long", logs: logs}, []string{"./..."})
	if ok || err != nil {
		t.Errorf("got %t, %v, want that something failed", ok, err)
	}
	for _, want := range []string{"FAIL example.test/m/bad, round 3, -test.cpu 4: TestBad", "four are too many"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the report:\n%s", want, out.String())
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range [][]string{{"4", "1", "example.test/m/bad"}, {"4", "0", "example.test/m/good"}, {"4", "0", "example.test/m/tag"}} {
		got := strings.Fields(lines[len(lines)-3+i])
		if len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[3] != want[2] {
			t.Errorf("the table says %v, want %v", got, want)
		}
	}
	if files, err := os.ReadDir(logs); err != nil || len(files) != 1 {
		t.Errorf("%d logs (%v), want 1", len(files), err)
	}
}

func TestSoManyOthersRunBesideEachPackage(t *testing.T) {
	l := load{others: 2}
	for _, step := range []struct{ n, loops int }{{1, 2}, {1, 1}, {1, 0}, {1, 0}, {-1, 0}, {-1, 1}, {-1, 2}, {-1, 0}} {
		l.packages(step.n)
		if len(l.loops) != step.loops {
			t.Errorf("%d loops beside %d packages, want %d", len(l.loops), l.runs, step.loops)
		}
	}
	l.end() // no loop is left
}
