package events

import (
	"fmt"
	"strings"
)

// The identifiers that travel through the pipeline. Each has its own type so
// that swapping two of them does not compile.
type (
	// UserID names an account of the annotation service (an OIDC subject).
	UserID string
	// JobID names an annotation job, the key of the catalog.
	JobID string
	// ArchiveID names an archive in a Glacier vault.
	ArchiveID string
	// RetrievalID names a Glacier archive-retrieval job.
	RetrievalID string
)

// Token returns the subject token for id: letters, digits, '-' and '_' stay the same,
// every other byte becomes '=' and two upper-case hex digits. It is reversible by
// [ParseToken], holds no character that NATS gives a meaning, and is never empty for a
// non-empty id.
func Token(id string) string {
	plain := true
	for i := 0; i < len(id); i++ {
		if !plainByte(id[i]) {
			plain = false
			break
		}
	}
	if plain {
		return id
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(id) + 8)
	for i := 0; i < len(id); i++ {
		if c := id[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// ParseToken returns the id that [Token] made token from. A token that Token
// could not have made is refused, so that one id has exactly one subject.
func ParseToken(token string) (string, error) {
	if token == "" {
		return "", fmt.Errorf("subject token is empty")
	}
	var b strings.Builder
	b.Grow(len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if plainByte(c) {
			b.WriteByte(c)
			continue
		}
		if c != '=' || i+2 >= len(token) {
			return "", fmt.Errorf("subject token %q: unexpected %q at %d", token, c, i)
		}
		hi, ok1 := unhex(token[i+1])
		lo, ok2 := unhex(token[i+2])
		d := hi<<4 | lo
		if !ok1 || !ok2 || plainByte(d) {
			return "", fmt.Errorf("subject token %q: bad escape at %d", token, i)
		}
		b.WriteByte(d)
		i += 2
	}
	return b.String(), nil
}

// CheckID says whether id can name something in an event: not empty and not
// longer than [MaxIDLength]. field is how the error calls it.
func CheckID[T ~string](field string, id T) error {
	switch {
	case id == "":
		return fmt.Errorf("%s is empty", field)
	case len(id) > MaxIDLength:
		return fmt.Errorf("%s has %d bytes, more than %d", field, len(id), MaxIDLength)
	}
	return nil
}

func plainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
