package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// lifecycle is the part of a lifecycle configuration that the stand-in reads. It stores
// and returns the whole configuration, but carries out only the abortion of uploads and the
// transitions of current objects.
type lifecycle struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	Rule    []lifecycleRule
}

type lifecycleRule struct {
	ID     string
	Status string
	Prefix *string
	Filter *struct {
		lifecycleFilter
		And *lifecycleFilter
	}
	AbortIncompleteMultipartUpload *struct{ DaysAfterInitiation int }
	Transition                     []transition
}

type lifecycleFilter struct {
	Prefix                                    string
	Tag                                       []unknown
	ObjectSizeGreaterThan, ObjectSizeLessThan *int64
}

// transition moves objects to a class, some days after they were made or from a date on.
type transition struct {
	Days         *int32
	Date         *string
	StorageClass string
}

// filter returns what the rule's objects have in common.
func (r lifecycleRule) filter() lifecycleFilter {
	switch {
	case r.Prefix != nil:
		return lifecycleFilter{Prefix: *r.Prefix}
	case r.Filter != nil && r.Filter.And != nil:
		return *r.Filter.And
	case r.Filter != nil:
		return r.Filter.lifecycleFilter
	}
	return lifecycleFilter{}
}

// waterfall is the order in which rules can move objects: forwards only.
var waterfall = []string{standardClass, "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", glacierClass, deepArchiveClass}

// smallest is the size below which rules move no objects, unless they say otherwise.
const smallest = 128 << 10

func (t transition) check() *world.Error {
	switch {
	case (t.Days == nil) == (t.Date == nil), slices.Index(waterfall, t.StorageClass) < 1:
		return malformedXML()
	case t.Days != nil && *t.Days < 0:
		return badArgument("'Days' in Transition action must be nonnegative")
	case t.Days != nil && *t.Days < 30 && (t.StorageClass == "STANDARD_IA" || t.StorageClass == "ONEZONE_IA"):
		return badArgument("'Days' in Transition action must be greater than or equal to 30 for storageClass '%s'", t.StorageClass)
	}
	if t.Date == nil {
		return nil
	}
	d, err := time.Parse(time.RFC3339, *t.Date)
	if err != nil {
		return malformedXML()
	}
	if !d.Truncate(24 * time.Hour).Equal(d) {
		return badArgument("'Date' must be at midnight GMT")
	}
	return nil
}

// due tells whether the transition moves an object made at that time by now.
func (t transition) due(made time.Time, now int64) bool {
	if t.Days != nil {
		return expiryOf(made.UnixMilli(), int(*t.Days)) <= now
	}
	d, err := time.Parse(time.RFC3339, *t.Date)
	return err == nil && d.UnixMilli() <= now
}

func (in lifecycle) check() *world.Error {
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
		for i, t := range rule.Transition {
			if err := t.check(); err != nil {
				return err
			}
			if slices.ContainsFunc(rule.Transition[:i], func(other transition) bool { return other.StorageClass == t.StorageClass }) {
				return badArgument("'StorageClass' must be different for 'Transition' actions in same 'Rule' with prefix '%s'", clip(rule.filter().Prefix))
			}
		}
	}
	return nil
}

// The values of the header that says which small objects rules move.
const (
	minSizeHeader = "X-Amz-Transition-Default-Minimum-Object-Size"
	noSmallMoves  = "all_storage_classes_128K"
	smallMoves    = "varies_by_storage_class"
)

func (b bucket) minSize() string {
	if b.SmallMoves {
		return smallMoves
	}
	return noSmallMoves
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
	if err := in.check(); err != nil {
		return err
	}
	small := r.Header.Get(minSizeHeader)
	if small != "" && small != smallMoves && small != noSmallMoves {
		return badArgument("Invalid value for x-amz-transition-default-minimum-object-size")
	}
	r.w.Header().Set(minSizeHeader, bucket{SmallMoves: small == smallMoves}.minSize())
	return s.setLifecycle(r, body, small == smallMoves, http.StatusOK)
}

