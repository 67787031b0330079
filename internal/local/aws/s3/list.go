package s3

import (
	"encoding/base64"
	"encoding/xml"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// number reads a parameter that limits a page. More than the most there is, is
// the most there is.
func (r *request) number(name string, most int) (int, *world.Error) {
	text, ok := r.query[name]
	if !ok || text == "" {
		return most, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, badArgument("Provided %s not an integer or within integer range", name)
	}
	return min(int(n), most), nil
}

// encoder returns what encoding-type asks to be done to keys.
func (r *request) encoder() (func(string) string, *world.Error) {
	switch r.query["encoding-type"] {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return func(s string) string {
			return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/")
		}, nil
	}
	return nil, badArgument("Invalid Encoding Method specified in Request")
}

type listedObject struct {
	Key               string
	LastModified      string
	ETag              string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
	Size              int64
	StorageClass      string
	Owner             *owner         `xml:",omitempty"`
	RestoreStatus     *restoreStatus `xml:",omitempty"`
}

// restoreStatus is what a list says about the restore of a cold object.
type restoreStatus struct {
	IsRestoreInProgress bool
	RestoreExpiryDate   string `xml:",omitempty"`
}

// statuses tells whether a list must have a RestoreStatus for each restored object.
func (r *request) statuses() (bool, *world.Error) {
	text := strings.Join(r.Header.Values("X-Amz-Optional-Object-Attributes"), ",")
	if text == "" {
		return false, nil
	}
	for _, name := range strings.Split(text, ",") {
		if strings.TrimSpace(name) != "RestoreStatus" {
			return false, badArgument("Invalid attribute name specified")
		}
	}
	return true, nil
}

// status is what a list says about the object's restore, if there is one.
func (s *Service) status(place string, o *object) *restoreStatus {
	it, ok := s.restoreOf(place, o)
	switch {
	case !ok:
		return nil
	case it.underWay():
		return &restoreStatus{IsRestoreInProgress: true}
	}
	return &restoreStatus{RestoreExpiryDate: timestamp(time.UnixMilli(it.Expiry))}
}

type owner struct{ ID, DisplayName string }

func (s *Service) owner() *owner { return &owner{ID: s.world.Account, DisplayName: s.world.Account} }

type prefix struct{ Prefix string }

// page is what a listing of keys found.
type page struct {
	objects  []listedObject
	prefixes []string
	more     bool
	last     string // key or prefix
}

// walk lists the bucket's objects after the given key or, if whole is set and
// it is one, the common prefix.
func (s *Service) walk(r *request, after string, whole bool, limit int) (page, *world.Error) {
	var out page
	statuses, err := r.statuses()
	if err != nil || limit == 0 {
		return out, err
	}
	s.settled()
	pre, delimiter := r.query["prefix"], r.query["delimiter"]
	root := r.bucket + "/"
	from := root + pre
	if after >= pre && after != "" {
		from = root + after + "\x00"
		if whole && delimiter != "" && strings.HasPrefix(after, pre) && strings.HasSuffix(after[len(pre):], delimiter) {
			from = root + after + "\xff" // after all that has this prefix
		}
	}
	for {
		skip := ""
		s.objects.Ascend(from, func(place string, o *object) bool {
			key, ok := strings.CutPrefix(place, root)
			if !ok || !strings.HasPrefix(key, pre) {
				return false
			}
			if len(out.objects)+len(out.prefixes) == limit {
				out.more = true
				return false
			}
			if delimiter != "" {
				if i := strings.Index(key[len(pre):], delimiter); i >= 0 {
					common := key[:len(pre)+i+len(delimiter)]
					out.prefixes = append(out.prefixes, common)
					out.last = common
					skip = root + common + "\xff"
					return false
				}
			}
			l := listedObject{
				Key: key, LastModified: timestamp(o.Modified), ETag: o.quoted(), Size: o.Size, StorageClass: o.class(),
				ChecksumAlgorithm: string(o.Sum.Algorithm), ChecksumType: o.Sum.Type,
			}
			if statuses {
				l.RestoreStatus = s.status(place, o)
			}
			out.objects = append(out.objects, l)
			out.last = key
			return true
		})
		if skip == "" {
			return out, nil
		}
		from = skip
	}
}

type listResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Marker                *string `xml:",omitempty"`
	NextMarker            string  `xml:",omitempty"`
	StartAfter            string  `xml:",omitempty"`
	ContinuationToken     string  `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	KeyCount              *int    `xml:",omitempty"`
	MaxKeys               int
	Delimiter             string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	Contents              []listedObject
	CommonPrefixes        []prefix
}

func (s *Service) listObjects(r *request) *world.Error {
	limit, err := r.number("max-keys", maxListing)
	if err != nil {
		return err
	}
	encode, err := r.encoder()
	if err != nil {
		return err
	}
	marker := r.query["marker"]
	p, err := s.walk(r, marker, true, limit)
	if err != nil {
		return err
	}
	marker = encode(marker)
	out := s.listResult(r, p, limit, encode, true)
	out.Marker = &marker
	if p.more && r.query["delimiter"] != "" {
		out.NextMarker = encode(p.last)
	}
	return r.answer(out)
}

func (s *Service) listResult(r *request, p page, limit int, encode func(string) string, owned bool) listResult {
	out := listResult{
		Name: r.bucket, Prefix: encode(r.query["prefix"]), MaxKeys: limit, Delimiter: encode(r.query["delimiter"]),
		EncodingType: r.query["encoding-type"], IsTruncated: p.more, Contents: p.objects,
	}
	for i := range out.Contents {
		out.Contents[i].Key = encode(out.Contents[i].Key)
		if owned {
			out.Contents[i].Owner = s.owner()
		}
	}
	for _, c := range p.prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, prefix{encode(c)})
	}
	return out
}

func (s *Service) listObjectsV2(r *request) *world.Error {
	if r.query["list-type"] != "2" {
		return badArgument("Invalid list type: %s", clip(r.query["list-type"]))
	}
	limit, err := r.number("max-keys", maxListing)
	if err != nil {
		return err
	}
	encode, err := r.encoder()
	if err != nil {
		return err
	}
	after := r.query["start-after"]
	token, ok := r.query["continuation-token"]
	if ok {
		b, err := base64.URLEncoding.DecodeString(token)
		if err != nil || len(b) == 0 {
			return badArgument("The continuation token provided is incorrect")
		}
		after = string(b)
	}
	p, err := s.walk(r, after, ok, limit)
	if err != nil {
		return err
	}
	out := s.listResult(r, p, limit, encode, r.query["fetch-owner"] == "true")
	out.StartAfter, out.ContinuationToken = encode(r.query["start-after"]), token
	count := len(p.objects) + len(p.prefixes)
	out.KeyCount = &count
	if p.more {
		out.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(p.last))
	}
	return r.answer(out)
}

type listUploadsResult struct {
	XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket             string
	KeyMarker          string
	UploadIdMarker     string
	NextKeyMarker      string `xml:",omitempty"`
	NextUploadIdMarker string `xml:",omitempty"`
	Delimiter          string `xml:",omitempty"`
	Prefix             string `xml:",omitempty"`
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Upload             []listedUpload
	CommonPrefixes     []prefix
}

type listedUpload struct {
	Key, UploadId     string
	Initiator, Owner  *owner
	StorageClass      string
	Initiated         string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func (s *Service) listUploads(r *request) *world.Error {
	s.expireUploads(r.bucket)
	limit, err := r.number("max-uploads", maxListing)
	if err != nil {
		return err
	}
	encode, err := r.encoder()
	if err != nil {
		return err
	}
	pre, delimiter, marker, idMarker := r.query["prefix"], r.query["delimiter"], r.query["key-marker"], r.query["upload-id-marker"]
	out := listUploadsResult{
		Bucket: r.bucket, KeyMarker: encode(marker), UploadIdMarker: idMarker, Delimiter: encode(delimiter), Prefix: encode(pre),
		EncodingType: r.query["encoding-type"], MaxUploads: limit,
	}
	root := r.bucket + "/"
	from := root + pre
	if marker >= pre && marker != "" {
		from = root + marker + "\x01" // after all uploads of the key
		if idMarker != "" {
			from = uploadPlace(r.bucket, marker, idMarker) + "\x00"
		}
	}
	seen := ""
	lastKey, lastID := "", ""
	s.uploads.Ascend(from, func(place string, u *upload) bool {
		if u.Bucket != r.bucket || !strings.HasPrefix(u.Key, pre) {
			return false
		}
		common := ""
		if i := strings.Index(u.Key[len(pre):], delimiter); delimiter != "" && i >= 0 {
			common = u.Key[:len(pre)+i+len(delimiter)]
			if common == seen || strings.HasPrefix(marker, common) {
				return true
			}
		}
		if len(out.Upload)+len(out.CommonPrefixes) == limit {
			out.IsTruncated = limit > 0
			return false
		}
		if common != "" {
			seen = common
			lastKey, lastID = common, ""
			out.CommonPrefixes = append(out.CommonPrefixes, prefix{encode(common)})
			return true
		}
		lastKey, lastID = u.Key, u.ID
		l := listedUpload{Key: encode(u.Key), UploadId: u.ID, Initiator: s.owner(), Owner: s.owner(), StorageClass: "STANDARD", Initiated: timestamp(u.Begun)}
		if u.Class != "" {
			l.StorageClass = u.Class
		}
		l.ChecksumAlgorithm, l.ChecksumType = string(u.Sum.Algorithm), u.Sum.Type
		out.Upload = append(out.Upload, l)
		return true
	})
	if out.IsTruncated {
		out.NextKeyMarker, out.NextUploadIdMarker = encode(lastKey), lastID
	}
	return r.answer(out)
}

type listPartsResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket, Key, UploadId string
	PartNumberMarker      int
	NextPartNumberMarker  int
	MaxParts              int
	IsTruncated           bool
	Initiator, Owner      *owner
	StorageClass          string
	ChecksumAlgorithm     string `xml:",omitempty"`
	ChecksumType          string `xml:",omitempty"`
	Part                  []listedPart
}

type listedPart struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	checksums
}

func (s *Service) listParts(r *request) *world.Error {
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	limit, err := r.number("max-parts", maxListing)
	if err != nil {
		return err
	}
	after := 0
	if text := r.query["part-number-marker"]; text != "" {
		var convErr error
		if after, convErr = strconv.Atoi(text); convErr != nil || after < 0 {
			return badArgument("Argument part-number-marker must be an integer between 0 and 2147483647")
		}
	}
	encode, err := r.encoder()
	if err != nil {
		return err
	}
	out := listPartsResult{
		Bucket: r.bucket, Key: encode(r.key), UploadId: u.ID, PartNumberMarker: after, MaxParts: limit,
		Initiator: s.owner(), Owner: s.owner(), StorageClass: "STANDARD",
		ChecksumAlgorithm: string(u.Sum.Algorithm), ChecksumType: u.Sum.Type,
	}
	if u.Class != "" {
		out.StorageClass = u.Class
	}
	if after >= maxParts {
		return r.answer(out)
	}
	s.parts.Ascend(partPlace(u.ID, after+1), func(place string, p *part) bool {
		if !strings.HasPrefix(place, u.ID+"/") {
			return false
		}
		if len(out.Part) == limit {
			out.IsTruncated = true
			return false
		}
		l := listedPart{PartNumber: p.Number, LastModified: timestamp(p.Modified), ETag: p.quoted(), Size: p.Size}
		*l.of(u.Sum.Algorithm) = p.Sum
		if p.Claimed.Value != "" {
			*l.of(p.Claimed.Algorithm) = p.Claimed.Value
		}
		out.Part = append(out.Part, l)
		out.NextPartNumberMarker = p.Number
		return true
	})
	return r.answer(out)
}
