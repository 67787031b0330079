package glacier

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
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

// inventoryTier is what an inventory's delay is set by.
const inventoryTier Tier = ""

// control is what a test or the demo can set.
type control struct {
	delays   map[Tier][2]time.Duration
	capacity world.Capacity
	fail     func(Job) string
	deny     map[string]bool
	empty    bool // archives of 0 bytes are taken
	list     time.Duration
}

func defaultControl() control {
	return control{
		delays: map[Tier][2]time.Duration{
			Expedited:     {time.Minute, 5 * time.Minute},
			Standard:      {3 * time.Hour, 5 * time.Hour},
			Bulk:          {5 * time.Hour, 12 * time.Hour},
			inventoryTier: {3 * time.Hour, 5 * time.Hour},
		},
		capacity: world.Unlimited(),
		deny:     map[string]bool{},
	}
}

func (c *control) delay(t Tier, random *rand.Rand) time.Duration {
	d := c.delays[t]
	if d[1] <= d[0] {
		return d[0]
	}
	return d[0] + time.Duration(random.Int64N(int64(d[1]-d[0])))
}

func (c *control) failure(j Job) string {
	if c.fail == nil {
		return ""
	}
	return c.fail(j)
}

// SetDelay sets how long the retrievals of a tier take from now on: between
// from and to, evenly. SetDelay(Standard, …) is for inventories too.
func (s *Service) SetDelay(tier Tier, from, to time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.delays[tier] = [2]time.Duration{from, to}
	if tier == Standard {
		s.control.delays[inventoryTier] = s.control.delays[tier]
	}
}

// SetDelays sets the delays of all tiers from now on: an Expedited retrieval
// takes d to 1.5 d, Standard 3 d to 5 d, Bulk 5 d to 12 d.
func (s *Service) SetDelays(d time.Duration) {
	s.SetDelay(Expedited, d, d+d/2)
	s.SetDelay(Standard, 3*d, 5*d)
	s.SetDelay(Bulk, 5*d, 12*d)
}

// FinishNow makes the jobs that are in progress due now, whatever time they were given when they
// were made. With SetDelays(0) before it, a test decides when retrievals end.
func (s *Service) FinishNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for {
		entry, at, key, ok := latest(&s.due)
		if !ok || at <= now {
			break
		}
		s.due.Delete(entry)
		if j, ok := s.jobs.Get(key); ok {
			j.Due = now
			s.jobs.Put(key, j)
			s.schedule(j)
		}
	}
	s.awake()
}

// SetExpeditedCapacity lets perWindow Expedited retrievals be accepted in any
// window; more are refused with InsufficientCapacityException. A negative
// number is no limit, the default.
func (s *Service) SetExpeditedCapacity(perWindow int, window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.capacity.Set(perWindow, window)
}

// SetExpeditedRefusal makes Expedited retrievals be refused with a probability,
// 0 to 1, on top of the capacity.
func (s *Service) SetExpeditedRefusal(p float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.capacity.Refuse(p)
}

// FailWhen lets reason decide, when a job is due, whether it fails: what it
// returns is the StatusMessage of the failure, empty lets it succeed. nil lets
// all succeed. reason is called with locks held and must not call the service.
func (s *Service) FailWhen(reason func(Job) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.fail = reason
}

// FailNext lets the next n jobs that become due fail with message.
func (s *Service) FailNext(n int, message string) {
	s.FailWhen(func(Job) string {
		if n == 0 {
			return ""
		}
		n--
		return message
	})
}

// DenyDelete makes DeleteArchive be denied in a vault, as by a vault lock, or
// ends that.
func (s *Service) DenyDelete(vault string, deny bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.deny[vault] = deny
}

// SetListLag lets ListJobs show a job only when it was made that long ago: AWS does
// not say how soon it does.
func (s *Service) SetListLag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.list = d
}

