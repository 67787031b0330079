package web

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/pkg/events"
)

// overview says how much a user has in the archive, and when it is back.
type overview struct {
	// Files is the number of files in the archive. Unsized is the number of files of unknown
	// size, and Bytes is the size of the others. More says that there are more files, which
	// were not counted.
	Files, Bytes, Unsized int64
	More                  bool
	// Coming is how many of them are on their way back. Waiting is how many wait for an
	// approval, or for the end of a pause.
	Coming, Waiting int64
	// Attention is how many need an operator.
	Attention int64
	// Late is how many of those that come should have been handed over by now, and LateSince is
	// when the first of them should have been.
	Late      int64
	LateSince time.Time
	// By is when the files that come, and are not late, are usually back. For a Free user, it is when the files
	// would be back with Premium from now on. It is nil if there are none.
	By *span
	// Back is how many files came back since the user became Premium, and BackBytes is their
	// size. BackUnsized is the number of those without a known size.
	Back, BackBytes, BackUnsized int64
	// Restored is how many files ever came back, among the jobs that were counted.
	Restored int64
	// Total is how many jobs the user has, and Of how many of them are in each group of states,
	// by the name of the group. TotalMore says that there are more jobs, which were not counted.
	Total     int64
	Of        map[string]int64
	TotalMore bool
}

const (
	// maxCounted is how many pages of the index are counted for a page of the site. Each has
	// about a thousand archives.
	maxCounted = 10
	// maxTally is how many jobs are counted for a page of the site.
	maxTally = 10_000
	// overviewAge is the age up to which an overview may be used in any case. It grows with the
	// number of jobs: so a user's pages count tallyRate jobs a second at most.
	overviewAge = 2 * time.Second
	tallyRate   = 500
	// overviewQuiet is the same age while the pipeline does nothing for the user. Such an
	// overview misses only the files that the annotation service moves into the archive.
	overviewQuiet = time.Minute
	// overviewSettles is how long the index may lag behind a change.
	overviewSettles = 5 * time.Second
	// mostLate is for how many late files the site finds out whether they were handed over.
	mostLate = 20
	// maxOverviews bounds how many are kept.
	maxOverviews = 10_000
)

// overviews counts, and remembers the result for a moment: pages are read more often than
// archives move. Counting reads all archives of the user.
type overviews struct {
	jobs  Jobs
	tiers archive.Tiers
	now   func() time.Time
	// handed reports whether the archive handed a file over.
	handed func(context.Context, owner, archive.Job) bool
	// owner returns a user for the time of a context.
	owner func(context.Context, archive.Account, halt) owner
	group singleflight.Group

	// mu guards the fields below.
	mu    sync.Mutex
	known map[overviewKey]knownOverview
	// moved is when the pipeline last did something for a user. movedAll is the same for users
	// that are not in moved.
	moved    map[events.UserID]time.Time
	movedAll time.Time
}

type overviewKey struct {
	user events.UserID
	role archive.Role
	wait archive.State
}

// knownOverview is an overview, with the time at which its counting began.
type knownOverview struct {
	overview
	at time.Time
}

func newOverviews(jobs Jobs, cfg Config, of func(context.Context, archive.Account, halt) owner, handed func(context.Context, owner, archive.Job) bool) *overviews {
	return &overviews{jobs: jobs, owner: of, handed: handed, tiers: cfg.Tiers, now: cfg.Now,
		known: map[overviewKey]knownOverview{}, moved: map[events.UserID]time.Time{}}
}

// move remembers that something of the user's changed now.
func (o *overviews) move(user events.UserID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if len(o.moved) >= maxOverviews {
		clear(o.moved)
		o.movedAll = now
	}
	o.moved[user] = now
}

// lookUp returns the overview of key if it is fresh enough.
func (o *overviews) lookUp(key overviewKey) (*overview, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.known[key]
	if !ok {
		return nil, false
	}
	moved, ok := o.moved[key.user]
	if !ok {
		moved = o.movedAll
	}
	most := overviewAge + time.Duration(k.Total/tallyRate)*time.Second
	if k.at.Sub(moved) > overviewSettles {
		most = max(most, overviewQuiet)
	}
	return &k.overview, o.now().Sub(k.at) < most
}

