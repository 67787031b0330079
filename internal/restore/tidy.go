package restore

import (
	"context"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// tidy aborts the uploads that earlier deliveries left at the key of a proven file. A
// large file's copy may leave some. A small file has some only if [Restorer.placeable]
// tried the key after an earlier retrieval came to nothing, and its worker died.
func (r *Restorer) tidy(ctx context.Context, f *file) error {
	small := f.notice.Size <= r.PartSize && f.job.RetrievalID != ""
	if f.large || small && len(f.job.History.Failed) > 0 {
		return r.abortAll(ctx, f)
	}
	return nil
}

// abortAll aborts all unfinished uploads to the file's key.
func (r *Restorer) abortAll(ctx context.Context, f *file) error {
	return r.abort(ctx, f, func(archive.Upload) (bool, error) { return true, nil })
}

// abortEmpty aborts the unfinished uploads to the file's key that have no parts. The next
// copy of a large file goes on with the others.
func (r *Restorer) abortEmpty(ctx context.Context, f *file) error {
	return r.abort(ctx, f, func(u archive.Upload) (bool, error) {
		parts, err := u.Parts(ctx)
		return len(parts) == 0, err
	})
}

// abort aborts those unfinished uploads to the file's key that pick picks.
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
