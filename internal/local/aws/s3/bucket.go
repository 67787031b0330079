package s3

import (
	"encoding/xml"
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
	SmallMoves   bool          `json:",omitempty"` // lifecycle rules move small objects to cold classes
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
