package restore

import "context"

// clear removes the archive from the catalog.
func (r *Restorer) clear(ctx context.Context, f *file) error {
	job := f.job
	job.RestoredBy, job.RestoredAt = f.notification.RetrievalID, r.Now()
	return r.Catalog.ClearArchive(ctx, job)
}
