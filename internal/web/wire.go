package web

import (
	"bytes"
	"net/http"
)

// misframed returns the words for a request that may end elsewhere for another server, and nil
// for any other request. With a proxy in front, such a request can hide another one. The HTTP
// server takes these forms, so the site looks at the bytes of the head: its protocol and its
// headers.
func misframed(protocol string, headers []byte) *problem {
	refuse := func(status int, sentence string) *problem {
		return &problem{status: status, title: "The request cannot be read", sentence: sentence}
	}
	if protocol != "HTTP/1.1" && protocol != "HTTP/1.0" {
		return refuse(http.StatusHTTPVersionNotSupported, "This site speaks HTTP/1.1.")
	}
	var length, coding bool
	for line := range bytes.Lines(headers) {
		if line[0] == ' ' || line[0] == '\t' {
			return refuse(http.StatusBadRequest, "A header goes on in the next line.")
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return refuse(http.StatusBadRequest, "A line of the head has no proper end.")
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		length = length || bytes.EqualFold(name, []byte("Content-Length"))
		coding = coding || bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	if coding && (length || protocol != "HTTP/1.1") {
		return refuse(http.StatusBadRequest, "The length of the request is given in two ways.")
	}
	return nil
}
