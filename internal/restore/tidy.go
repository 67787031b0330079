package restore

import (
	"context"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// tidy aborts the uploads that earlier deliveries left at the key of a proven file. The
// copy of a large file may leave uploads. A small file has uploads only if a worker died in
// [Restorer.placeable], which tries the key after a retrieval failed or expired.
func (r *Restorer) tidy(ctx context.Context, f *file) error {
	small := f.notification.Size <= r.PartSize && f.job.RetrievalID != ""
	if f.large || small && len(f.job.History.Failed) > 0 {
		return r.abortAll(ctx, f)
	}
	return nil
}

// tidyAgain aborts the uploads to the key of a file that is back. If two deliveries copied the
// file, one of them may have begun an upload after the other had tidied. It lost its lease then,
// or could not finish the copy, so its notification comes again. If another program brought the
// file back, a copy of ours may have been begun.
func (r *Restorer) tidyAgain(ctx context.Context, f *file) error {
	if f.job.Result.Bucket == "" || f.job.Result.Key == "" {
		return nil
	}
	return r.abortAll(ctx, f)
}

// abortAll aborts all unfinished uploads to the file's key.
func (r *Restorer) abortAll(ctx context.Context, f *file) error {
	return r.abort(ctx, f, func(archive.Upload) (bool, error) { return true, nil })
}

// abortEmpty aborts the unfinished uploads to the file's key that have no parts. The next
// copy of a large file can continue the other uploads.
func (r *Restorer) abortEmpty(ctx context.Context, f *file) error {
	return r.abort(ctx, f, func(u archive.Upload) (bool, error) {
		parts, err := u.Parts(ctx)
		return len(parts) == 0, err
	})
}

// abort aborts the unfinished uploads to the file's key for which pick returns true.
func (r *Restorer) abort(ctx context.Context, f *file, pick func(archive.Upload) (bool, error)) error {
	uploads, err := r.Uploads.Unfinished(ctx, f.job.Result)
	for _, u := range uploads {
		var picked bool
		if picked, err = pick(u); err == nil && picked {
			err = u.Abort(ctx)
		}
		if err != nil {
			break
		}
	}
	if fault.Is(err, fault.Denied) {
		f.log.Warn("unfinished uploads not aborted: the bucket's lifecycle rule frees their parts", "err", err)
		return nil
	}
	return err
}
