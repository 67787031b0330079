package restore

import (
	"context"

	"github.com/gas-restore/gas/internal/fault"
)

// release deletes the archive of a proven file.
func (r *Restorer) release(ctx context.Context, f *file) error {
	if err := r.Vault.Delete(ctx, f.verified); fault.Is(err, fault.Denied) {
		// A vault lock forbids the deletion. The user's file is back anyway. The archive stays
		// and costs money, so an operator should know.
		f.log.Warn("archive not deleted: the vault denies it", "archive", f.job.ArchiveID, "err", err)
		if r.OnKept != nil {
			r.OnKept()
		}
	} else if err != nil {
		return err
	}
	return nil
}
