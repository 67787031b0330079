package web

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/census"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/pkg/events"
)

// overview is what a user has in the archive: how much, and when it is back.
type overview struct {
	// Files are in the archive, Bytes those of the ones whose size is known; More
	// says that there are more, which were not counted.
	Files, Bytes, Unsized int64
	More                  bool
	// Coming is how many of them are on their way back.
	Coming int64
	// By is when those that come, or would come with Premium from now on, are
	// back as a rule; nil if there are none.
	By *span
	// Cost is at most what the archive takes for bringing back those that are not
	// asked for yet. It is the service's cost, not the user's price.
	Cost archive.MicroUSD
}

const (
	// maxCounted bounds what is counted for a page: pages of the index, of about
	// a thousand archives each.
	maxCounted = 10
	// overviewAge is how old an overview may be.
	overviewAge = 2 * time.Second
	// maxOverviews bounds how many are kept.
	maxOverviews = 10_000
)

// overviews counts, and remembers for a moment: a page is read more often than
// an archive moves.
type overviews struct {
	jobs    Jobs
	tiers   archive.Tiers
	prices  cost.Prices
	assumed int64
	now     func() time.Time
	group   singleflight.Group

	mu    sync.Mutex // guards known
	known map[overviewKey]knownOverview
}

type overviewKey struct {
	user events.UserID
	role archive.Role
}

type knownOverview struct {
	overview
	at time.Time
}

func newOverviews(jobs Jobs, cfg Config) *overviews {
	return &overviews{jobs: jobs, tiers: cfg.Tiers, prices: cfg.Prices, assumed: cfg.AssumedSize, now: cfg.Now, known: map[overviewKey]knownOverview{}}
}

// of returns what the account has in the archive, as of a moment ago.
func (o *overviews) of(ctx context.Context, account archive.Account) (*overview, error) {
	key := overviewKey{account.ID, account.Role}
	o.mu.Lock()
	k, ok := o.known[key]
	o.mu.Unlock()
	if ok && o.now().Sub(k.at) < overviewAge {
		return &k.overview, nil
	}
	v, err, _ := o.group.Do(string(account.Role)+" "+string(account.ID), func() (any, error) {
		// Others wait for it: it does not end with the request that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		over, err := o.count(ctx, account)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.known) >= maxOverviews {
			clear(o.known)
		}
		o.known[key] = knownOverview{over, o.now()}
		return over, nil
	})
	if err != nil {
		return nil, err
	}
	over := v.(overview)
	return &over, nil
}

func (o *overviews) count(ctx context.Context, account archive.Account) (overview, error) {
	now := o.now()
	count := census.New(now)
	var over overview
	var ask cost.Estimate
	for page, cursor := 0, ""; ; page++ {
		if page == maxCounted {
			over.More = true
			break
		}
		jobs, next, err := o.jobs.ArchivedPage(ctx, account.ID, cursor)
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
			if st := j.State(account.Role); st == archive.Planned || st == archive.Requested {
				over.Coming++
			}
			if j.RetrievalID == "" {
				ask.Add(j.ArchiveSize, o.assumed)
			}
			count.Add(j, archive.Premium)
		}
		if cursor = next; next == "" {
			break
		}
	}
	over.Cost = ask.AtMost(o.prices, o.tiers)
	if by, ok := count.ReadyBy(o.tiers); ok && len(o.tiers) > 0 {
		soonest, _ := within(o.tiers)
		from := now.Add(soonest)
		if by.Before(from) {
			from = now
		}
		// When it is overdue, nobody knows any more.
		if by.After(now) {
			over.By = &span{from, by}
		}
	}
	return over, nil
}