// AllowEmptyArchives lets vaults take archives of 0 bytes, which AWS refuses, or
// ends that.
func (s *Service) AllowEmptyArchives(allow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control.empty = allow
}

// admit refuses a retrieval that capacity or policy does not allow. The caller
// holds s.mu.
func (s *Service) admit(j *job) *world.Error {
	switch Tier(j.Tier) {
	case Expedited:
		return s.admitExpedited()
	case Standard:
		return s.enforcePolicy(j)
	}
	return nil
}

func (s *Service) admitExpedited() *world.Error {
	if !s.control.capacity.Admit(s.now(), s.random) {
		return world.Errorf(http.StatusServiceUnavailable, "InsufficientCapacityException", "There is insufficient capacity to process the expedited request. Try again later, or use the Standard tier.")
	}
	return nil
}

// Job is what is known of a job.
type Job struct {
	ID          string
	Vault       string
	Archive     string // empty for an inventory
	Description string
	Tier        Tier
	Status      string
	Message     string
	Topic       string
	Size        int64 // of the output
	Created     time.Time
	Due         time.Time
	Completed   time.Time // zero while in progress
}

func (s *Service) jobInfo(j job) Job {
	out := Job{
		ID: j.ID, Vault: j.Vault, Archive: j.Archive, Description: j.Description, Tier: Tier(j.Tier),
		Status: j.Status, Message: j.Message, Topic: j.Topic, Size: j.Length,
		Created: time.UnixMilli(j.Created).UTC(), Due: time.UnixMilli(j.Due).UTC(),
	}
	if j.Completed != 0 {
		out.Completed = time.UnixMilli(j.Completed).UTC()
	}
	return out
}

// Jobs returns the jobs of all vaults, oldest first. Jobs that ended more than
// 36 hours ago are gone.
func (s *Service) Jobs() []Job {
	s.settled()
	var out []Job
	s.jobs.Ascend("", func(_ string, j job) bool {
		out = append(out, s.jobInfo(j))
		return true
	})
	slices.SortFunc(out, func(a, b Job) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return out
}

// bill is what an archive's retrievals were, as it is stored by the archive's id.
type bill struct {
	Jobs  map[Tier]int64 `json:"jobs"`
	Bytes map[Tier]int64 `json:"bytes"`
}

func (b bill) with(t Tier, bytes int64) bill {
	out := bill{map[Tier]int64{t: 1}, map[Tier]int64{t: bytes}}
	for tier, n := range b.Jobs {
		out.Jobs[tier] += n
		out.Bytes[tier] += b.Bytes[tier]
	}
	return out
}

// Retrievals returns how many retrieval jobs each archive has had, ever.
func (s *Service) Retrievals() map[string]int {
	out := map[string]int{}
	s.bills.Ascend("", func(archive string, b bill) bool {
		for _, n := range b.Jobs {
			out[archive] += int(n)
		}
		return true
	})
	return out
}

// Billed is what the retrievals of a tier were.
type Billed struct{ Jobs, Bytes int64 }

// Billed returns all retrievals ever made, by tier.
func (s *Service) Billed() map[Tier]Billed {
	out := map[Tier]Billed{}
	s.bills.Ascend("", func(_ string, b bill) bool {
		for t, n := range b.Jobs {
			out[t] = Billed{out[t].Jobs + n, out[t].Bytes + b.Bytes[t]}
		}
		return true
	})
	return out
}

// Archive is what is known of an archive.
type Archive struct {
	ID, Vault, Description, TreeHash string
	Size                             int64
	Created                          time.Time
}

// Archives returns the archives of a vault, in the order of their ids.
func (s *Service) Archives(vault string) []Archive {
	var out []Archive
	for _, a := range s.archives.Prefix(vault + "/") {
		out = append(out, Archive{a.ID, a.Vault, a.Description, a.Content.Hash, a.Content.Size, time.UnixMilli(a.Created).UTC()})
	}
	return out
}
