package web

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/gofiber/fiber/v3"
)

// conditional names an answer of the API by its content, and answers with 304 if the program has
// this answer already (RFC 9110, section 13). The name is a weak one: the bytes may be compressed.
func conditional(c fiber.Ctx) {
	r := c.Response()
	if !forAPI(c) || c.Method() != fiber.MethodGet || r.StatusCode() != fiber.StatusOK || r.IsBodyStream() || len(r.Body()) == 0 {
		return
	}
	name := c.GetRespHeader(fiber.HeaderETag)
	if name == "" {
		name = nameOfAnswer(r.Body())
		c.Set(fiber.HeaderETag, name)
	}
	// A browser or a program may keep the answer, and has to ask each time.
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	for known := range strings.SplitSeq(c.Get(fiber.HeaderIfNoneMatch), ",") {
		if known = strings.TrimSpace(known); known == "*" || known != "" && strings.TrimPrefix(known, "W/") == strings.TrimPrefix(name, "W/") {
			r.ResetBody()
			r.Header.Del(fiber.HeaderContentType)
			c.Status(fiber.StatusNotModified)
			return
		}
	}
}

func nameOfAnswer(body []byte) string {
	sum := sha256.Sum256(body)
	return `W/"` + hex.EncodeToString(sum[:12]) + `"`
}
