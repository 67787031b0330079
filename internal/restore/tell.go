package restore

import (
	"context"

	"github.com/gas-restore/gas/internal/archive"
)

// tell reports that the file is restored.
func (r *Restorer) tell(ctx context.Context, f *file) error {
	size := f.verified.Content().Size
	if r.OnRestored != nil {
		r.OnRestored(f.job, size)
	}
	f.log.Info("restored", "archive", f.job.ArchiveID, "object", f.verified.Object(), "bytes", size)
	return f.emit(ctx, r.status(f, archive.Restored, string(f.notification.RetrievalID), size))
}
