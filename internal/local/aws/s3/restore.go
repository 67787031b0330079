package s3

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Tier is a retrieval tier.
type Tier string

// The tiers.
const (
	Expedited Tier = "Expedited"
	Standard  Tier = "Standard"
	Bulk      Tier = "Bulk"
)

// tiers are all tiers, the slowest first.
var tiers = []Tier{Bulk, Standard, Expedited}

// fasterThan compares tiers.
func (t Tier) fasterThan(other Tier) bool { return slices.Index(tiers, t) > slices.Index(tiers, other) }

// restore is a restore of a cold object, as it is stored by the object's version. First it
// is under way; later it is the temporary copy, until that expires.
type restore struct {
	Bucket  string
	Key     string
	Version string `json:",omitempty"`
	Class   string
	Tier    Tier
	Days    int
	Size    int64
	ETag    string
	Begun   int64 // milliseconds, as all its times
	Due     int64
	Expiry  int64 `json:",omitempty"` // 0: it is under way
}

// versionPlace is the row of one version of the object at the place.
func versionPlace(place, version string) string { return place + "\x00" + version }

func (r restore) place() string { return versionPlace(r.Bucket+"/"+r.Key, r.Version) }

// underWay tells whether there is no temporary copy yet.
func (r restore) underWay() bool { return r.Expiry == 0 }

// next is when something happens to the restore: its completion or its expiry.
func (r restore) next() int64 {
	if r.underWay() {
		return r.Due
	}
	return r.Expiry
}

// header is the value of x-amz-restore.
func (r restore) header() string {
	if r.underWay() {
		return `ongoing-request="true"`
	}
	return fmt.Sprintf(`ongoing-request="false", expiry-date="%s"`, time.UnixMilli(r.Expiry).UTC().Format(http.TimeFormat))
}

// expiryOf returns when a temporary copy that is there from at on expires: the days later,
// rounded up to the next midnight of UTC.
func expiryOf(at int64, days int) int64 {
	t := time.UnixMilli(at).UTC().AddDate(0, 0, days)
	midnight := t.Truncate(24 * time.Hour)
	if midnight.Before(t) {
		midnight = midnight.AddDate(0, 0, 1)
	}
	return midnight.UnixMilli()
}

// dueKey is where a restore stands in the order of what is due.
func dueKey(r restore) string { return fmt.Sprintf("%016x %s", r.next(), r.place()) }

// schedule notes what happens next to r. The caller holds s.mu, or is New.
func (s *Service) schedule(r restore) { s.due.Insert(dueKey(r)) }

// settle brings the objects up to the time of the clock. It completes the restores that are
// due, removes temporary copies that have expired, and runs the lifecycle rules once a day.
// All code that reads classes or restores calls it first. The caller holds s.mu.
func (s *Service) settle() {
	now := s.now() // once: the clock may be moved at any time
	s.settleRestores(now)
	if now >= s.nextRun {
		s.move(now)
		s.nextRun = expiryOf(now+1, 0)
	}
}

func (s *Service) settleRestores(now int64) {
	for {
		at, ok := s.nextDue()
		if !ok || at.UnixMilli() > now {
			return
		}
		entry, _ := s.due.PopMin()
		_, place, _ := strings.Cut(entry, " ")
		r, ok := s.restores.Get(place)
		switch {
		case !ok || dueKey(r) != entry: // the object is gone, or the time was changed
		case !r.underWay():
			s.restores.Delete(place)
			s.restoreTold(r, "Delete", r.Expiry, nil)
		case s.control.fails(r.info()):
			s.restores.Delete(place)
		default:
			// The copy is there since the time that it was due, not since somebody looks.
			r.Expiry = expiryOf(r.Due, r.Days)
			s.keep(r)
			s.restoreTold(r, "Completed", r.Due, nil)
		}
	}
}

// settled is settle for who does not hold s.mu.
func (s *Service) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

func (s *Service) now() int64 { return s.world.Clock.Now().UnixMilli() }

// restoreOf returns the restore of an object, if there is one.
func (s *Service) restoreOf(place string, o *object) (restore, bool) {
	if !o.cold() {
		return restore{}, false
	}
	return s.restores.Get(versionPlace(place, o.Version))
}

