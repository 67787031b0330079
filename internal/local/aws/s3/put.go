package s3

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// writeCondition is what If-Match and If-None-Match demand of a write.
type writeCondition struct {
	absent bool
	match  string
}

func parseWriteCondition(h http.Header) (writeCondition, *world.Error) {
	c := writeCondition{match: strings.Trim(h.Get("If-Match"), `"`)}
	if v := h.Get("If-None-Match"); v != "" {
		if v != "*" {
			return c, missing("If-None-Match with anything but * on a write")
		}
		c.absent = true
	}
	if c.absent && c.match != "" {
		return c, missing("If-Match and If-None-Match together")
	}
	return c, nil
}

func (c writeCondition) any() bool { return c.absent || c.match != "" }

// check tells whether the condition holds at the place. The caller holds s.mu.
func (s *Service) check(c writeCondition, place string) *world.Error {
	if !c.any() {
		return nil
	}
	o, ok := s.objects.Get(place)
	switch {
	case c.absent && ok:
		return precondition("If-None-Match")
	case c.match != "" && !ok:
		_, key, _ := strings.Cut(place, "/")
		return noKey(key)
	case c.match != "" && !o.matches(c.match):
		return precondition("If-Match")
	}
	return nil
}

// begin checks a write's condition before its body is read. end must be called.
func (s *Service) begin(c writeCondition, place string) (w *watch, end func(), _ *world.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(c, place); err != nil {
		return nil, nil, err
	}
	if !c.any() {
		return &watch{}, func() {}, nil
	}
	w = &watch{}
	if s.watched[place] == nil {
		s.watched[place] = map[*watch]bool{}
	}
	s.watched[place][w] = true
	return w, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watched[place], w)
		if len(s.watched[place]) == 0 {
			delete(s.watched, place)
		}
	}, nil
}

