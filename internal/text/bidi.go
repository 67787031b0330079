package text

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The first and the last character of an isolate: text between them does not change the
// direction of the text around it.
const isolate, pop = '\u2068', '\u2069'

// Isolate returns s between the marks of an isolate, for a place that takes no markup.
func Isolate(s string) string { return string(isolate) + Balance(s) + string(pop) }

// Balance returns s without the characters that end an isolate around it.
func Balance(s string) string {
	if !strings.ContainsAny(s, "\u2069\u2029\u0085") {
		return s
	}
	open := 0
	return strings.Map(func(r rune) rune {
		switch r {
		case '\u2066', '\u2067', isolate:
			open++
		case pop:
			if open == 0 {
				return -1
			}
			open--
		case '\u2029', '\u0085': // a paragraph ends, and with it each isolate
			return -1
		}
		return r
	}, s)
}

// Plain returns a writer for text that people read on a terminal or in a log. It writes each
// character that steers the terminal or the direction of text as an escape of JSON, such as
// \u202e. Lines and tabs stay. A write that ends within a character keeps its beginning for
// the next one.
func Plain(w io.Writer) io.Writer { return &plain{w: w} }

type plain struct {
	w    io.Writer
	rest []byte
}

func (p *plain) Write(b []byte) (int, error) {
	all := b
	if len(p.rest) > 0 {
		all = append(p.rest, b...)
	}
	out := make([]byte, 0, len(all))
	for len(all) > 0 {
		r, n := utf8.DecodeRune(all)
		if r == utf8.RuneError && n == 1 && !utf8.FullRune(all) {
			break
		}
		if steers(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, all[:n]...)
		}
		all = all[n:]
	}
	p.rest = append([]byte(nil), all...)
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// steers reports whether r steers a terminal or the direction of text.
func steers(r rune) bool {
	switch r {
	case '\n', '\t', '\r':
		return false
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}
