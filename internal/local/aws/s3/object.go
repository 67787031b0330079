package s3

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// object is a stored object. It is not changed after it was stored.
type object struct {
	Size     int64
	ETag     string // without quotes
	Modified time.Time
	Headers  map[string]string `json:",omitempty"` // Content-Type and the like
	Meta     map[string]string `json:",omitempty"` // without their prefix
	Class    string            `json:",omitempty"` // empty: STANDARD
	Version  string            `json:",omitempty"` // empty: the null version
	Seq      int64             `json:",omitempty"` // the order of versions; 0: older than all versions
	Marker   bool              `json:",omitempty"` // it is a delete marker
	Sum      sum
	Pieces   []piece
	Parts    []partInfo `json:",omitempty"` // of a multipart upload
}

// sum is an object's or a part's checksum.
type sum struct {
	Algorithm algorithm
	Type      string
	Value     string
}

// partInfo is what remains of a part in its object.
type partInfo struct {
	Size int64
	Sum  string
}

const maxMeta = 2048

// kept are the headers that come back as they were put.
var kept = []string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}

// describe fills o with the metadata in the headers of a request.
func (o *object) describe(h http.Header) *world.Error {
	o.Headers, o.Meta = map[string]string{}, map[string]string{}
	for _, name := range kept {
		v := h.Get(name)
		if name == "Content-Encoding" {
			v = withoutChunked(v)
		}
		if v != "" {
			o.Headers[name] = v
		}
	}
	if o.Headers["Content-Type"] == "" {
		o.Headers["Content-Type"] = "binary/octet-stream"
	}
	n := 0
	for name, v := range h {
		if rest, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			o.Meta[rest] = strings.Join(v, ",")
			n += len(rest) + len(o.Meta[rest])
		}
	}
	if n > maxMeta {
		e := world.Errorf(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
		e.Fields = map[string]any{"Size": n, "MaxSizeAllowed": maxMeta}
		return e
	}
	return o.setClass(h)
}

// withoutChunked takes aws-chunked, which is of the transfer only, out of a
// Content-Encoding.
func withoutChunked(v string) string {
	var out []string
	for _, e := range strings.Split(v, ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			out = append(out, e)
		}
	}
	return strings.Join(out, ",")
}

func (o *object) quoted() string { return `"` + o.ETag + `"` }

// open returns a version of the object, the current one if id is empty, with a reader
// counted; call done when it is read.
func (s *Service) open(place, id string) (o *object, done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	o, ok = s.find(place, id)
	if !ok {
		return nil, nil, false
	}
	s.readers[o]++
	return o, func() { s.close(o) }, true
}

func (s *Service) close(o *object) {
	s.mu.Lock()
	s.readers[o]--
	last := s.readers[o] == 0
	if last {
		delete(s.readers, o)
	}
	free := last && s.gone[o]
	if free {
		delete(s.gone, o)
	}
	s.mu.Unlock()
	if free {
		s.files.release(o.Pieces)
	}
}

// drop takes an object that is no longer stored at the place out of use, with its restore.
// The caller holds s.mu, and calls what drop returns after it let go.
func (s *Service) drop(place string, o *object) func() {
	if o == nil {
		return func() {}
	}
	if o.cold() {
		s.restores.Delete(versionPlace(place, o.Version))
	}
	if s.readers[o] > 0 {
		s.gone[o] = true
		return func() {}
	}
	return func() { s.files.release(o.Pieces) }
}

// unmet returns the error of the read condition in h that o doesn't meet.
func (o *object) unmet(h http.Header, prefix string) *world.Error {
	match, noneMatch := h.Get(prefix+"If-Match"), h.Get(prefix+"If-None-Match")
	modified := o.Modified.Truncate(time.Second)
	if match != "" {
		if !o.matches(match) {
			return precondition(prefix + "If-Match")
		}
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Unmodified-Since")); err == nil && modified.After(t) {
		return precondition(prefix + "If-Unmodified-Since")
	}
	status := http.StatusNotModified
	if prefix != "" {
		status = http.StatusPreconditionFailed
	}
	since, sinceErr := http.ParseTime(h.Get(prefix + "If-Modified-Since"))
	if noneMatch != "" && o.matches(noneMatch) || noneMatch == "" && sinceErr == nil && !modified.After(since) {
		e := precondition(prefix + "If-None-Match")
		e.Status = status
		return e
	}
	return nil
}

// matches tells whether a list of ETags has o's.
func (o *object) matches(list string) bool {
	for _, e := range strings.Split(list, ",") {
		e = strings.TrimSpace(e)
		if e == "*" || strings.Trim(e, `"`) == o.ETag {
			return true
		}
	}
	return false
}

// window is the part of an object that a request wants.
type window struct {
	from, size int64
	partial    bool
	part       int // its number, if the request named one
}

