package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// present proves that what is at the job's key already is the archive: S3's own
// checksum of the object is that of the archive's bytes, if sum is known, or
// else the object is read back to its last byte. One with other content is never
// written over, and is an error of kind Invalid: somebody has to look.
func (r *Restorer) present(ctx context.Context, log *slog.Logger, job archive.Job, want archive.Content, sum *crc64nvme.Sum) (archive.Verified, error) {
	found, err := r.Bucket.Stat(ctx, job.Result)
	if err != nil {
		return archive.Verified{}, err
	}
	if found.Size != want.Size {
		return archive.Verified{}, r.occupied(found, want, errors.New("it has another size"))
	}
	if sum != nil && found.Checksum == sum.String() {
		return verify(job.ArchiveID, want, want, archive.Stored{Object: found.Object, Size: found.Size, Checksum: found.Checksum, Sent: sum.String()})
	}
	log.Info("the object is there already: reading it back", "object", found.Object, "bytes", found.Size)
	read, err := r.readBack(ctx, log, found)
	if err != nil {
		return archive.Verified{}, err
	}
	v, differs := archive.Recognize(job.ArchiveID, want, read, found)
	if differs == nil {
		return v, nil
	}
	// A dead letter says that the object is another one. So it is not said of one
	// that was read wrong.
	again, err := r.readBack(ctx, log, found)
	if err != nil {
		return archive.Verified{}, err
	}
	if again != read {
		return archive.Verified{}, fault.Errorf(fault.Corrupt, "%s was read back twice with different content: tree hash %s, then %s", found.Object, read.TreeHash, again.TreeHash)
	}
	return archive.Verified{}, r.occupied(found, want, differs)
}

// keyOccupied is the cause of a dead letter of a file whose place another has.
const keyOccupied = "key occupied"

// occupied says all that an operator needs to decide whose the object is.
func (r *Restorer) occupied(found archive.Found, want archive.Content, why error) error {
	by := "it does not say that a restore put it there"
	if found.Mark != nil {
		by = "it says that it holds archive " + string(found.Mark.Archive)
	}
	return fault.Because(fault.Invalid, keyOccupied, fmt.Errorf("%s is there already with other content and is not written over: %w; it has %d bytes and ETag %s since %s, %s; the archive has %d bytes and tree hash %s. "+
		"Move it away and replay this, or delete the archive if the object is right",
		found.Object, why, found.Size, found.ETag, found.ModifiedAt.UTC().Format(time.RFC3339), by, want.Size, want.TreeHash))
}

// readBack reads an object to its last byte. A cut connection is taken up where
// it was cut.
func (r *Restorer) readBack(ctx context.Context, log *slog.Logger, found archive.Found) (archive.Content, error) {
	h, at := treehash.New(), int64(0)
	for try := 1; ; try++ {
		n, err := r.readOn(ctx, h, found, at)
		if at += n; n > 0 {
			try = 1
		}
		switch {
		case err == nil:
			return archive.Content{Size: at, TreeHash: h.TreeHash()}, nil
		case fault.Is(err, fault.Conflict):
			return archive.Content{}, fault.Errorf(fault.Transient, "it changed while it was read: %w", err)
		case ctx.Err() != nil || !fault.Is(err, fault.Transient) || try >= rangeTries:
			return archive.Content{}, err
		}
		log.Warn("object read on", "offset", at, "err", err)
	}
}

func (r *Restorer) readOn(ctx context.Context, h *treehash.Hash, found archive.Found, at int64) (int64, error) {
	if at == found.Size && at > 0 {
		return 0, nil
	}
	body, err := r.Bucket.Read(ctx, found, at)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.Copy(h, body)
	if err == nil && at+n < found.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, fault.Errorf(fault.Transient, "read %s from %d: %w", found.Object, at, err)
	}
	return n, nil
}

// failed handles a notice of a retrieval that failed: Glacier itself is asked. The
// error is a [nothingError] if it agrees, and the file is not in S3 in spite of it: an
// archive that was deleted when the file was back fails too.
func (r *Restorer) failed(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted) (archive.Verified, error) {
	retrieval, err := r.Vault.Describe(ctx, job.RetrievalID)
	switch {
	case fault.Is(err, fault.NotFound):
		return r.outlived(ctx, log, job, e, gone(err))
	case err != nil:
		return archive.Verified{}, err
	case retrieval.Status != archive.RetrievalFailed:
		return archive.Verified{}, fault.Errorf(fault.Wait, "the notification says that the retrieval failed, Glacier says %s", retrieval.Status)
	}
	return r.outlived(ctx, log, job, e, nothingError{archive.GlacierFailed, errors.New(retrieval.Reason)})
}

// outlived looks whether the file is in S3 already, for a retrieval that came to
// nothing. If it is not, or if nobody knows its tree hash, it returns came.
func (r *Restorer) outlived(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted, came error) (archive.Verified, error) {
	want := archive.Content{Size: e.Size}
	promised := e.TreeHash
	if promised == "" {
		want.Size, promised = job.ArchiveSize, job.TreeHash
	}
	var ok bool
	if want.TreeHash, ok = treehash.Parse(promised); !ok || want.Size < 0 {
		return archive.Verified{}, came
	}
	if err := promises(job, e, want); err != nil {
		return archive.Verified{}, err
	}
	v, err := r.present(ctx, log, job, want, nil)
	if fault.Is(err, fault.NotFound) {
		return v, came
	}
	return v, err
}