// of returns the overview of the user, as of a moment ago.
func (o *overviews) of(ctx context.Context, user owner) (*overview, error) {
	key := overviewKey{user.ID, user.Role, user.halt.state}
	if over, ok := o.lookUp(key); ok {
		return over, nil
	}
	v, err, _ := o.group.Do(string(key.role)+" "+string(key.wait)+" "+string(key.user), func() (any, error) {
		// Others wait for it, so it does not end with the request that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		// The count may miss a change that happens meanwhile.
		at := o.now()
		over, err := o.count(ctx, o.owner(ctx, user.Account, user.halt))
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.known) >= maxOverviews {
			clear(o.known)
		}
		o.known[key] = knownOverview{over, at}
		return over, nil
	})
	if err != nil {
		return nil, err
	}
	over := v.(overview)
	return &over, nil
}

func (o *overviews) count(ctx context.Context, user owner) (overview, error) {
	now := o.now()
	var over overview
	var all spans
	late := 0
	for page, cursor := 0, ""; ; page++ {
		if page == maxCounted {
			over.More = true
			break
		}
		jobs, next, err := o.jobs.ArchivedPage(ctx, user.ID, cursor)
		if err != nil {
			return overview{}, err
		}
		for _, j := range jobs {
			over.Files++
			if j.ArchiveSize >= 0 {
				over.Bytes += j.ArchiveSize
			} else {
				over.Unsized++
			}
			switch st := user.state(j); st {
			case archive.Planned, archive.Requested:
				over.Coming++
				at := expected(o.tiers, user, j)
				switch {
				case at == nil || at.To.After(now):
					all.add(at)
				case st == archive.Planned:
					all.add(nil) // it was not requested in time, and nobody knows when it is
				case late < mostLate && o.handed(ctx, user, j):
					late++ // it is here in a moment
				default:
					late++
					over.Late++
					if over.LateSince.IsZero() || at.To.Before(over.LateSince) {
						over.LateSince = at.To
					}
				}
			case summary.Held, paused:
				over.Waiting++
			case summary.Attention:
				over.Attention++
			case archive.Archived:
				all.add(after(now, o.tiers, j.Copy.Class))
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	if err := o.tally(ctx, user, &over); err != nil {
		return overview{}, err
	}
	if all.known() {
		over.By = &all.span
	}
	return over, nil
}

// tally counts the user's jobs by their states, and the files that came back. It reads up to
// maxTally jobs, the newest first.
func (o *overviews) tally(ctx context.Context, user owner, over *overview) error {
	since := user.since()
	byState := map[archive.State]int64{}
	page, err := o.jobs.Select(ctx, user.ID, archive.Selection{Limit: maxTally, Look: maxTally, Match: func(j archive.Job) bool {
		over.Total++
		st := user.state(j)
		byState[st]++
		if st == archive.Available && isBack(j) {
			over.Restored++
		}
		if j.ArchiveID == "" && !since.IsZero() && !j.RestoredAt.Before(since) {
			over.Back++
			over.BackBytes += j.ResultSize
			if j.ResultSize == 0 {
				over.BackUnsized++
			}
		}
		return false // the number is enough
	}})
	if err != nil {
		return err
	}
	over.TotalMore = page.Next != ""
	over.Of = map[string]int64{}
	for _, g := range groups() {
		for _, st := range g.states {
			over.Of[g.Name] += byState[st]
		}
	}
	return nil
}

// in returns how many jobs are in the group called name; the empty name has all.
func (o *overview) in(name string) int64 {
	if name == "" {
		return o.Total
	}
	return o.Of[name]
}

// Whole is how many files come back in all, with those that are back. It is 0 if none is
// under way.
func (o *overview) Whole() int64 {
	if o.Coming+o.Waiting+o.Attention == 0 {
		return 0
	}
	return o.Back + o.Files
}

// WholeBytes is the size of those files. It is 0 if nobody knows it.
func (o *overview) WholeBytes() int64 {
	if o.More || o.TotalMore || o.Unsized+o.BackUnsized > 0 {
		return 0
	}
	return o.BackBytes + o.Bytes
}

// overviewOf returns the overview for a page that can do without it. It is nil if it could
// not be read.
func (s *Server) overviewOf(ctx context.Context, user owner, page string) *overview {
	over, err := s.archived.of(ctx, user)
	if err != nil {
		s.lack(ctx, page+" is shown without what is in the archive", err)
		return nil
	}
	return over
}