// window reads Range and partNumber.
func (o *object) window(r *request) (window, *world.Error) {
	whole := window{size: o.Size}
	text, hasPart := r.query["partNumber"]
	spec := r.Header.Get("Range")
	if hasPart {
		if spec != "" {
			return whole, world.Errorf(400, "InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
		}
		n, err := partNumber(text)
		if err != nil {
			return whole, err
		}
		if n > max(1, len(o.Parts)) {
			return whole, world.Errorf(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
		}
		w := window{size: o.Size, partial: true, part: n}
		if len(o.Parts) > 0 {
			for _, p := range o.Parts[:n-1] {
				w.from += p.Size
			}
			w.size = o.Parts[n-1].Size
		}
		return w, nil
	}
	from, to, ok := parseRange(spec, o.Size)
	if !ok {
		return whole, nil
	}
	if from >= o.Size || to < from {
		e := world.Errorf(416, "InvalidRange", "The requested range is not satisfiable")
		e.Fields = map[string]any{"RangeRequested": clip(spec), "ActualObjectSize": o.Size}
		return whole, e
	}
	return window{from: from, size: to - from + 1, partial: true}, nil
}

// parseRange reads bytes=a-b, bytes=a- or bytes=-n. It returns not ok for anything else,
// and the caller ignores the range, as AWS does.
func parseRange(spec string, size int64) (from, to int64, ok bool) {
	rest, ok := strings.CutPrefix(spec, "bytes=")
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(strings.TrimSpace(rest), "-")
	if !ok {
		return 0, 0, false
	}
	digits := func(s string) (int64, bool) {
		n, err := strconv.ParseUint(s, 10, 63)
		return int64(n), err == nil
	}
	if a == "" {
		n, ok := digits(b)
		if !ok {
			return 0, 0, false
		}
		if n == 0 {
			return size, size - 1, true // nothing: not satisfiable
		}
		return max(0, size-n), size - 1, true
	}
	if from, ok = digits(a); !ok {
		return 0, 0, false
	}
	if b == "" {
		return from, size - 1, true
	}
	if to, ok = digits(b); !ok || to < from {
		return 0, 0, false
	}
	return from, min(to, size-1), true
}

// overrides are the response-* parameters and the headers they set.
var overrides = map[string]string{
	"response-content-type": "Content-Type", "response-content-language": "Content-Language", "response-expires": "Expires",
	"response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition",
	"response-content-encoding": "Content-Encoding",
}

// head sets the response headers of o.
func (o *object) head(r *request, w window) {
	h := r.w.Header()
	for name, v := range o.Headers {
		h.Set(name, v)
	}
	for name, v := range o.Meta {
		h.Set("X-Amz-Meta-"+name, v)
	}
	for param, name := range overrides {
		if v := r.query[param]; v != "" {
			h.Set(name, v)
		}
	}
	o.validators(h)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(w.size, 10))
	h.Set("X-Amz-Server-Side-Encryption", "AES256")
	if o.Class != "" {
		h.Set("X-Amz-Storage-Class", o.Class)
	}
	if w.partial && o.Size > 0 {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", w.from, w.from+w.size-1, o.Size))
	}
	if w.part > 0 && len(o.Parts) > 0 {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(o.Parts)))
	}
	if !strings.EqualFold(r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") || o.Sum.Value == "" {
		return
	}
	switch {
	case w.part > 0 && len(o.Parts) > 0:
		if v := o.Parts[w.part-1].Sum; v != "" {
			h.Set(o.Sum.Algorithm.header(), v)
			h.Set("X-Amz-Checksum-Type", o.Sum.Type)
		}
	case !w.partial || w.part > 0:
		h.Set(o.Sum.Algorithm.header(), o.Sum.Value)
		h.Set("X-Amz-Checksum-Type", o.Sum.Type)
	}
}

func (o *object) validators(h http.Header) {
	h["Etag"] = []string{o.quoted()}
	h.Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
}

func (s *Service) headObject(r *request) *world.Error { return s.serveObject(r, false) }
func (s *Service) getObject(r *request) *world.Error  { return s.serveObject(r, true) }

func (s *Service) serveObject(r *request, body bool) *world.Error {
	o, done, ok := s.open(r.place(), r.version)
	if !ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.absent(r, r.key, r.version)
	}
	defer done()
	if o.Marker {
		return s.notAllowed(r, o)
	}
	if err := o.unmet(r.Header, ""); err != nil {
		if err.Status == http.StatusNotModified {
			o.validators(r.w.Header())
		}
		return err
	}
	it, restored := s.restoreOf(r.place(), o)
	if body && o.cold() && (!restored || it.underWay()) {
		return invalidState(o.Class)
	}
	w, err := o.window(r)
	if err != nil {
		return err
	}
	o.head(r, w)
	s.showVersion(r, "X-Amz-Version-Id", r.bucket, o)
	if restored {
		r.w.Header().Set("X-Amz-Restore", it.header())
	}
	if w.partial {
		r.w.WriteHeader(http.StatusPartialContent)
	} else {
		r.w.WriteHeader(http.StatusOK)
	}
	if body && s.send(r.w, o.Pieces, w.from, w.size) != nil {
		panic(http.ErrAbortHandler) // the status is out: only a cut tells the client
	}
	return nil
}

// send writes size bytes from offset from of the pieces to w.
func (s *Service) send(w io.Writer, pieces []piece, from, size int64) error {
	for _, p := range cut(pieces, from, size) {
		f, err := s.world.OpenBlob(p.File)
		if err != nil {
			return err
		}
		_, err = f.Seek(p.Offset, io.SeekStart)
		if err == nil {
			// An *os.File goes to a connection without passing through here.
			_, err = io.CopyN(w, f, p.Size)
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// cut returns the pieces of a window.
func cut(pieces []piece, from, size int64) []piece {
	var out []piece
	for _, p := range pieces {
		if size <= 0 {
			break
		}
		if from >= p.Size {
			from -= p.Size
			continue
		}
		n := min(p.Size-from, size)
		out = append(out, piece{p.File, p.Offset + from, n})
		size -= n
		from = 0
	}
	return out
}

func etag(md5 []byte) string { return hex.EncodeToString(md5) }