// commit stores o at the place, if the bucket is still there and the condition
// still holds. The caller holds s.mu and calls what commit returns after it let go.
func (s *Service) commit(place string, o *object, c writeCondition, w *watch) (func(), *world.Error) {
	name, _, _ := strings.Cut(place, "/")
	b, ok := s.buckets.Get(name)
	if !ok {
		return nil, noBucket(name)
	}
	if err := s.check(c, place); err != nil {
		return nil, err
	}
	if w != nil && w.conflict {
		e := world.Errorf(409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.")
		e.Fields = map[string]any{"Condition": "If-None-Match"}
		return nil, e
	}
	return s.add(place, b.Versioning, o), nil
}

func (s *Service) putObject(r *request) *world.Error {
	p, err := parsePayload(r.Request)
	if err != nil {
		return err
	}
	o := &object{}
	if err := o.describe(r.Header); err != nil {
		return err
	}
	condition, err := parseWriteCondition(r.Header)
	if err != nil {
		return err
	}
	w, end, err := s.begin(condition, r.place())
	if err != nil {
		return err
	}
	defer end()
	if o.Sum.Algorithm = p.claim.algorithm; o.Sum.Algorithm == "" {
		o.Sum.Algorithm = crc64Sum
	}
	got, pieces, done, err := s.store(p, o.Sum.Algorithm)
	if err != nil {
		return err
	}
	o.Size, o.ETag, o.Pieces = got.size, etag(got.md5), pieces
	o.Sum.Type, o.Sum.Value = fullObject, encode64(got.sum)
	s.mu.Lock()
	o.Modified = s.world.Clock.Now()
	clean, err := s.commit(r.place(), o, condition, w)
	if err == nil {
		s.created(r, "Put", o)
	}
	s.mu.Unlock()
	done(err == nil)
	if err != nil {
		return err
	}
	clean()
	s.showVersion(r, "X-Amz-Version-Id", r.bucket, o)
	h := r.w.Header()
	h["Etag"] = []string{o.quoted()}
	h.Set(o.Sum.Algorithm.header(), o.Sum.Value)
	h.Set("X-Amz-Checksum-Type", fullObject)
	h.Set("X-Amz-Server-Side-Encryption", "AES256")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

// store reads a body into a file of its own. done must be called with whether
// what it returned was stored; until then the file is used once.
func (s *Service) store(p *payload, a algorithm) (got received, pieces []piece, done func(bool), _ *world.Error) {
	if p.length == 0 {
		got, err := p.receive(nil, a)
		return got, nil, func(bool) {}, err
	}
	d, err := s.files.create()
	if err != nil {
		return got, nil, nil, err
	}
	got, err = p.receive(d.File, a)
	if err == nil {
		err = d.close()
	}
	if err != nil {
		d.discard()
		return got, nil, nil, err
	}
	pieces = []piece{{File: d.name, Size: got.size}}
	s.files.use(pieces)
	return got, pieces, func(stored bool) {
		if !stored {
			s.files.release(pieces)
		}
		d.keep()
	}, nil
}

func (s *Service) deleteObject(r *request) *world.Error {
	if r.Header.Get("If-None-Match") != "" {
		return missing("If-None-Match on a deletion")
	}
	condition, err := parseWriteCondition(r.Header)
	if err != nil {
		return err
	}
	s.mu.Lock()
	err = s.checkDeletion(condition, r.place())
	if err != nil {
		s.mu.Unlock()
		return err
	}
	done, clean := s.remove(r, r.key, r.version)
	s.mu.Unlock()
	clean()
	if done.version != "" {
		r.w.Header().Set("X-Amz-Version-Id", done.version)
	}
	if done.marker {
		r.w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}

type deleteRequest struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Object  []struct {
		Key       string
		ETag      string
		VersionId string
	}
}

type deleteResult struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deletedObject
	Error   []struct{ Key, Code, Message string }
}

type deletedObject struct {
	Key                   string
	VersionId             string `xml:",omitempty"` // that the request named
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionId string `xml:",omitempty"`
}

func (s *Service) deleteObjects(r *request) *world.Error {
	body, checked, err := document(r.Request, 2<<20)
	if err != nil {
		return err
	}
	if !checked {
		return world.Errorf(400, "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	var in deleteRequest
	if err := parseXML(body, &in); err != nil {
		return err
	}
	if len(in.Object) == 0 || len(in.Object) > 1000 {
		return malformedXML()
	}
	var out deleteResult
	for _, o := range in.Object {
		place := r.bucket + "/" + o.Key
		fail := func(e *world.Error) {
			out.Error = append(out.Error, struct{ Key, Code, Message string }{o.Key, e.Code, e.Message})
		}
		if o.Key == "" || len(o.Key) > maxKey {
			fail(badArgument("a key must have 1 to %d bytes", maxKey))
			continue
		}
		if o.VersionId != "" && !isVersion(o.VersionId) {
			fail(world.Errorf(400, "NoSuchVersion", "The specified version does not exist."))
			continue
		}
		s.mu.Lock()
		err := s.checkDeletion(writeCondition{match: strings.Trim(o.ETag, `"`)}, place)
		if err != nil {
			s.mu.Unlock()
			fail(err)
			continue
		}
		done, clean := s.remove(r, o.Key, o.VersionId)
		s.mu.Unlock()
		clean()
		if in.Quiet {
			continue
		}
		it := deletedObject{Key: o.Key, VersionId: o.VersionId, DeleteMarker: done.marker}
		if done.marker {
			it.DeleteMarkerVersionId = done.version
		}
		out.Deleted = append(out.Deleted, it)
	}
	return r.answer(out)
}

func malformedXML() *world.Error {
	return world.Errorf(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func parseXML(body []byte, into any) *world.Error {
	d := xml.NewDecoder(strings.NewReader(string(body)))
	if err := d.Decode(into); err != nil {
		return malformedXML()
	}
	if _, err := d.Token(); err != io.EOF {
		return malformedXML()
	}
	return nil
}

// source opens the object that x-amz-copy-source names.
func (s *Service) source(r *request) (place string, o *object, done func(), _ *world.Error) {
	text, query, _ := strings.Cut(r.Header.Get("X-Amz-Copy-Source"), "?")
	path, parseErr := url.PathUnescape(text)
	name, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if parseErr != nil || !ok || name == "" || key == "" {
		return "", nil, nil, badArgument("Invalid copy source object key")
	}
	id, named := strings.CutPrefix(query, "versionId=")
	if query != "" && (!named || !isVersion(id)) {
		return "", nil, nil, badVersion()
	}
	if _, ok := s.buckets.Get(name); !ok {
		return "", nil, nil, noBucket(name)
	}
	place = name + "/" + key
	o, done, ok = s.open(place, id)
	switch {
	case !ok && named:
		return "", nil, nil, noVersion(key, id)
	case !ok:
		return "", nil, nil, noKey(key)
	case o.Marker:
		done()
		return "", nil, nil, world.Errorf(400, "InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	s.showVersion(r, "X-Amz-Copy-Source-Version-Id", name, o)
	err := o.unmet(r.Header, "X-Amz-Copy-Source-")
	if err == nil && !s.readable(place, o) {
		err = notActive()
	}
	if err != nil {
		done()
		return "", nil, nil, err
	}
	return place, o, done, nil
}

type copyResult struct {
	XMLName      xml.Name
	ETag         string
	LastModified string
	checksums
}

// checksums is the element that each algorithm has in XML.
type checksums struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func (c *checksums) of(a algorithm) *string {
	switch a {
	case crc32Sum:
		return &c.ChecksumCRC32
	case crc32cSum:
		return &c.ChecksumCRC32C
	case sha1Sum:
		return &c.ChecksumSHA1
	case sha256Sum:
		return &c.ChecksumSHA256
	}
	return &c.ChecksumCRC64NVME
}

func (s *Service) copyObject(r *request) *world.Error {
	from, src, done, err := s.source(r)
	if err != nil {
		return err
	}
	defer done()
	if src.Size > maxPut {
		return world.Errorf(400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	condition, err := parseWriteCondition(r.Header)
	if err != nil {
		return err
	}
	o := &object{Size: src.Size, Pieces: src.Pieces, Headers: src.Headers, Meta: src.Meta, ETag: src.ETag, Sum: src.Sum}
	switch d := r.Header.Get("X-Amz-Metadata-Directive"); d {
	case "", "COPY":
		if err := o.setClass(r.Header); err != nil {
			return err
		}
		if current, _ := s.objects.Get(from); from == r.place() && src == current && o.Class == src.Class {
			return world.Errorf(400, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
	case "REPLACE":
		if err := o.describe(r.Header); err != nil {
			return err
		}
	default:
		return badArgument("Unknown metadata directive.")
	}
	want := src.Sum.Algorithm
	if name := r.Header.Get("X-Amz-Checksum-Algorithm"); name != "" {
		if want, err = parseAlgorithm(name); err != nil {
			return err
		}
	}
	if len(src.Parts) > 0 || src.Sum.Algorithm != want || src.Sum.Type != fullObject {
		// The copy is one part: its ETag and checksum are of its bytes.
		got, err := s.digest(src.Pieces, want)
		if err != nil {
			return err
		}
		o.ETag, o.Sum = etag(got.md5), sum{want, fullObject, encode64(got.sum)}
	}
	s.files.use(o.Pieces)
	s.mu.Lock()
	o.Modified = s.world.Clock.Now()
	clean, err := s.commit(r.place(), o, condition, nil)
	if err == nil {
		s.created(r, "Copy", o)
	}
	s.mu.Unlock()
	if err != nil {
		s.files.release(o.Pieces)
		return err
	}
	clean()
	s.showVersion(r, "X-Amz-Version-Id", r.bucket, o)
	out := copyResult{ETag: o.quoted(), LastModified: timestamp(o.Modified)}
	out.XMLName = xml.Name{Space: namespace, Local: "CopyObjectResult"}
	*out.of(o.Sum.Algorithm) = o.Sum.Value
	out.ChecksumType = o.Sum.Type
	return r.answer(out)
}

// digest reads pieces for their MD5 and checksum.
func (s *Service) digest(pieces []piece, a algorithm) (received, *world.Error) {
	var size int64
	for _, p := range pieces {
		size += p.Size
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(s.send(pw, pieces, 0, size)) }()
	defer pr.Close()
	p := &payload{r: pr, length: size}
	return p.receive(nil, a)
}
