package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/text"
)

// there reports whether the result is available and its object is in the store. It sets the
// view's size.
func (s *Server) there(ctx context.Context, jv *jobView) (bool, error) {
	if jv.State != archive.Available {
		return false, nil
	}
	size, there, err := s.deps.Downloads.Size(ctx, jv.Result)
	if there {
		jv.ResultSize = size
		s.objects.add(jv.Result, size, s.cfg.Now())
	}
	return there, err
}

// thereAll does so for the rows of a list. It marks the rows without an object, and leaves
// a row as it is if nobody knows. An object that was there a moment ago is there.
func (s *Server) thereAll(ctx context.Context, rows []jobView) {
	var g errgroup.Group
	g.SetLimit(8)
	for i := range rows {
		jv := &rows[i]
		if jv.State != archive.Available {
			continue
		}
		if size, ok := s.objects.get(jv.Result, s.cfg.Now()); ok {
			jv.ResultSize = size
			continue
		}
		g.Go(func() error {
			there, err := s.there(ctx, jv)
			if err == nil && !there {
				jv.Look = notThere
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.lack(ctx, "a list does not say whether each file is there", err)
	}
}

// notThere is the look of a file that the catalog has and the store does not have.
var notThere = look{Label: "Needs attention", Icon: "cross", Tone: "bad", Sentence: missing}

const (
	// objectAge is how long an object is believed to be there.
	objectAge = time.Minute
	// maxObjects bounds how many are remembered.
	maxObjects = 50_000
)

// objects remembers the objects that were there a moment ago. The zero value is ready.
type objects struct {
	mu    sync.Mutex // guards known
	known map[archive.Object]knownObject
}

type knownObject struct {
	size int64
	at   time.Time
}

func (o *objects) get(key archive.Object, now time.Time) (size int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.known[key]
	age := now.Sub(k.at)
	return k.size, ok && age >= 0 && age < objectAge
}

func (o *objects) add(key archive.Object, size int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || len(o.known) >= maxObjects {
		o.known = map[archive.Object]knownObject{}
	}
	o.known[key] = knownObject{size, now}
}

const (
	// shortestLink is how long a link to a file works at least. slowest is the number of bytes
	// a second with which a browser should be able to fetch a file while the link works: a
	// browser that lost its connection resumes with the same link.
	shortestLink = 5 * time.Minute
	slowest      = 250_000
)

// linkTime returns how long a link to a file works. It does not outlive the session by more
// than shortestLink.
func linkTime(size int64, session time.Duration) time.Duration {
	most := max(session, shortestLink)
	if seconds := size / slowest; seconds < int64(most/time.Second) {
		return min(shortestLink+time.Duration(seconds)*time.Second, most)
	}
	return most
}

// downloadLink returns the short-lived address of the user's result, for a session that
// ends at a time. If the result is not there, the error has the words that say so.
func (s *Server) downloadLink(ctx context.Context, of owner, j archive.Job, ends time.Time) (string, error) {
	jv := viewJob(j, of)
	there, err := s.there(ctx, &jv)
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
			link: jv.Link, linkText: "Back to " + text.Isolate(jv.Name),
		}
	}
	to, err := s.deps.Downloads.PresignGet(ctx, j.Result, fileName(j), linkTime(jv.ResultSize, ends.Sub(s.cfg.Now())))
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
	name = text.Clip(name, len(name))
	if ext := extension(name); len(name) > maxFileName {
		name = text.Clip(strings.TrimSuffix(name, ext), maxFileName-len(ext)) + ext
	}
	name = strings.TrimRight(name, " .")
	name = strings.TrimLeft(name, " .-")
	if name == "" {
		return "result"
	}
	return name
}

// extension returns the end of a name that says what is in the file, such as .annot.vcf.gz.
// The name keeps it when it is cut.
func extension(name string) string {
	const most, each = 32, 12
	begin := len(name)
	for {
		i := strings.LastIndexByte(name[:begin], '.')
		if i < 1 || begin-i > each || len(name)-i > most || strings.ContainsRune(name[i:begin], ' ') {
			return name[begin:]
		}
		begin = i
	}
}
