package web

import (
	"bytes"
	"compress/gzip"
	"mime"
	"sync"

	"github.com/gofiber/fiber/v3"
)

// leastCompressed is the size from which on an answer is compressed, in bytes.
const leastCompressed = 1000

// zippers are reused: each has tables of many kilobytes.
var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is right
	return z
}}

// compress makes an answer smaller for a browser that takes gzip.
//
// The size of a compressed page tells how often its parts repeat. Somebody who sees the size, and
// makes a browser ask for pages with texts of theirs, can find out a secret of the page (BREACH).
// So a page with a secret differs each time (see [viewer.CSRF]), and an answer for somebody who is
// signed in is compressed only if another site did not cause the request.
func (s *Server) compress(c fiber.Ctx) {
	r := c.Response()
	if r.IsBodyStream() || r.StatusCode() != fiber.StatusOK || len(r.Body()) < leastCompressed || c.Method() == fiber.MethodHead {
		return
	}
	switch kind, _, _ := mime.ParseMediaType(string(r.Header.ContentType())); kind {
	case "text/html", "text/css", "text/javascript", "text/plain", "application/json", "image/svg+xml":
	default:
		return
	}
	c.Vary(fiber.HeaderAcceptEncoding)
	if !c.Request().Header.HasAcceptEncoding("gzip") {
		return
	}
	signedIn := c.Cookies(s.cookieName(sessionCookie)) != ""
	if from := c.Get("Sec-Fetch-Site"); signedIn && from != "same-origin" && from != "none" {
		return
	}
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	var small bytes.Buffer
	small.Grow(len(r.Body()) / 3)
	z.Reset(&small)
	if _, err := z.Write(r.Body()); err != nil || z.Close() != nil {
		return // a buffer takes everything
	}
	r.SetBodyRaw(small.Bytes())
	r.Header.Set(fiber.HeaderContentEncoding, "gzip")
}
