package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// bucket is a bucket; Lifecycle is its configuration as it was put.
type bucket struct {
	Name         string
	Created      time.Time
	Versioning   string        `json:",omitempty"` // enabled or suspended
	Lifecycle    []byte        `json:",omitempty"`
	Notification *notification `json:",omitempty"`
}

// checkBucketName refuses names against the rules for general purpose buckets.
func checkBucketName(name string) *world.Error {
	ok := len(name) >= 3 && len(name) <= 63 && !strings.Contains(name, "..") && net.ParseIP(name) == nil &&
		!strings.HasPrefix(name, "xn--") && !strings.HasSuffix(name, "-s3alias")
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' && c != '.' || i == 0 || i == len(name)-1) {
			ok = false
		}
	}
	if ok {
		return nil
	}
	e := world.Errorf(400, "InvalidBucketName", "The specified bucket is not valid.")
	e.Fields = map[string]any{"BucketName": clip(name)}
	return e
}

func (s *Service) createBucket(r *request) *world.Error {
	body, _, err := document(r.Request, 64<<10)
	if err != nil {
		return err
	}
	if err := checkBucketName(r.bucket); err != nil {
		return err
	}
	location := ""
	if len(body) > 0 {
		var in struct {
			XMLName            xml.Name `xml:"CreateBucketConfiguration"`
			LocationConstraint string
			Location           *struct{}
			Bucket             *struct{}
		}
		if err := parseXML(body, &in); err != nil {
			return err
		}
		if in.Location != nil || in.Bucket != nil {
			return missing("directory buckets")
		}
		location = in.LocationConstraint
	}
	if s.world.Region == "us-east-1" {
		if location != "" {
			return world.Errorf(400, "InvalidLocationConstraint", "The specified location-constraint is not valid")
		}
	} else if location != s.world.Region {
		return world.Errorf(400, "IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", clip(location))
	}
	s.mu.Lock()
	_, there := s.buckets.Get(r.bucket)
	if !there {
		s.buckets.Put(r.bucket, bucket{Name: r.bucket, Created: s.world.Clock.Now()})
	}
	s.mu.Unlock()
	// In us-east-1 AWS lets an owner create a bucket again.
	if there && s.world.Region != "us-east-1" {
		e := world.Errorf(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
		e.Fields = map[string]any{"BucketName": r.bucket}
		return e
	}
	r.w.Header().Set("Location", "/"+r.bucket)
	r.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) headBucket(r *request) *world.Error {
	r.w.Header().Set("X-Amz-Bucket-Region", s.world.Region)
	r.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) deleteBucket(r *request) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.buckets.Get(r.bucket); !ok {
		return noBucket(r.bucket)
	}
	empty := true
	used := func(place string) bool {
		empty = empty && !strings.HasPrefix(place, r.bucket+"/")
		return false
	}
	for _, table := range []*store.Table[*object]{s.objects, s.versions} {
		table.Ascend(r.bucket+"/", func(place string, _ *object) bool { return used(place) })
	}
	if !empty {
		e := world.Errorf(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
		e.Fields = map[string]any{"BucketName": r.bucket}
		return e
	}
	// Uploads under way go with their bucket.
	var uploads []*upload
	s.uploads.Ascend(r.bucket+"/", func(_ string, u *upload) bool {
		if u.Bucket == r.bucket {
			uploads = append(uploads, u)
		}
		return u.Bucket == r.bucket
	})
	s.buckets.Delete(r.bucket)
	for _, u := range uploads {
		defer s.dropUpload(u)()
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}

type listBucketsResult struct {
	XMLName           xml.Name       `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner             *owner         `xml:"Owner"`
	Buckets           []listedBucket `xml:"Buckets>Bucket"`
	ContinuationToken string         `xml:",omitempty"`
	Prefix            string         `xml:",omitempty"`
}

type listedBucket struct {
	Name         string
	CreationDate string
	BucketRegion string
}

func (s *Service) listBuckets(r *request) *world.Error {
	limit := 10_000
	if text := r.query["max-buckets"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > limit {
			return badArgument("max-buckets must be a number from 1 to %d", limit)
		}
		limit = n
	}
	out := listBucketsResult{Owner: s.owner(), Prefix: r.query["prefix"]}
	after := r.query["continuation-token"]
	s.buckets.Ascend(out.Prefix, func(name string, b bucket) bool {
		if !strings.HasPrefix(name, out.Prefix) {
			return false
		}
		if name <= after && after != "" {
			return true
		}
		if len(out.Buckets) == limit {
			out.ContinuationToken = out.Buckets[limit-1].Name
			return false
		}
		out.Buckets = append(out.Buckets, listedBucket{name, timestamp(b.Created), s.world.Region})
		return true
	})
	return r.answer(out)
}

func (s *Service) bucketLocation(r *request) *world.Error {
	region := s.world.Region
	if region == "us-east-1" {
		region = ""
	}
	return r.answer(struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{Region: region})
}

// lifecycle is the part of a lifecycle configuration that the stand-in reads. It stores
// and returns the whole configuration, but carries out only the abortion of uploads.
type lifecycle struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	Rule    []struct {
		ID     string
		Status string
		Prefix *string
		Filter *struct {
			Prefix string
			And    *struct{ Prefix string }
		}
		AbortIncompleteMultipartUpload *struct{ DaysAfterInitiation int }
	}
}

func (s *Service) putLifecycle(r *request) *world.Error {
	body, _, err := document(r.Request, 1<<20)
	if err != nil {
		return err
	}
	var in lifecycle
	if err := parseXML(body, &in); err != nil {
		return err
	}
	if len(in.Rule) == 0 || len(in.Rule) > 1000 {
		return malformedXML()
	}
	ids := map[string]bool{}
	for _, rule := range in.Rule {
		switch {
		case rule.Status != "Enabled" && rule.Status != "Disabled":
			return malformedXML()
		case rule.Filter == nil && rule.Prefix == nil:
			return malformedXML()
		case len(rule.ID) > 255:
			return badArgument("ID length should not exceed allowed limit of 255")
		case rule.ID != "" && ids[rule.ID]:
			return badArgument("Rule ID must be unique. Found same ID for more than one rule")
		case rule.AbortIncompleteMultipartUpload != nil && rule.AbortIncompleteMultipartUpload.DaysAfterInitiation < 1:
			return badArgument("'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
		}
		ids[rule.ID] = true
	}
	return s.setLifecycle(r, body, http.StatusOK)
}

func (s *Service) setLifecycle(r *request, body []byte, status int) *world.Error {
	s.mu.Lock()
	b, ok := s.buckets.Get(r.bucket)
	if ok {
		b.Lifecycle = body
		s.buckets.Put(r.bucket, b)
	}
	s.mu.Unlock()
	if !ok {
		return noBucket(r.bucket)
	}
	r.w.WriteHeader(status)
	return nil
}

func (s *Service) deleteLifecycle(r *request) *world.Error {
	return s.setLifecycle(r, nil, http.StatusNoContent)
}

func (s *Service) getLifecycle(r *request) *world.Error {
	b, _ := s.buckets.Get(r.bucket)
	if b.Lifecycle == nil {
		e := world.Errorf(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
		e.Fields = map[string]any{"BucketName": r.bucket}
		return e
	}
	r.answerRaw(withoutProlog(b.Lifecycle))
	return nil
}

// withoutProlog puts the one XML declaration in front of a stored document.
func withoutProlog(doc []byte) []byte {
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		at := d.InputOffset()
		t, err := d.RawToken()
		if err == io.EOF || err != nil {
			return doc
		}
		if _, ok := t.(xml.StartElement); ok {
			return append([]byte(xml.Header), doc[at:]...)
		}
	}
}

// expireUploads aborts the bucket's uploads that its lifecycle rules give up.
// It is done when somebody looks.
func (s *Service) expireUploads(name string) {
	b, _ := s.buckets.Get(name)
	if b.Lifecycle == nil {
		return
	}
	var rules lifecycle
	if parseXML(b.Lifecycle, &rules) != nil {
		return
	}
	now := s.world.Clock.Now()
	var old []*upload
	for _, rule := range rules.Rule {
		if rule.Status != "Enabled" || rule.AbortIncompleteMultipartUpload == nil {
			continue
		}
		pre := ""
		switch {
		case rule.Prefix != nil:
			pre = *rule.Prefix
		case rule.Filter != nil && rule.Filter.And != nil:
			pre = rule.Filter.And.Prefix
		case rule.Filter != nil:
			pre = rule.Filter.Prefix
		}
		life := time.Duration(rule.AbortIncompleteMultipartUpload.DaysAfterInitiation) * 24 * time.Hour
		s.uploads.Ascend(name+"/"+pre, func(place string, u *upload) bool {
			if !strings.HasPrefix(place, name+"/"+pre) {
				return false
			}
			if !u.Begun.Add(life).After(now) {
				old = append(old, u)
			}
			return true
		})
	}
	for _, u := range old {
		s.mu.Lock()
		drop := s.dropUpload(u)
		s.mu.Unlock()
		drop()
	}
}
