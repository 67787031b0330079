package main

import (
	"strings"
	"testing"
)

const proof = "# a comment\n\npackage: internal/p\nin: F\nline: if a < b {\nchange: < becomes <= in a < b\nwhy: a is never b,\n  which its maker says.\n"

func TestAnEntryOfTheListFitsOneMutation(t *testing.T) {
	ms, err := mutationsOf("p.go", []byte("package p\n\nfunc F(a, b int) int {\n\tif a < b {\n\t\treturn a\n\t}\n\treturn b\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseEquivalents(proof)
	if err != nil {
		t.Fatal(err)
	}
	why, err := match("internal/p", ms, list)
	if err != nil || len(why) != 1 {
		t.Fatalf("%d fit (%v), want 1", len(why), err)
	}
	for i, text := range why {
		if ms[i].text != "<=" || text != "a is never b, which its maker says." {
			t.Errorf("got %q for %s", text, ms[i])
		}
	}
	for name, changed := range map[string]string{
		"another line":       strings.Replace(proof, "if a < b {", "if a < c {", 1),
		"another function":   strings.Replace(proof, "in: F", "in: G", 1),
		"another mutation":   strings.Replace(proof, "becomes <=", "becomes >", 1),
		"one more than fits": strings.Replace(proof, "why:", "nth: 2\nwhy:", 1),
		"twice":              proof + "\n" + proof,
	} {
		list, err := parseEquivalents(changed)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := match("internal/p", ms, list); err == nil {
			t.Errorf("%s: the list is taken", name)
		}
	}
	for _, bad := range []string{"package: p\n", "  goes on\n", "because: no\n", strings.Replace(proof, "why:", "nth: x\nwhy:", 1)} {
		if _, err := parseEquivalents(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// So that a proof does not outlive what it is of.
func TestEveryEquivalentStandsInTheCode(t *testing.T) {
	list, err := parseEquivalents(equivalents)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		if seen[e.pkg] {
			continue
		}
		seen[e.pkg] = true
		target, err := find(t.Context(), "../../../"+e.pkg)
		if err != nil {
			t.Error(err)
			continue
		}
		ms, err := target.mutations()
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := match(e.pkg, ms, list); err != nil {
			t.Error(err)
		}
	}
}
