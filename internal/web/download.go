package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// stat describes the object. there is false if there is none.
func (s *Server) stat(ctx context.Context, o archive.Object) (found archive.Found, there bool, err error) {
	found, err = s.deps.Downloads.Stat(ctx, o)
	if fault.Is(err, fault.NotFound) {
		s.objects.forget(o)
		return archive.Found{}, false, nil
	}
	if err != nil {
		return archive.Found{}, false, err
	}
	s.objects.add(found, s.cfg.Now())
	return found, true, nil
}

// there reports whether the result is available and its object is in the store. It sets the
// view's size and object.
func (s *Server) there(ctx context.Context, jv *jobView) (bool, error) {
	if jv.State != archive.Available {
		return false, nil
	}
	found, there, err := s.stat(ctx, jv.Result)
	if there {
		jv.ResultSize, jv.Found = found.Size, found
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
		if found, ok := s.objects.get(jv.Result, s.cfg.Now()); ok {
			jv.ResultSize, jv.Found = found.Size, found
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
	archive.Found
	at time.Time
}

func (o *objects) get(key archive.Object, now time.Time) (found archive.Found, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.known[key]
	age := now.Sub(k.at)
	return k.Found, ok && age >= 0 && age < objectAge
}

func (o *objects) add(found archive.Found, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || len(o.known) >= maxObjects {
		o.known = map[archive.Object]knownObject{}
	}
	o.known[found.Object] = knownObject{found, now}
}

func (o *objects) forget(key archive.Object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, key)
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
	return s.linkTo(ctx, of, j, jv.Found, fileName(j), ends)
}

// linkTo returns the short-lived address of an object of the user's job.
func (s *Server) linkTo(ctx context.Context, of owner, j archive.Job, found archive.Found, name string, ends time.Time) (string, error) {
	to, err := s.deps.Downloads.PresignGet(ctx, found.Object, name, linkTime(found.Size, ends.Sub(s.cfg.Now())))
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(to); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("download %s: the store answered no http(s) URL", j.ID)
	}
	s.audit(ctx, "download", "user", of.ID, "job", j.ID, "file", name)
	return to, nil
}

// logLink returns the short-lived address of the job's log, for a session that ends at a
// time. If there is no log, the error has the words that say so.
func (s *Server) logLink(ctx context.Context, of owner, j archive.Job, ends time.Time) (string, error) {
	found, there, err := s.logOf(ctx, j)
	if err != nil {
		return "", err
	}
	if !there {
		jv := viewJob(j, of)
		return "", &problem{
			status: http.StatusNotFound, title: "There is no log", sentence: "This annotation has no log file.",
			link: jv.Link, linkText: "Back to " + text.Isolate(jv.Name),
		}
	}
	return s.linkTo(ctx, of, j, found, nameOfObject(j.ID, j.Log), ends)
}

// logOf describes the job's log. there is false if there is none. A log that was there a moment
// ago is there.
func (s *Server) logOf(ctx context.Context, j archive.Job) (found archive.Found, there bool, err error) {
	if j.Log.Key == "" || j.Log.Bucket == "" {
		return archive.Found{}, false, nil
	}
	if found, ok := s.objects.get(j.Log, s.cfg.Now()); ok {
		return found, true, nil
	}
	return s.stat(ctx, j.Log)
}

// logTail is how much of a log a page shows, in bytes.
const logTail = 2000

// endOfLog returns the last lines of a log.
func (s *Server) endOfLog(ctx context.Context, found archive.Found) (string, error) {
	begin := max(found.Size-logTail, 0)
	r, err := s.deps.Downloads.Read(ctx, found, begin)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, logTail))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", found.Object, err)
	}
	lines := strings.ToValidUTF8(string(data), "\uFFFD")
	if _, whole, ok := strings.Cut(lines, "\n"); ok && begin > 0 {
		lines = whole
	}
	lines = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, lines)
	return text.Balance(strings.TrimSpace(lines)), nil
}

// missing is the sentence for a file that the catalog has and the store does not have.
const missing = "The result file cannot be found at the moment. Please try again later."

// maxFileName fits every file system, with room for a browser's " (1)".
const maxFileName = 200

// fileName is the name under which a browser saves the result. It comes from the catalog,
// which has it from a user's upload, and it goes into a header. Letters of any script stay.
// Characters go if they mean something to a header, a shell or a file system.
func fileName(j archive.Job) string { return nameOfObject(j.ID, j.Result) }

// nameOfObject is fileName for any object of the job.
func nameOfObject(job events.JobID, o archive.Object) string {
	base := path.Base(strings.ReplaceAll(o.Key, `\`, "/"))
	// Keys have the form <job>~<name>.
	base = strings.TrimPrefix(base, string(job)+"~")
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
