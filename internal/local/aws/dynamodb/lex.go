package dynamodb

import (
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxExpression is how many bytes an expression may have.
const maxExpression = 4096

type tokenKind byte

const (
	tokenEnd    tokenKind = iota
	tokenName             // attribute, function or keyword
	tokenHash             // #name
	tokenColon            // :value
	tokenNumber           // index into a list
	tokenSymbol
)

type token struct {
	kind tokenKind
	text string
	at   int // in the expression
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }

// lex cuts s into tokens. The last is a tokenEnd.
func lex(kind, s string) ([]token, *world.Error) {
	if len(s) > maxExpression {
		return nil, invalid("Invalid %s: Expression size has exceeded the maximum allowed size; expression size: %d", kind, len(s))
	}
	if strings.TrimSpace(s) == "" {
		return nil, invalid("Invalid %s: The expression can not be empty;", kind)
	}
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		start := i
		k := tokenSymbol
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case isLetter(c):
			k = tokenName
			for i < len(s) && isWord(s[i]) {
				i++
			}
		case c == '#' || c == ':':
			k = tokenHash
			if c == ':' {
				k = tokenColon
			}
			i++
			for i < len(s) && (isWord(s[i]) || c == '#' && s[i] == '-') {
				i++
			}
			if i == start+1 {
				return nil, syntaxError(kind, s, token{k, s[start:i], start})
			}
		case isDigit(c):
			k = tokenNumber
			for i < len(s) && isDigit(s[i]) {
				i++
			}
		case c == '<' || c == '>':
			i++
			if i < len(s) && (s[i] == '=' || c == '<' && s[i] == '>') {
				i++
			}
		case strings.IndexByte("()[],.=+-", c) >= 0:
			i++
		default:
			return nil, invalid("Invalid %s: Syntax error; token: %q, near: %q", kind, string([]rune(s[i:])[0]), around(s, i, i+1))
		}
		out = append(out, token{k, s[start:i], start})
	}
	return append(out, token{tokenEnd, "<EOF>", len(s)}), nil
}

// around is the neighbourhood of s[from:to] for a message.
func around(s string, from, to int) string {
	return strings.ToValidUTF8(s[max(0, from-10):min(len(s), to+10)], "")
}

func syntaxError(kind, s string, t token) *world.Error {
	return invalid("Invalid %s: Syntax error; token: %q, near: %q", kind, t.text, around(s, t.at, t.at+len(t.text)))
}
