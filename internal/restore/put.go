package restore

import (
	"context"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// put puts the bytes into S3. If an object is at the key already, put writes
// nothing, and prove compares that object with the archive.
func (r *Restorer) put(ctx context.Context, f *file) error {
	switch {
	case f.nothing != nil:
		return nil
	case f.large:
		return r.putParts(ctx, f)
	}
	stored, err := r.Bucket.Put(ctx, f.job.Result, archive.Mark{Archive: f.job.ArchiveID, Content: f.content}, f.body, *f.sum)
	r.free(f)
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	if err != nil {
		return err
	}
	f.stored = &stored
	return nil
}
