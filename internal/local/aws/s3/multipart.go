package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Limits of multipart uploads.
const (
	maxParts   = 10_000
	minPart    = 5 << 20
	maxListing = 1000
)

// upload is a multipart upload that is under way.
type upload struct {
	ID       string
	Bucket   string
	Key      string
	Begun    time.Time
	Headers  map[string]string
	Meta     map[string]string
	Class    string
	Sum      sum  // without a value
	Explicit bool // whether the client chose the checksum
}

// part is a part of an upload.
type part struct {
	Number int
	Size   int64
	MD5    []byte
	Sum    string // by the upload's algorithm
	// Claimed is the checksum that it was sent with, if that is another one.
	Claimed  sum
	Modified time.Time
	Pieces   []piece
}

// checksum returns the part's checksum by algorithm a, empty if none is known.
func (p *part) checksum(u *upload, a algorithm) string {
	switch a {
	case u.Sum.Algorithm:
		return p.Sum
	case p.Claimed.Algorithm:
		return p.Claimed.Value
	}
	return ""
}

func (p *part) quoted() string { return `"` + etag(p.MD5) + `"` }

func uploadPlace(bucket, key, id string) string { return bucket + "/" + key + "\x00" + id }

func partPlace(id string, number int) string { return fmt.Sprintf("%s/%05d", id, number) }

// upload returns the upload that the request names.
func (s *Service) upload(r *request) (*upload, *world.Error) {
	s.expireUploads(r.bucket)
	id := r.query["uploadId"]
	u, ok := s.uploads.Get(uploadPlace(r.bucket, r.key, id))
	if !ok {
		return nil, noUpload(id)
	}
	return u, nil
}

type createUploadResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
	Bucket, Key, UploadId string
}

func (s *Service) createUpload(r *request) *world.Error {
	var o object
	if err := o.describe(r.Header); err != nil {
		return err
	}
	now := s.world.Clock.Now()
	u := &upload{
		ID: fmt.Sprintf("%016x", now.UnixNano()) + world.ID(16), Bucket: r.bucket, Key: r.key, Begun: now,
		Headers: o.Headers, Meta: o.Meta, Class: o.Class,
	}
	if err := u.chooseSum(r.Header); err != nil {
		return err
	}
	s.mu.Lock()
	_, ok := s.buckets.Get(r.bucket)
	if ok {
		s.uploads.Put(uploadPlace(r.bucket, r.key, u.ID), u)
	}
	s.mu.Unlock()
	if !ok {
		return noBucket(r.bucket)
	}
	if u.Explicit {
		r.w.Header().Set("X-Amz-Checksum-Algorithm", string(u.Sum.Algorithm))
		r.w.Header().Set("X-Amz-Checksum-Type", u.Sum.Type)
	}
	r.w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	return r.answer(createUploadResult{Bucket: r.bucket, Key: r.key, UploadId: u.ID})
}

