package restore

import "context"

// clear removes the archive from the catalog.
func (r *Restorer) clear(ctx context.Context, f *file) error {
	job := f.job
	job.RestoredBy = f.notification.RetrievalID
	return r.Catalog.ClearArchive(ctx, job)
}
