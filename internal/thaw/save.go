package thaw

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// save writes the retrieval's id into the catalog, under the intent of this request.
//
// If that intent is gone, this worker was paused between its check and its call for longer
// than the intent lives, and another worker took over. Glacier's interface leaves this one
// race open. Then save uses the other worker's intent. The worker that saves second finds the
// id of the first worker's retrieval, and counts the duplicate. save does not save a retrieval
// that failed or expired meanwhile: another worker may have requested the archive since, and
// the failed retrieval would take the place of the new one.
func (r *Requester) save(ctx context.Context, log *slog.Logger, job *archive.Job, retrieval archive.Retrieval) error {
	err := r.Catalog.SaveRetrieval(ctx, *job, *job.Intent, retrieval)
	for range 3 {
		if !fault.Is(err, fault.Conflict) {
			break
		}
		now, rerr := r.Catalog.Job(ctx, job.ID)
		switch {
		case rerr != nil:
			return rerr
		case now.RetrievalID == retrieval.ID:
			// The id is saved. Either the answer to the write was lost, or another worker found
			// the retrieval in the list and saved it.
			*job = now
			return nil
		case now.ArchiveID == "" && now.RestoredBy == retrieval.ID:
			return fault.Errorf(fault.Wait, "another worker saved it, and the file is back: %w", err)
		}
		found, lerr := r.listing.find(ctx, *job, r.Vault)
		if lerr != nil {
			return lerr
		}
		if !slices.ContainsFunc(found, func(f archive.Retrieval) bool { return f.ID == retrieval.ID && f.Usable(r.Now()) }) {
			return fault.Errorf(fault.Wait, "retrieval %q came to nothing before it was saved: %w", retrieval.ID, err)
		}
		switch {
		case now.RetrievalID != "" || now.ArchiveID != job.ArchiveID:
			log.Error("two retrievals of one archive", "archive", job.ArchiveID, "saved", now.RetrievalID, "second", retrieval.ID)
			if r.OnDuplicates != nil {
				r.OnDuplicates(1)
			}
			return fault.New(fault.Wait, fmt.Errorf("another worker requested it too: %w", err))
		case now.Intent == nil:
			// The retrieval is paid for. So save it, even if the tries are used up.
			now.History.Allowed += archive.MaxRetrievals
			intent := r.newIntent("")
			if err = r.Catalog.SaveIntent(ctx, now, intent); err != nil {
				continue
			}
			now.Intent = &intent
		}
		*job = now
		err = r.Catalog.SaveRetrieval(ctx, *job, *job.Intent, retrieval)
	}
	if err != nil {
		return err
	}
	job.RetrievalID, job.Tier, job.RetrievalRequestedAt, job.Intent = retrieval.ID, retrieval.Tier, retrieval.RequestedAt, nil
	return nil
}