// chooseSum reads which checksum the object is to have.
func (u *upload) chooseSum(h http.Header) *world.Error {
	name, kind := h.Get("X-Amz-Checksum-Algorithm"), h.Get("X-Amz-Checksum-Type")
	if name == "" {
		if kind != "" {
			return world.Errorf(400, "InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		u.Sum = sum{Algorithm: crc64Sum, Type: fullObject}
		return nil
	}
	a, err := parseAlgorithm(name)
	if err != nil {
		return err
	}
	u.Explicit = true
	switch {
	case kind == "" && a == crc64Sum:
		kind = fullObject
	case kind == "":
		kind = composite
	case kind != fullObject && kind != composite:
		return world.Errorf(400, "InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
	case kind == fullObject && !a.combines(), kind == composite && a == crc64Sum:
		return world.Errorf(400, "InvalidRequest", "The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(string(a)))
	}
	u.Sum = sum{Algorithm: a, Type: kind}
	return nil
}

func partNumber(text string) (int, *world.Error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxParts {
		return 0, badArgument("Part number must be an integer between 1 and %d, inclusive", maxParts)
	}
	return n, nil
}

// accepts refuses a part with a checksum of another kind than the upload's.
func (u *upload) accepts(c claim) *world.Error {
	want, got := strings.ToLower(string(u.Sum.Algorithm)), "null"
	if c.algorithm != "" {
		got = strings.ToLower(string(c.algorithm))
	}
	switch {
	case c.algorithm == u.Sum.Algorithm:
	case c.algorithm == "" && u.Sum.Type == fullObject: // it is worked out here
	case !u.Explicit: // clients send one with each part without having chosen it for the upload
	default:
		return world.Errorf(400, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", want, got)
	}
	return nil
}

func (s *Service) uploadPart(r *request) *world.Error {
	n, err := partNumber(r.query["partNumber"])
	if err != nil {
		return err
	}
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	p, err := parsePayload(r.Request)
	if err != nil {
		return err
	}
	if err := u.accepts(p.claim); err != nil {
		return err
	}
	got, pieces, done, err := s.store(p, u.Sum.Algorithm)
	if err != nil {
		return err
	}
	it := &part{Number: n, Size: got.size, MD5: got.md5, Sum: encode64(got.sum), Pieces: pieces}
	if p.claim.algorithm != "" && p.claim.algorithm != u.Sum.Algorithm {
		it.Claimed = sum{Algorithm: p.claim.algorithm, Value: encode64(got.claimed)}
	}
	err = s.addPart(u, it)
	done(err == nil)
	if err != nil {
		return err
	}
	h := r.w.Header()
	h["Etag"] = []string{it.quoted()}
	if it.Claimed.Value != "" {
		h.Set(it.Claimed.Algorithm.header(), it.Claimed.Value)
	} else {
		h.Set(u.Sum.Algorithm.header(), it.Sum)
	}
	h.Set("X-Amz-Server-Side-Encryption", "AES256")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

// addPart stores a part, unless the upload is gone. The part's files are already counted.
func (s *Service) addPart(u *upload, it *part) *world.Error {
	s.mu.Lock()
	if _, ok := s.uploads.Get(uploadPlace(u.Bucket, u.Key, u.ID)); !ok {
		s.mu.Unlock()
		return noUpload(u.ID)
	}
	place := partPlace(u.ID, it.Number)
	old, replaced := s.parts.Get(place)
	it.Modified = s.world.Clock.Now()
	s.parts.Put(place, it)
	s.mu.Unlock()
	if replaced {
		s.files.release(old.Pieces)
	}
	return nil
}

func (s *Service) uploadPartCopy(r *request) *world.Error {
	n, err := partNumber(r.query["partNumber"])
	if err != nil {
		return err
	}
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	_, src, done, err := s.source(r)
	if err != nil {
		return err
	}
	defer done()
	from, size := int64(0), src.Size
	if spec := r.Header.Get("X-Amz-Copy-Source-Range"); spec != "" {
		a, b, ok := parseRange(spec, 1<<62)
		if !ok || strings.Contains(spec, "=-") || strings.HasSuffix(spec, "-") || a > b {
			return badArgument("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
		}
		if b >= src.Size {
			return badArgument("Range specified is not valid for source object of size: %d", src.Size)
		}
		from, size = a, b-a+1
	}
	if size > maxPut {
		return world.Errorf(400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	pieces := cut(src.Pieces, from, size)
	got, err := s.digest(pieces, u.Sum.Algorithm)
	if err != nil {
		return err
	}
	it := &part{Number: n, Size: size, MD5: got.md5, Sum: encode64(got.sum), Pieces: pieces}
	s.files.use(pieces)
	if err := s.addPart(u, it); err != nil {
		s.files.release(pieces)
		return err
	}
	out := copyResult{ETag: it.quoted(), LastModified: timestamp(it.Modified)}
	out.XMLName = xml.Name{Space: namespace, Local: "CopyPartResult"}
	*out.of(u.Sum.Algorithm) = it.Sum
	return r.answer(out)
}

type completeRequest struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Part    []struct {
		PartNumber int
		ETag       string
		checksums
	}
}

type completeResult struct {
	XMLName                     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location, Bucket, Key, ETag string
	checksums
}

// objectClaim is what a completion says the object is.
type objectClaim struct {
	sum  string
	kind string
	size int64 // -1: nothing
}

// takeObjectClaim reads the headers of a completion that are about the object,
// and takes them out, so that they are not read as being about the body.
func takeObjectClaim(r *http.Request, u *upload) (objectClaim, *world.Error) {
	c := objectClaim{size: -1, kind: r.Header.Get("X-Amz-Checksum-Type")}
	if c.kind != "" && c.kind != u.Sum.Type {
		return c, world.Errorf(400, "InvalidRequest", "The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", u.Sum.Type)
	}
	for _, a := range algorithms {
		v := r.Header.Get(a.header())
		if v == "" {
			continue
		}
		if a != u.Sum.Algorithm || c.sum != "" {
			return c, world.Errorf(400, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", strings.ToLower(string(u.Sum.Algorithm)), strings.ToLower(string(a)))
		}
		c.sum = v
		r.Header.Del(a.header())
	}
	if v := r.Header.Get("X-Amz-Mp-Object-Size"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return c, world.Errorf(400, "InvalidRequest", "Value for x-amz-mp-object-size header is invalid.")
		}
		c.size = n
	}
	return c, nil
}

func (s *Service) completeUpload(r *request) *world.Error {
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	condition, err := parseWriteCondition(r.Header)
	if err != nil {
		return err
	}
	r.Request = r.Request.Clone(r.Context())
	want, err := takeObjectClaim(r.Request, u)
	if err != nil {
		return err
	}
	body, _, err := document(r.Request, 4<<20)
	if err != nil {
		return err
	}
	var in completeRequest
	if err := parseXML(body, &in); err != nil {
		return err
	}
	if len(in.Part) == 0 || len(in.Part) > maxParts {
		return malformedXML()
	}
	for i := range in.Part[1:] {
		if in.Part[i+1].PartNumber <= in.Part[i].PartNumber {
			return world.Errorf(400, "InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number.")
		}
	}
	s.mu.Lock()
	o, clean, err := s.complete(u, &in, want, condition)
	if err == nil {
		s.created(r, "CompleteMultipartUpload", o)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	clean()
	s.showVersion(r, "X-Amz-Version-Id", r.bucket, o)
	out := completeResult{Location: "http://" + r.Host + "/" + r.place(), Bucket: r.bucket, Key: r.key, ETag: o.quoted()}
	*out.of(o.Sum.Algorithm) = o.Sum.Value
	out.ChecksumType = o.Sum.Type
	r.w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	return r.answer(out)
}

// complete makes an object of an upload's parts. The caller holds s.mu and calls
// what complete returns after it let go.
func (s *Service) complete(u *upload, in *completeRequest, want objectClaim, condition writeCondition) (*object, func(), *world.Error) {
	place := uploadPlace(u.Bucket, u.Key, u.ID)
	if _, ok := s.uploads.Get(place); !ok {
		return nil, nil, noUpload(u.ID)
	}
	o := &object{Headers: u.Headers, Meta: u.Meta, Class: u.Class, Sum: u.Sum, Modified: s.world.Clock.Now()}
	whole := md5.New()
	sums := u.Sum.Algorithm.new() // of the parts' checksums
	var full []byte
	for i, p := range in.Part {
		it, ok := s.parts.Get(partPlace(u.ID, p.PartNumber))
		tag := strings.Trim(p.ETag, `"`)
		claimed, wrong := "", false
		for _, a := range algorithms {
			if v := *p.of(a); v != "" {
				claimed = v
				wrong = wrong || !ok || v != it.checksum(u, a)
			}
		}
		if !ok || wrong || tag != etag(it.MD5) {
			e := world.Errorf(400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
			e.Fields = map[string]any{"UploadId": u.ID, "PartNumber": p.PartNumber, "ETag": tag}
			return nil, nil, e
		}
		if claimed == "" && u.Sum.Type == composite {
			return nil, nil, world.Errorf(400, "InvalidRequest", "The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.", strings.ToLower(string(u.Sum.Algorithm)), p.PartNumber)
		}
		if it.Size < s.minPart.Load() && i < len(in.Part)-1 {
			e := world.Errorf(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
			e.Fields = map[string]any{"ProposedSize": it.Size, "MinSizeAllowed": s.minPart.Load(), "PartNumber": p.PartNumber, "ETag": tag}
			return nil, nil, e
		}
		raw, _ := base64.StdEncoding.DecodeString(it.Sum)
		switch {
		case u.Sum.Type == composite:
			sums.Write(raw)
		case i == 0:
			full = raw
		default:
			full = u.Sum.Algorithm.combine(full, raw, it.Size)
		}
		whole.Write(it.MD5)
		o.Size += it.Size
		o.Pieces = append(o.Pieces, it.Pieces...)
		info := partInfo{Size: it.Size}
		if u.Explicit {
			info.Sum = it.Sum
		}
		o.Parts = append(o.Parts, info)
	}
	o.ETag = fmt.Sprintf("%s-%d", etag(whole.Sum(nil)), len(in.Part))
	o.Sum.Value = encode64(full)
	if u.Sum.Type == composite {
		o.Sum.Value = fmt.Sprintf("%s-%d", encode64(sums.Sum(nil)), len(in.Part))
	}
	if want.sum != "" && strings.TrimSuffix(want.sum, fmt.Sprintf("-%d", len(in.Part))) != strings.TrimSuffix(o.Sum.Value, fmt.Sprintf("-%d", len(in.Part))) {
		return nil, nil, u.Sum.Algorithm.mismatch()
	}
	if want.size >= 0 && want.size != o.Size {
		return nil, nil, world.Errorf(400, "InvalidRequest", "The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", want.size, o.Size)
	}
	// The object is a user of the files beside the parts, until these go.
	s.files.use(o.Pieces)
	clean, err := s.commit(u.Bucket+"/"+u.Key, o, condition, nil)
	if err != nil {
		s.files.release(o.Pieces) // the parts still have them
		return nil, nil, err
	}
	drop := s.dropUpload(u)
	return o, func() {
		clean()
		drop()
	}, nil
}

// dropUpload forgets an upload and its parts. The caller holds s.mu and calls
// what dropUpload returns after it let go.
func (s *Service) dropUpload(u *upload) func() {
	s.uploads.Delete(uploadPlace(u.Bucket, u.Key, u.ID))
	parts := s.parts.Prefix(u.ID + "/")
	for _, p := range parts {
		s.parts.Delete(partPlace(u.ID, p.Number))
	}
	return func() {
		for _, p := range parts {
			s.files.release(p.Pieces)
		}
	}
}

func (s *Service) abortUpload(r *request) *world.Error {
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	_, ok := s.uploads.Get(uploadPlace(u.Bucket, u.Key, u.ID))
	drop := s.dropUpload(u)
	s.mu.Unlock()
	drop()
	if !ok {
		return noUpload(u.ID)
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}
