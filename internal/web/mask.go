package web

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
)

// masked returns the token under a random mask, with the mask. It is another text each time, so
// nobody can learn the token from the sizes of compressed pages.
func masked(token string) string {
	n := len(token)
	both := make([]byte, 2*n)
	_, _ = rand.Read(both[:n]) // it never fails
	subtle.XORBytes(both[n:], both[:n], []byte(token))
	return base64.RawURLEncoding.EncodeToString(both)
}

// isMasked reports whether text is the token under any mask.
func isMasked(text, token string) bool {
	both, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || token == "" || len(both) != 2*len(token) {
		return false
	}
	n := len(token)
	subtle.XORBytes(both[:n], both[:n], both[n:])
	return subtle.ConstantTimeCompare(both[:n], []byte(token)) == 1
}