func (s *Service) setLifecycle(r *request, body []byte, small bool, status int) *world.Error {
	s.mu.Lock()
	b, ok := s.buckets.Get(r.bucket)
	if ok {
		b.Lifecycle, b.SmallMoves = body, small
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
	return s.setLifecycle(r, nil, false, http.StatusNoContent)
}

func (s *Service) getLifecycle(r *request) *world.Error {
	b, _ := s.buckets.Get(r.bucket)
	if b.Lifecycle == nil {
		e := world.Errorf(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
		e.Fields = map[string]any{"BucketName": r.bucket}
		return e
	}
	r.w.Header().Set(minSizeHeader, b.minSize())
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

// rules returns the bucket's rules that are enabled.
func (b bucket) rules() []lifecycleRule {
	var all lifecycle
	if b.Lifecycle == nil || parseXML(b.Lifecycle, &all) != nil {
		return nil
	}
	return slices.DeleteFunc(all.Rule, func(r lifecycleRule) bool { return r.Status != "Enabled" })
}

// expireUploads aborts the bucket's uploads that its lifecycle rules give up.
// It is done when somebody looks.
func (s *Service) expireUploads(name string) {
	b, _ := s.buckets.Get(name)
	now := s.world.Clock.Now()
	var old []*upload
	for _, rule := range b.rules() {
		if rule.AbortIncompleteMultipartUpload == nil {
			continue
		}
		pre := name + "/" + rule.filter().Prefix
		life := time.Duration(rule.AbortIncompleteMultipartUpload.DaysAfterInitiation) * 24 * time.Hour
		s.uploads.Ascend(pre, func(place string, u *upload) bool {
			if !strings.HasPrefix(place, pre) {
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

// target returns the class that the rule moves an object to by now, or "".
func (r lifecycleRule) target(o *object, small bool, now int64) string {
	f := r.filter()
	sized := f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil
	switch {
	case len(f.Tag) > 0: // no object has tags
		return ""
	case f.ObjectSizeGreaterThan != nil && o.Size <= *f.ObjectSizeGreaterThan, f.ObjectSizeLessThan != nil && o.Size >= *f.ObjectSizeLessThan:
		return ""
	}
	to := ""
	for _, t := range r.Transition {
		tooSmall := o.Size < smallest && !sized && !(small && isCold(t.StorageClass))
		if !tooSmall && t.due(o.Modified, now) && slices.Index(waterfall, t.StorageClass) > slices.Index(waterfall, to) {
			to = t.StorageClass
		}
	}
	return to
}

// move moves the current objects that the rules of all buckets move by now, and returns how
// many it moved. An object that is restored, or has a temporary copy, stays where it is.
// The caller holds s.mu.
func (s *Service) move(now int64) int {
	wanted := map[string]string{} // the class by place
	s.buckets.Ascend("", func(name string, b bucket) bool {
		for _, rule := range b.rules() {
			if len(rule.Transition) == 0 {
				continue
			}
			pre := name + "/" + rule.filter().Prefix
			s.objects.Ascend(pre, func(place string, o *object) bool {
				if !strings.HasPrefix(place, pre) {
					return false
				}
				to := rule.target(o, b.SmallMoves, now)
				_, restored := s.restoreOf(place, o)
				if !restored && slices.Index(waterfall, to) > max(slices.Index(waterfall, o.class()), slices.Index(waterfall, wanted[place])) {
					wanted[place] = to
				}
				return true
			})
		}
		return true
	})
	for place, class := range wanted {
		o, _ := s.objects.Get(place)
		moved := *o
		moved.Class = class
		s.files.use(moved.Pieces)
		s.objects.Put(place, &moved)
		s.drop(place, o)() // the bytes stay: the moved object uses them
	}
	return len(wanted)
}
