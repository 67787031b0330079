package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClipKeepsWholeLettersAndNoControls(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"plain":           "plain",
		"a\r\nb\x00\x7fc": "abc",
		"\xff\xfea":       "a",
		"äöüäö":           "äöüäö",
		"äöüäöx":          "äöüäö",
		"äöüäxö":          "äöüäx",
		"日本語です":           "日本語",
	} {
		if got := Clip(in, 10); got != want {
			t.Errorf("Clip(%q, 10) is %q, want %q", in, got, want)
		}
	}
	if got := Clip("a", 0); got != "" {
		t.Errorf("Clip to nothing leaves %q", got)
	}
}

func FuzzClip(f *testing.F) {
	f.Add("a\nä", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1000)
		got := Clip(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") || Clip(got, limit) != got {
			t.Fatalf("Clip(%q, %d) is %q", s, limit, got)
		}
	})
}
