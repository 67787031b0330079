package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// adopt deals with an intent that an earlier delivery left. While it is young
// its call may be on its way, which is an error of kind Wait. Else adopt looks at
// Glacier for the retrieval that was asked for and could not be saved, and saves
// it, whoever is entitled to what by now: it is paid for. adopted is false if there is
// none. Then used says that there may have been one that came to nothing: the list has
// such a one, or the intent is so old that Glacier may have forgotten it.
func (r *Requester) adopt(ctx context.Context, log *slog.Logger, job *archive.Job) (adopted, used bool, err error) {
	if age := r.watched.age(job.ID, job.Intent.Token, r.Now()); age < r.intentLife() {
		return false, false, fault.After(fault.Wait, r.intentLife()-age,
			fmt.Errorf("another worker's intent stands, for %s as far as this one has seen: it may be asking just now", age.Round(time.Second)))
	}
	found, err := r.listing.find(ctx, *job, r.Vault)
	if err != nil {
		return false, false, err
	}
	best, usable := bestOf(found, r.Now())
	if usable == 0 {
		// Of two machines' clocks; but beside a day, what they differ by is nothing.
		return false, len(found) > 0 || r.Now().Sub(job.Intent.At) > archive.OutputLifetime-time.Hour, nil
	}
	best.Cost = r.priceOf(best, *job)
	if err := r.save(ctx, log, job, best); err != nil {
		return false, false, err
	}
	if usable > 1 {
		log.Error("several retrievals of one archive", "archive", job.ArchiveID, "retrievals", usable, "adopted", best.ID)
		if r.OnDuplicates != nil {
			r.OnDuplicates(usable - 1)
		}
	}
	log.Info("adopted a retrieval that was requested but not saved", "retrieval", best.ID, "tier", best.Tier)
	if r.OnAdopted != nil {
		r.OnAdopted(best)
	}
	return true, false, nil
}

// bestOf returns the one to adopt of an archive's retrievals, and how many of
// them have brought or may bring it: the one that is there or will be the soonest.
func bestOf(found []archive.Retrieval, now time.Time) (best archive.Retrieval, usable int) {
	for _, f := range found {
		if !f.Usable(now) {
			continue
		}
		usable++
		done, bestDone := f.Status == archive.Succeeded, best.Status == archive.Succeeded
		if usable == 1 || done && !bestDone || done == bestDone && f.RequestedAt.Before(best.RequestedAt) {
			best = f
		}
	}
	return best, usable
}
