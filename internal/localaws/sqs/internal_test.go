package sqs

import (
	"regexp"
	"strings"
	"testing"
)

func FuzzAHandleIsReadAsItWasWritten(f *testing.F) {
	f.Add("", uint64(1), uint64(2), uint32(3))
	f.Add(handle{1, 2, 3}.String(), uint64(0), uint64(0), uint32(0))
	f.Fuzz(func(t *testing.T, text string, queue, seq uint64, count uint32) {
		want := handle{queue, seq, count}
		if got, ok := parseHandle(want.String()); !ok || got != want {
			t.Errorf("got %+v, %t, want %+v", got, ok, want)
		}
		if got, ok := parseHandle(text); ok && got.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, got, got.String())
		}
	})
}

func FuzzPatternsMatchAsExpressionsDo(f *testing.F) {
	f.Add("arn:*:q?", "arn:aws:q1")
	f.Add("*a*b*", "xxaxxbx")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, `.*`), `\?`, `.`)
		for _, r := range pattern + s {
			if r > 127 {
				return // an expression's . is a character, a pattern's ? is a byte
			}
		}
		want := regexp.MustCompile(`(?s)^` + quoted + `$`).MatchString(s)
		if got := matches(pattern, s); got != want {
			t.Errorf("%q and %q: got %t, want %t", pattern, s, got, want)
		}
	})
}

func FuzzPoliciesAreReadOrRefused(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["a"],"Condition":{"ArnLike":{"aws:SourceArn":["x"]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if p, e := parsePolicy(text); (p == nil) == (e == nil) {
			t.Errorf("got %v and %v", p, e)
		}
	})
}
