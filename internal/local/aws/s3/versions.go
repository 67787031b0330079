package s3

import (
	"encoding/xml"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// The states of a bucket's versioning. A bucket without any never had versions.
const (
	enabled   = "Enabled"
	suspended = "Suspended"
)

// nullVersion is the id of the version that is written while versioning is not enabled.
const nullVersion = "null"

// versionID is the id of an object's version as the API has it.
func (o *object) versionID() string {
	if o.Version == "" {
		return nullVersion
	}
	return o.Version
}

// newVersion returns the id of a version with this number. Lists read the number from the
// id of a version that was deleted meanwhile.
func newVersion(seq int64) string { return fmt.Sprintf("%016x", math.MaxInt64-seq) + world.ID(8) }

// isVersion tells whether an id looks like one.
func isVersion(id string) bool { return id == nullVersion || len(id) == 32 && isHex(id, 32) }

func badVersion() *world.Error { return badArgument("Invalid version id specified") }

func noVersion(key, id string) *world.Error {
	e := world.Errorf(404, "NoSuchVersion", "The specified version does not exist.")
	e.Fields = map[string]any{"Key": key, "VersionId": id}
	return e
}

// versionRow is where a version stands among those of its place that are not current: the
// newest first.
func versionRow(place string, seq int64) string {
	return place + "\x00" + fmt.Sprintf("%016x", math.MaxInt64-seq)
}

// newest returns the newest version of the place that is not current: a delete marker if
// the current version is one.
func (s *Service) newest(place string) (o *object, ok bool) {
	s.versions.Ascend(place+"\x00", func(row string, v *object) bool {
		if ok = strings.HasPrefix(row, place+"\x00"); ok {
			o = v
		}
		return false
	})
	return o, ok
}

// find returns a version of an object: the current one if id is empty. It returns a delete
// marker only to those who name it. The caller holds s.mu.
func (s *Service) find(place, id string) (*object, bool) {
	current, ok := s.objects.Get(place)
	if id == "" || ok && current.versionID() == id {
		return current, ok
	}
	for _, o := range s.versions.Prefix(place + "\x00") {
		if o.versionID() == id {
			return o, true
		}
	}
	return nil, false
}

// absent is the error for a version that is not there. The caller holds s.mu.
func (s *Service) absent(r *request, key, id string) *world.Error {
	if id != "" {
		return noVersion(key, id)
	}
	if o, ok := s.newest(r.bucket + "/" + key); ok && o.Marker {
		s.showMarker(r, o)
	}
	return noKey(key)
}

func (s *Service) showMarker(r *request, o *object) {
	r.w.Header().Set("X-Amz-Delete-Marker", "true")
	r.w.Header().Set("X-Amz-Version-Id", o.versionID())
}

// notAllowed refuses to read or to restore a delete marker.
func (s *Service) notAllowed(r *request, o *object) *world.Error {
	s.showMarker(r, o)
	r.w.Header().Set("Allow", "DELETE")
	r.w.Header().Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
	e := world.Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	e.Fields = map[string]any{"Method": r.Method, "ResourceType": "DeleteMarker"}
	return e
}

// versioned tells whether a bucket's answers name versions.
func (s *Service) versioned(bucket string) bool {
	b, _ := s.buckets.Get(bucket)
	return b.Versioning != ""
}

// showVersion sets the header with the id of an object's version.
func (s *Service) showVersion(r *request, header, bucket string, o *object) {
	if s.versioned(bucket) {
		r.w.Header().Set(header, o.versionID())
	}
}

// add makes o, an object or a delete marker, the newest version at the place. A crash in
// between leaves what repair puts right. The caller holds s.mu, and calls what add returns
// after it let go.
func (s *Service) add(place string, versioning string, o *object) func() {
	current, there := s.objects.Get(place)
	var replaced *object // there is one null version at most
	if versioning != enabled {
		replaced, _ = s.find(place, nullVersion)
	}
	if versioning != "" {
		o.Seq = s.sequence()
	}
	if versioning == enabled {
		o.Version = newVersion(o.Seq)
	}
	if there && current != replaced {
		s.versions.Put(versionRow(place, current.Seq), current)
	}
	if o.Marker {
		s.versions.Put(versionRow(place, o.Seq), o)
		s.objects.Delete(place)
	} else {
		s.objects.Put(place, o)
	}
	if replaced != nil && replaced != current {
		s.versions.Delete(versionRow(place, replaced.Seq))
	}
	return s.drop(place, replaced)
}

// take removes a version from the place. Its predecessor is not made current. The caller
// holds s.mu, and calls what take returns after it let go.
func (s *Service) take(place string, o *object) func() {
	if current, ok := s.objects.Get(place); ok && current == o {
		s.objects.Delete(place)
	} else {
		s.versions.Delete(versionRow(place, o.Seq))
	}
	return s.drop(place, o)
}

// promote makes the newest version current, unless that is a delete marker. The caller
// holds s.mu.
func (s *Service) promote(place string) {
	if _, ok := s.objects.Get(place); ok {
		return
	}
	if o, ok := s.newest(place); ok && !o.Marker {
		s.objects.Put(place, o)
		s.versions.Delete(versionRow(place, o.Seq))
	}
}

// repair puts right what a crash left between two changes of one call: a version that is
// both current and not, one that was written before the current one was moved, or no
// current version beside a newer one. Nobody was told of any of them.
func (s *Service) repair() {
	places := map[string]bool{}
	var twice []string
	s.versions.Ascend("", func(row string, o *object) bool {
		place, _, _ := strings.Cut(row, "\x00")
		places[place] = true
		if current, ok := s.objects.Get(place); ok && o.Seq >= current.Seq {
			twice = append(twice, row)
		}
		return true
	})
	for _, row := range twice {
		s.versions.Delete(row)
	}
	for place := range places {
		s.promote(place)
	}
}

// deletion is what a deletion did.
type deletion struct {
	marker  bool   // it made or removed a delete marker
	version string // the id, as the API has it; empty in a bucket without versions
}

// remove deletes a version of an object in the request's bucket, or the object if id is
// empty. The caller holds s.mu, and calls what remove returns after it let go.
func (s *Service) remove(r *request, key, id string) (deletion, func()) {
	place := r.bucket + "/" + key
	for w := range s.watched[place] {
		w.conflict = true
	}
	b, _ := s.buckets.Get(r.bucket)
	if id == "" && b.Versioning != "" {
		marker := &object{Marker: true, Modified: s.world.Clock.Now()}
		clean := s.add(place, b.Versioning, marker)
		s.removed(r, key, "DeleteMarkerCreated", marker.Version)
		return deletion{true, marker.versionID()}, clean
	}
	done := deletion{version: id}
	if b.Versioning == "" {
		done.version = ""
	}
	o, ok := s.find(place, id)
	if !ok {
		return done, func() {}
	}
	done.marker = o.Marker
	clean := s.take(place, o)
	s.promote(place)
	s.removed(r, key, "Delete", o.Version)
	return done, clean
}

// checkDeletion tells whether a deletion's condition holds. It judges the current version,
// whichever is deleted. The caller holds s.mu.
func (s *Service) checkDeletion(c writeCondition, place string) *world.Error {
	_, there := s.objects.Get(place)
	if o, ok := s.newest(place); c.match != "" && !there && ok && o.Marker {
		return precondition("If-Match")
	}
	return s.check(c, place)
}

func (s *Service) bucketVersioning(r *request) *world.Error {
	b, _ := s.buckets.Get(r.bucket)
	return r.answer(struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
		Status  string   `xml:",omitempty"`
	}{Status: b.Versioning})
}

