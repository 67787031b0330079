package s3

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// span is from the shortest to the longest time.
type span [2]time.Duration

// control is what a test or the demo can set.
type control struct {
	delays   map[string]map[Tier]span // by class
	capacity world.Capacity
	fail     func(Restore) bool
	copies   func(Event) []time.Duration
	bridges  map[string]string // ARNs of queues by bucket
}

func defaultControl() control {
	return control{
		delays: map[string]map[Tier]span{
			glacierClass: {
				Expedited: {time.Minute, 5 * time.Minute},
				Standard:  {3 * time.Hour, 5 * time.Hour},
				Bulk:      {5 * time.Hour, 12 * time.Hour},
			},
			deepArchiveClass: {
				Standard: {5 * time.Hour, 12 * time.Hour},
				Bulk:     {12 * time.Hour, 48 * time.Hour},
			},
		},
		capacity: world.Unlimited(),
		bridges:  map[string]string{},
	}
}

func (c *control) delay(class string, t Tier, random *rand.Rand) time.Duration {
	d := c.delays[class][t]
	if d[1] <= d[0] {
		return d[0]
	}
	return d[0] + time.Duration(random.Int64N(int64(d[1]-d[0])))
}

func (c *control) fails(r Restore) bool { return c.fail != nil && c.fail(r) }

// SetRestoreDelay sets how long the restores of a class in a tier take from now on: between
// from and to, evenly. The classes are GLACIER and DEEP_ARCHIVE.
func (s *Service) SetRestoreDelay(class string, tier Tier, from, to time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control.delays[class] == nil {
		panic("s3: " + class + " needs no restore") // a programmer's mistake
	}
	s.control.delays[class][tier] = span{from, to}
}

// SetRestoreDelays sets the delays of all classes and tiers from now on. A restore from
// GLACIER takes d to 1.5 d in Expedited, 3 d to 5 d in Standard, 5 d to 12 d in Bulk. One
// from DEEP_ARCHIVE takes 5 d to 12 d in Standard, 12 d to 48 d in Bulk.
func (s *Service) SetRestoreDelays(d time.Duration) {
	s.SetRestoreDelay(glacierClass, Expedited, d, d+d/2)
	s.SetRestoreDelay(glacierClass, Standard, 3*d, 5*d)
	s.SetRestoreDelay(glacierClass, Bulk, 5*d, 12*d)
	s.SetRestoreDelay(deepArchiveClass, Standard, 5*d, 12*d)
	s.SetRestoreDelay(deepArchiveClass, Bulk, 12*d, 48*d)
}

// SetExpeditedCapacity lets perWindow Expedited restores be accepted in any window; more
// are refused with GlacierExpeditedRetrievalNotAvailable. A negative number is no limit,
// the default.
func (s *Service) SetExpeditedCapacity(perWindow int, window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.capacity.Set(perWindow, window)
}

// SetExpeditedRefusal makes Expedited restores be refused with a probability, 0 to 1, on
// top of the capacity.
func (s *Service) SetExpeditedRefusal(p float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.capacity.Refuse(p)
}

// FailRestores lets when decide, as a restore is due, whether it fails. A failed restore
// vanishes: there is no copy, no event, and HEAD shows nothing. nil lets all succeed. when
// is called with locks held and must not call the service.
func (s *Service) FailRestores(when func(Restore) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.fail = when
}

// FailNextRestores lets the next n restores that become due fail.
func (s *Service) FailNextRestores(n int) {
	s.FailRestores(func(Restore) bool {
		n--
		return n >= 0
	})
}

// RunLifecycle moves the objects that the lifecycle rules move by now, and returns how many
// it moved. Otherwise the rules run once a day, at midnight of UTC.
func (s *Service) RunLifecycle() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.move(s.now())
}

// SetEventDelivery lets copies say how an event reaches a destination: once after each of
// the times that it returns; not at all if there is none, which counts as lost. nil is once
// and at once, the default. What is to come later is in memory only. Test events come
// always. copies is called with locks held and must not call the service.
func (s *Service) SetEventDelivery(copies func(Event) []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.copies = copies
}

// DropEvents loses the next n events, and delivers all after them.
func (s *Service) DropEvents(n int) {
	s.SetEventDelivery(func(Event) []time.Duration {
		if n--; n >= 0 {
			return nil
		}
		return []time.Duration{0}
	})
}

// copiesOf returns after which times a copy of the event is sent.
func (s *Service) copiesOf(e Event) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control.copies == nil || e.Name == testEvent {
		return []time.Duration{0}
	}
	after := s.control.copies(e)
	if len(after) == 0 {
		s.lost.Add(1)
	}
	return after
}

