package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// adopt handles an intent that another worker wrote. While the intent is young, that worker
// may be calling Glacier just now: then the error is of kind Wait. Otherwise, adopt searches
// Glacier's list for the retrieval. It saves a retrieval that it finds, even if the user left
// Premium: the retrieval is paid for. adopted is the usable retrieval that adopt found. If it
// found none, adopted is nil, and used reports whether Glacier may have got the request: the list has a
// failed or expired retrieval, or the intent is so old that Glacier may have forgotten its
// retrieval.
func (r *Requester) adopt(ctx context.Context, log *slog.Logger, job *archive.Job) (adopted *archive.Retrieval, used bool, err error) {
	if age := r.watched.age(job.ID, job.Intent.Token, r.Now()); age < r.intentLife() {
		return nil, false, fault.After(fault.Wait, r.intentLife()-age,
			fmt.Errorf("another worker's intent stands, for %s as far as this one has seen: it may be asking just now", age.Round(time.Second)))
	}
	found, err := r.listing.find(ctx, *job, r.Vault)
	if err != nil {
		return nil, false, err
	}
	best, usable := bestOf(found, r.Now())
	if usable == 0 {
		// This compares the clocks of two machines. They differ by much less than a day.
		return nil, len(found) > 0 || r.outlived(*job), nil
	}
	best.Cost = r.priceOf(best, *job)
	if err := r.save(ctx, log, job, best); err != nil {
		return nil, false, err
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
	return &best, false, nil
}

// outlived reports whether the intent is so old that the output of its retrieval may have
// expired, and that the store may have forgotten the retrieval.
func (r *Requester) outlived(job archive.Job) bool {
	life := job.Copy.Class.OutputLifetime()
	return life > 0 && r.Now().Sub(job.Intent.At) > life-time.Hour
}

// bestOf returns the retrieval to adopt: the oldest finished one, or else the oldest. It also
// returns the number of usable retrievals.
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