func (s *Service) putVersioning(r *request) *world.Error {
	body, _, err := document(r.Request, 64<<10)
	if err != nil {
		return err
	}
	var in struct {
		XMLName   xml.Name `xml:"VersioningConfiguration"`
		Status    string
		MfaDelete string
		Unknown   []unknown `xml:",any"`
	}
	if err := parseXML(body, &in); err != nil {
		return err
	}
	switch {
	case in.MfaDelete == enabled:
		return missing("MFA delete")
	case len(in.Unknown) > 0 || in.MfaDelete != "" && in.MfaDelete != "Disabled":
		return malformedXML()
	case in.Status == "":
		return world.Errorf(400, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	case in.Status != enabled && in.Status != suspended:
		return malformedXML()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets.Get(r.bucket)
	if !ok {
		return noBucket(r.bucket)
	}
	b.Versioning = in.Status
	s.buckets.Put(r.bucket, b)
	r.w.WriteHeader(http.StatusOK)
	return nil
}

type listedVersion struct {
	XMLName           xml.Name // Version or DeleteMarker
	Key               string
	VersionId         string
	IsLatest          bool
	LastModified      string
	ETag              string         `xml:",omitempty"`
	ChecksumAlgorithm string         `xml:",omitempty"`
	ChecksumType      string         `xml:",omitempty"`
	Size              *int64         `xml:",omitempty"`
	StorageClass      string         `xml:",omitempty"`
	Owner             *owner         `xml:",omitempty"`
	RestoreStatus     *restoreStatus `xml:",omitempty"`
}

type listVersionsResult struct {
	XMLName             xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
	Name                string
	Prefix              string
	KeyMarker           string
	VersionIdMarker     string
	NextKeyMarker       string `xml:",omitempty"`
	NextVersionIdMarker string `xml:",omitempty"`
	MaxKeys             int
	Delimiter           string `xml:",omitempty"`
	EncodingType        string `xml:",omitempty"`
	IsTruncated         bool
	Versions            []listedVersion // each names its element
	CommonPrefixes      []prefix
}

// history calls f for all versions of keys in the order of lists, from the place on: keys
// ascending, the newest version of each first.
func (s *Service) history(root, from string, f func(key string, o *object, latest bool) bool) {
	cursor, last, on := from, "", true
	visit := func(key string, o *object) bool {
		on = f(key, o, key != last)
		last = key
		return on
	}
	// older visits the versions that are not current up to the end.
	older := func(end string) {
		s.versions.Ascend(cursor, func(row string, o *object) bool {
			if !strings.HasPrefix(row, root) || end != "" && row >= end {
				return false
			}
			cursor = row + "\x00"
			place, _, _ := strings.Cut(row, "\x00")
			return visit(place[len(root):], o)
		})
	}
	s.objects.Ascend(from, func(place string, o *object) bool {
		if !strings.HasPrefix(place, root) {
			return false
		}
		older(place)
		if on && visit(place[len(root):], o) {
			older(place + "\x01")
		}
		return on
	})
	if on {
		older("")
	}
}

func (s *Service) listVersions(r *request) *world.Error {
	limit, err := r.number("max-keys", maxListing)
	if err != nil {
		return err
	}
	encode, err := r.encoder()
	if err != nil {
		return err
	}
	statuses, err := r.statuses()
	if err != nil {
		return err
	}
	pre, delimiter, marker, idMarker := r.query["prefix"], r.query["delimiter"], r.query["key-marker"], r.query["version-id-marker"]
	switch {
	case idMarker != "" && marker == "":
		return badArgument("A version-id marker cannot be specified without a key marker.")
	case idMarker != "" && !isVersion(idMarker):
		return badVersion()
	}
	out := listVersionsResult{
		Name: r.bucket, Prefix: encode(pre), KeyMarker: encode(marker), VersionIdMarker: idMarker, Delimiter: encode(delimiter),
		EncodingType: r.query["encoding-type"], MaxKeys: limit,
	}
	root := r.bucket + "/"
	from := root + pre
	if marker >= pre && marker != "" {
		from = root + marker
		if idMarker == "" {
			from += "\x01" // after all versions of the key
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	after := s.numberOf(root+marker, idMarker)
	seen, lastKey, lastVersion := "", "", ""
	s.history(root, from, func(key string, o *object, latest bool) bool {
		if !strings.HasPrefix(key, pre) {
			return false
		}
		if idMarker != "" && key == marker && o.Seq >= after {
			return true
		}
		common := ""
		if i := strings.Index(key[len(pre):], delimiter); delimiter != "" && i >= 0 {
			common = key[:len(pre)+i+len(delimiter)]
			if common == seen || strings.HasPrefix(marker, common) {
				return true
			}
		}
		if len(out.Versions)+len(out.CommonPrefixes) == limit {
			out.IsTruncated = limit > 0
			return false
		}
		if common != "" {
			seen, lastKey, lastVersion = common, common, ""
			out.CommonPrefixes = append(out.CommonPrefixes, prefix{encode(common)})
			return true
		}
		lastKey, lastVersion = key, o.versionID()
		l := listedVersion{
			XMLName: xml.Name{Local: "Version"}, Key: encode(key), VersionId: o.versionID(), IsLatest: latest,
			LastModified: timestamp(o.Modified), Owner: s.owner(),
		}
		if o.Marker {
			l.XMLName.Local = "DeleteMarker"
		} else {
			l.ETag, l.Size, l.StorageClass = o.quoted(), &o.Size, o.class()
			l.ChecksumAlgorithm, l.ChecksumType = string(o.Sum.Algorithm), o.Sum.Type
			if statuses {
				l.RestoreStatus = s.status(root+key, o)
			}
		}
		out.Versions = append(out.Versions, l)
		return true
	})
	if out.IsTruncated {
		out.NextKeyMarker, out.NextVersionIdMarker = encode(lastKey), lastVersion
	}
	return r.answer(out)
}

// numberOf returns the number of a version: a list continues with smaller ones. A null
// version that is gone has none, and all others count as listed. The caller holds s.mu.
func (s *Service) numberOf(place, id string) int64 {
	if id == nullVersion || id == "" {
		if o, ok := s.find(place, nullVersion); ok {
			return o.Seq
		}
		return 0
	}
	n, _ := strconv.ParseInt(id[:16], 16, 64)
	return math.MaxInt64 - n
}