// SetEventBridgeQueue names the queue that gets a bucket's events in EventBridge's form, if
// the bucket has an EventBridgeConfiguration. The stand-in has no EventBridge: the queue
// takes the place of a rule with this queue as its target, so the policy of the queue must
// let events.amazonaws.com send. An empty ARN ends that.
func (s *Service) SetEventBridgeQueue(bucket, queueARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.bridges[bucket] = queueARN
}

// LostEvents returns how many events no destination got because [Service.SetEventDelivery]
// or [Service.DropEvents] says so, because the destination was not there, or because its
// policy did not let S3 send.
func (s *Service) LostEvents() int64 { return s.lost.Load() }

// PendingEvents returns how many events are not sent yet.
func (s *Service) PendingEvents() int {
	s.settled()
	return s.outbox.Len()
}

// admitExpedited refuses an Expedited restore for which there is no capacity. The caller
// holds s.mu.
func (s *Service) admitExpedited() *world.Error {
	if !s.control.capacity.Admit(s.now(), s.random) {
		return world.Errorf(503, "GlacierExpeditedRetrievalNotAvailable", "Glacier expedited retrievals are currently not available, please try again later")
	}
	return nil
}

// Restore is what is known of a restore that is under way, or of its temporary copy.
type Restore struct {
	Bucket, Key string
	Version     string // empty for the null version
	Class       string
	Tier        Tier
	Days        int
	Size        int64
	Begun, Due  time.Time
	Expiry      time.Time // zero while it is under way
}

func (r restore) info() Restore {
	out := Restore{
		Bucket: r.Bucket, Key: r.Key, Version: r.Version, Class: r.Class, Tier: r.Tier, Days: r.Days, Size: r.Size,
		Begun: time.UnixMilli(r.Begun).UTC(), Due: time.UnixMilli(r.Due).UTC(),
	}
	if !r.underWay() {
		out.Expiry = time.UnixMilli(r.Expiry).UTC()
	}
	return out
}

// Restoring returns the restores that are under way and the temporary copies that are
// there, the oldest first.
func (s *Service) Restoring() []Restore {
	s.settled()
	var out []Restore
	for _, r := range s.restores.Prefix("") {
		out = append(out, r.info())
	}
	slices.SortStableFunc(out, func(a, b Restore) int { return a.Begun.Compare(b.Begun) })
	return out
}

// bill is what the restores of a version were, as it is stored by the version's place.
type bill struct {
	Rows []billRow
}

type billRow struct {
	Retrieval
	Billed
}

// Retrieval is what a retrieval's price depends on.
type Retrieval struct {
	Class string
	Tier  Tier
}

// Billed is what is paid for restores: the accepted requests, and the retrievals (Jobs)
// with their bytes. A request for an object with a temporary copy is no retrieval.
type Billed struct{ Requests, Jobs, Bytes int64 }

func (b Billed) plus(other Billed) Billed {
	return Billed{b.Requests + other.Requests, b.Jobs + other.Jobs, b.Bytes + other.Bytes}
}

// charge writes an accepted request on the bill. The caller holds s.mu.
func (s *Service) charge(r restore, tier Tier, retrieval bool) {
	add := billRow{Retrieval{r.Class, tier}, Billed{Requests: 1}}
	if retrieval {
		add.Jobs, add.Bytes = 1, r.Size
	}
	old, _ := s.bills.Get(r.place())
	rows := slices.Clone(old.Rows)
	if i := slices.IndexFunc(rows, func(row billRow) bool { return row.Retrieval == add.Retrieval }); i >= 0 {
		rows[i].Billed = rows[i].plus(add.Billed)
	} else {
		rows = append(rows, add)
	}
	s.bills.Put(r.place(), bill{rows})
}

// Version is one version of an object; the version of an object in a bucket without
// versions is empty.
type Version struct{ Bucket, Key, Version string }

// Restores returns how many retrievals each version of an object has had, ever.
func (s *Service) Restores() map[Version]int {
	out := map[Version]int{}
	s.bills.Ascend("", func(place string, b bill) bool {
		name, version, _ := strings.Cut(place, "\x00")
		bucket, key, _ := strings.Cut(name, "/")
		for _, row := range b.Rows {
			out[Version{bucket, key, version}] += int(row.Jobs)
		}
		return true
	})
	return out
}

// Billed returns what was paid for all restores ever made, by class and tier.
func (s *Service) Billed() map[Retrieval]Billed {
	out := map[Retrieval]Billed{}
	s.bills.Ascend("", func(_ string, b bill) bool {
		for _, row := range b.Rows {
			out[row.Retrieval] = out[row.Retrieval].plus(row.Billed)
		}
		return true
	})
	return out
}
