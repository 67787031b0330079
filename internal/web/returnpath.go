package web

import (
	"net/url"
	"strings"
)

// maxReturn is the longest return path in bytes.
const maxReturn = 1024

// afterLogin is the path to which sign-in leads if the request names no other path.
const afterLogin = "/annotations"

// returnPath returns the path to which sign-in leads. It is raw if that is without doubt a
// path of this site, and [afterLogin] otherwise. Browsers read many forms as another host
// (//host, /\host, /%09/host, dot segments that leave a //). So this accepts only what the
// site's own links look like.
func returnPath(raw string) string {
	if isLocal(raw) {
		return raw
	}
	return afterLogin
}

func isLocal(raw string) bool {
	if len(raw) > maxReturn || !strings.HasPrefix(raw, "/") {
		return false
	}
	// RFC 3986 allows these characters in a path and a query. Browsers leave them as they are.
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && !strings.ContainsRune("-._~!$&'()*+,;=:@%/?", rune(c)) {
			return false
		}
	}
	path, query, _ := strings.Cut(raw, "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	if _, err := url.PathUnescape(query); err != nil {
		return false
	}
	for _, r := range decoded {
		if r < ' ' || r == 0x7f || r == '\\' {
			return false
		}
	}
	segments := strings.Split(decoded[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1 // empty behind a slash at the end, and for the start page
		if segment == "." || segment == ".." || segment == "" && !last {
			return false
		}
	}
	// Only pages are allowed: sign-in must not lead to sign-in.
	switch segments[0] {
	case "", "annotations", "annotation", "subscribe", "account":
		return true
	}
	return false
}
