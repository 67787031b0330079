package web

import (
	"bytes"
	"net/http"

	"github.com/gofiber/fiber/v3"
)

// misframed returns the words for a request that may end elsewhere for another server:
// with a proxy in front, such a request can hide another one. The HTTP server takes these
// forms, so the site looks at the bytes of the head.
func misframed(c fiber.Ctx) error {
	head := &c.Request().Header
	refuse := func(status int, sentence string) error {
		c.RequestCtx().SetConnectionClose()
		return &problem{status: status, title: "The request cannot be read", sentence: sentence}
	}
	switch string(head.Protocol()) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		return refuse(http.StatusHTTPVersionNotSupported, "This site speaks HTTP/1.1.")
	}
	var length, coding bool
	for line := range bytes.Lines(head.RawHeaders()) {
		if line[0] == ' ' || line[0] == '\t' {
			return refuse(http.StatusBadRequest, "A header goes on in the next line.")
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return refuse(http.StatusBadRequest, "A line of the head has no proper end.")
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		length = length || bytes.EqualFold(name, []byte(fiber.HeaderContentLength))
		coding = coding || bytes.EqualFold(name, []byte(fiber.HeaderTransferEncoding))
	}
	if coding && (length || !head.IsHTTP11()) {
		return refuse(http.StatusBadRequest, "The length of the request is given in two ways.")
	}
	return nil
}

// field returns a field of a form in the request's body. A query is no form: addresses get
// into logs.
func field(c fiber.Ctx, name string) string { return string(c.Request().PostArgs().Peek(name)) }
