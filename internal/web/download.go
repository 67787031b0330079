package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/text"
)

// there reports whether the result is available and its object is in the store.
func (s *Server) there(ctx context.Context, jv jobView) (bool, error) {
	if jv.State != archive.Available {
		return false, nil
	}
	return s.deps.Downloads.Exists(ctx, jv.Result)
}

// downloadLink returns the short-lived address of the user's result. If the result is not
// there, the error has the words that say so.
func (s *Server) downloadLink(ctx context.Context, of owner, j archive.Job) (string, error) {
	jv := viewJob(j, of)
	there, err := s.there(ctx, jv)
	if err != nil {
		return "", err
	}
	if !there {
		sentence := jv.Look.Sentence
		if jv.State == archive.Available {
			sentence = missing
		}
		return "", &problem{
			status: http.StatusConflict, title: "This file is not here yet", sentence: sentence,
			link: jv.Link, linkText: "Back to " + jv.Name,
		}
	}
	to, err := s.deps.Downloads.PresignGet(ctx, j.Result, fileName(j))
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(to); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("download %s: the store answered no http(s) URL", j.ID)
	}
	s.audit(ctx, "download", "user", of.ID, "job", j.ID)
	return to, nil
}

// missing is the sentence for a file that the catalog has and the store does not have.
const missing = "The result file cannot be found at the moment. Please try again later."

// maxFileName fits every file system, with room for a browser's " (1)".
const maxFileName = 200

// fileName is the name under which a browser saves the result. It comes from the catalog,
// which has it from a user's upload, and it goes into a header. Letters of any script stay.
// Characters go if they mean something to a header, a shell or a file system.
func fileName(j archive.Job) string {
	base := path.Base(strings.ReplaceAll(j.Result.Key, `\`, "/"))
	// Keys have the form <job>~<name>.
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
