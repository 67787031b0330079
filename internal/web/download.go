package web

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/text"
)

// download leads to the result file, if it is there.
func (s *Server) download(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	j, err := v.ownJob()
	if err != nil {
		return err
	}
	jv := viewJob(j, v.account.Role)
	there := false
	if jv.State == archive.Available {
		if there, err = s.deps.Downloads.Exists(c.Context(), j.Result); err != nil {
			return err
		}
	}
	if !there {
		sentence := jv.Look.Sentence
		if jv.State == archive.Available {
			sentence = missing
		}
		return &problem{
			status: http.StatusConflict, title: "This file is not here yet", sentence: sentence,
			link: jv.Link, linkText: "Back to " + jv.Name,
		}
	}
	to, err := s.deps.Downloads.PresignGet(c.Context(), j.Result, fileName(j))
	if err != nil {
		return err
	}
	if u, err := url.Parse(to); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("download %s: the store answered no http(s) URL", j.ID)
	}
	s.audit(c, "download", "user", v.account.ID, "job", j.ID)
	return c.Redirect().Status(http.StatusFound).To(to)
}

// missing is said when the catalog and the store differ.
const missing = "The result file cannot be found at the moment. Please try again later."

// maxFileName fits every file system, with room for a browser's " (1)".
const maxFileName = 200

// fileName is what the result is saved as. It comes from the catalog, which
// has it from a user's upload, and ends up in a header: letters of any script
// stay, what means something to a header, a shell or a file system goes.
func fileName(j archive.Job) string {
	base := path.Base(strings.ReplaceAll(j.Result.Key, `\`, "/"))
	// Keys are written as <job>~<name>.
	base = strings.TrimPrefix(base, string(j.ID)+"~")
	name := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.Is(unicode.Mn, r), strings.ContainsRune(" ._-+()", r):
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return '_'
	}, base)
	name = strings.TrimRight(text.Clip(name, maxFileName), " .")
	name = strings.TrimLeft(name, " .-")
	if name == "" {
		return "result"
	}
	return name
}
