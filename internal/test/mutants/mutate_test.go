package main

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTheOperatorsMakeTheseMistakes(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("testdata", "operators.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	ms, err := mutationsOf("operators.go", src)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, m := range ms {
		mutant := m.apply(src)
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, mutant, 0); err != nil {
			t.Errorf("%s: the mutant is no Go: %v", m, err)
		}
		fmt.Fprintf(&got, "%d in %q: %s\n\t%s\n\t%s\n", m.line, m.in, m.change,
			strings.Join(strings.Fields(string(src[m.from:m.to])), " "), strings.Join(strings.Fields(m.text), " "))
	}
	golden := filepath.Join("testdata", "operators.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the mutations are not those of %s (-update writes it):\n%s", golden, got.String())
	}
}