// readable tells whether the object's bytes can be read now.
func (s *Service) readable(place string, o *object) bool {
	if !o.cold() {
		return true
	}
	r, ok := s.restoreOf(place, o)
	return ok && !r.underWay()
}

// unknown is an element that the schema does not have.
type unknown struct{ XMLName xml.Name }

type restoreRequest struct {
	XMLName              xml.Name `xml:"RestoreRequest"`
	Days                 *int32
	GlacierJobParameters *struct {
		Tier    string
		Unknown []unknown `xml:",any"`
	}
	Type, Tier, Description          *string
	SelectParameters, OutputLocation *unknown
	Unknown                          []unknown `xml:",any"`
}

// parseRestore reads the body of RestoreObject.
func parseRestore(body []byte) (days int, tier Tier, _ *world.Error) {
	var in restoreRequest
	if err := parseXML(body, &in); err != nil {
		return 0, "", err
	}
	switch {
	case in.Type != nil || in.SelectParameters != nil || in.OutputLocation != nil:
		return 0, "", missing("select restores")
	case in.Tier != nil || in.Description != nil:
		return 0, "", missing("Tier and Description beside GlacierJobParameters, which S3 reads for select restores only")
	case len(in.Unknown) > 0 || in.Days == nil:
		return 0, "", malformedXML()
	case *in.Days < 1:
		return 0, "", badArgument("restoration days should be at least 1")
	}
	tier = Standard
	if p := in.GlacierJobParameters; p != nil {
		tier = Tier(p.Tier)
		if len(p.Unknown) > 0 || !slices.Contains(tiers, tier) {
			return 0, "", malformedXML()
		}
	}
	return int(*in.Days), tier, nil
}

func (s *Service) restoreObject(r *request) *world.Error {
	body, _, err := document(r.Request, 1<<20)
	if err != nil {
		return err
	}
	days, tier, err := parseRestore(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	status, err := s.restore(r, days, tier)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	r.w.WriteHeader(status)
	return nil
}

// restore begins a restore, makes one faster, or moves the expiry of a temporary copy. The
// caller holds s.mu.
func (s *Service) restore(r *request, days int, tier Tier) (status int, _ *world.Error) {
	s.settle()
	o, ok := s.find(r.place(), r.version)
	switch {
	case !ok:
		return 0, s.absent(r, r.key, r.version)
	case o.Marker:
		return 0, s.notAllowed(r, o)
	case !o.cold():
		e := invalidState(o.class())
		e.Message = "Restore is not allowed for the object's current storage class"
		return 0, e
	case o.Class == deepArchiveClass && tier == Expedited:
		return 0, badArgument("The Expedited retrieval option is not supported by the DEEP_ARCHIVE storage class")
	}
	now := s.now()
	it, begun := s.restoreOf(r.place(), o)
	switch {
	case begun && !it.underWay():
		it.Days, it.Expiry = days, expiryOf(now, days)
		s.keep(it)
		s.charge(it, tier, false)
		return http.StatusOK, nil
	case begun && (it.Days != days || !tier.fasterThan(it.Tier)):
		return 0, world.Errorf(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
	}
	if tier == Expedited {
		if err := s.admitExpedited(); err != nil {
			return 0, err
		}
	}
	due := now + s.control.delay(o.Class, tier, s.random).Milliseconds()
	if begun {
		it.Tier, it.Due = tier, min(it.Due, due)
	} else {
		it = restore{Bucket: r.bucket, Key: r.key, Version: o.Version, Class: o.Class, Tier: tier, Days: days, Size: o.Size, ETag: o.ETag, Begun: now, Due: due}
	}
	s.keep(it)
	s.charge(it, tier, true)
	if !begun {
		s.restoreTold(it, "Post", now, r)
	}
	return http.StatusAccepted, nil
}

// keep stores a restore with what happens next to it. The caller holds s.mu.
func (s *Service) keep(r restore) {
	s.restores.Put(r.place(), r)
	s.schedule(r)
	s.awake()
}

// nextDue returns when something happens to a restore next. The caller holds s.mu.
func (s *Service) nextDue() (time.Time, bool) {
	entry, ok := s.due.Min()
	if !ok {
		return time.Time{}, false
	}
	stamp, _, _ := strings.Cut(entry, " ")
	at, _ := strconv.ParseInt(stamp, 16, 64)
	return time.UnixMilli(at), true
}
