// Package text makes text from outside fit for a log line, a table, a page, a header or an
// address.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clip returns s without control characters, and with at most limit bytes.
func Clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}
