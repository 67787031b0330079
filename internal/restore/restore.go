// Package restore brings the output of a finished Glacier retrieval back to S3:
// it copies, proves, deletes the archive, and clears the catalog, in this order
// and no other.
package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Emit publishes an event; it is stored before the handled message is acked.
type Emit = func(context.Context, events.Event) error

// Catalog is what the restorer reads and writes of a job. Writes are
// conditional on the archive and retrieval that job has; an error of kind
// Conflict says that the catalog has others.
type Catalog interface {
	// Job returns the job as it is now, or an error of kind NotFound.
	Job(context.Context, events.JobID) (archive.Job, error)
	// ClearArchive removes archive_id, retrieval_request_id and what is ours
	// beside them: the file is restored, by the job's RestoredBy.
	ClearArchive(context.Context, archive.Job) error
	// ClearRetrieval removes retrieval_request_id alone, counts that it came to nothing
	// in the way of f, and lets the archive be requested again from the time on.
	ClearRetrieval(ctx context.Context, job archive.Job, f archive.Failure, notBefore time.Time) error
}

// Vault is what the restorer does with Glacier.
type Vault interface {
	// Output opens length bytes of a retrieval's output from offset on; length
	// -1 is all. An error of kind NotFound says that it expired.
	Output(ctx context.Context, id events.RetrievalID, offset, length int64) (archive.Output, error)
	// Describe returns the retrieval, or an error of kind NotFound.
	Describe(context.Context, events.RetrievalID) (archive.Retrieval, error)
	// Delete deletes an archive that is proven to be elsewhere. Deleting it
	// twice is no error; one of kind Denied says that the vault is locked.
	Delete(context.Context, archive.Verified) error
}

// Bucket is what the restorer does with objects of S3.
type Bucket interface {
	// Stat returns what is at o, or an error of kind NotFound.
	Stat(ctx context.Context, o archive.Object) (archive.Found, error)
	// Read opens what was found, from offset on. The error's kind is Conflict if
	// something else is there by now.
	Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error)
	// Put stores body at o, with the mark. If something is there, it is left as
	// it is and the error is of kind Conflict.
	Put(ctx context.Context, o archive.Object, mark archive.Mark, body []byte, sum crc64nvme.Sum) (archive.Stored, error)
}

// Uploads is what the restorer does with S3 for objects that are more than a part.
type Uploads interface {
	// Begin begins an upload to o, with the mark. Nothing is visible at o until it
	// is completed.
	Begin(ctx context.Context, o archive.Object, mark archive.Mark) (archive.Upload, error)
	// Unfinished returns the uploads to o that were neither completed nor aborted.
	Unfinished(ctx context.Context, o archive.Object) ([]archive.Upload, error)
}

// Restorer restores archives. Set every field, or take the zero value's default
// where one is named.
type Restorer struct {
	Catalog Catalog
	Vault   Vault
	Bucket  Bucket
	Uploads Uploads
	// Notes keep what is proven of unfinished copies. Without them, or while they
	// cannot be reached, a copy that was interrupted begins anew.
	Notes Notes
	// PartSize is the size in bytes of what is fetched at a time, a power of two
	// of MiB, and of a part if 10,000 of them are enough; 8 MiB if zero. An archive
	// of up to this size is copied in one go.
	PartSize int64
	// Parallel is how many spans of PartSize of one archive are in memory at a
	// time; 3 if zero.
	Parallel int
	// MaxParts is how many parts an object may have; S3's 10,000 if zero.
	MaxParts int
	Now      func() time.Time
	Log      *slog.Logger
	// OnRestored and OnKept are told of each restored archive, and of each whose
	// deletion the vault's lock denied. They may be nil.
	OnRestored func(bytes int64)
	OnKept     func()
	// OnForeign is told of each retrieval that somebody else asked for. It may be nil.
	OnForeign func()
	// OnOutput is told how much of an output's life is left when its copy begins,
	// below zero if it may be gone. It may be nil.
	OnOutput func(left time.Duration)

	once    sync.Once
	buffers sync.Pool
	rush    rush
}

const (
	defaultPartSize = 8 << 20
	defaultParallel = 3
	// rangeTries is how often a range is fetched before the delivery fails.
	rangeTries = 3
	// progressEvery is how often a copy tells how far it is.
	progressEvery = time.Second
)

// Restore brings the archive of the event's retrieval back. The event is a
// hint: the job, the archive and the key are the catalog's.
func (r *Restorer) Restore(ctx context.Context, e events.RetrievalCompleted, emit Emit) error {
	r.once.Do(r.init)
	if err := r.rush.yield(e, r.Now()); err != nil {
		return err
	}
	job, err := r.Catalog.Job(ctx, e.JobID)
	if fault.Is(err, fault.NotFound) && e.Foreign {
		// Somebody else asked for it, in their own words: the vault tells of all.
		r.Log.Info("notification ignored: a retrieval that is not ours", "job", e.JobID, "archive", e.ArchiveID, "retrieval", e.RetrievalID)
		if r.OnForeign != nil {
			r.OnForeign()
		}
		return nil
	}
	if fault.Is(err, fault.NotFound) {
		return fault.Errorf(fault.Invalid, "unknown job %q: not in the catalog", e.JobID)
	}
	if err != nil {
		return err
	}
	if doubt := job.Doubt(); doubt != "" {
		return fault.Because(fault.Invalid, "unreadable job in the catalog", fmt.Errorf("the catalog's job %q of user %s cannot be worked with: %s", job.ID, job.UserID, doubt))
	}
	err = r.restore(ctx, r.Log.With("user", job.UserID, "job", job.ID, "retrieval", e.RetrievalID), job, e, emit)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Corrupt) {
		// These become dead letters: what the operator needs beside the message.
		return fault.Because(fault.KindOf(err), fault.CauseOf(err), fmt.Errorf("job %s of user %s, archive %q, retrieval %q, to %s: %w",
			job.ID, job.UserID, job.ArchiveID, job.RetrievalID, job.Result, err))
	}
	// What is denied to one user need not be to the next.
	return fault.Of(string(job.UserID), err)
}

func (r *Restorer) restore(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted, emit Emit) error {
	switch {
	case job.ArchiveID == "":
		log.Info("nothing to restore: the file is not archived any more")
		if job.RestoredBy == e.RetrievalID {
			// An earlier delivery restored it, and may have died before it said so, or says
			// so at this moment. Each notice tells it under an id of its own: were one taken
			// for a repetition of another, what that one said before could come last.
			return emit(ctx, r.status(job, archive.Restored, string(e.RetrievalID)+"."+cmp.Or(e.Notification, e.ID), e.Size))
		}
		return nil
	case job.ArchiveID != e.ArchiveID && job.RestoredBy == e.RetrievalID:
		log.Info("late notification ignored: its file was back, and is archived again since")
		return nil
	case job.ArchiveID != e.ArchiveID:
		return fault.Errorf(fault.Invalid, "wrong archive id: the notification names %q, the catalog %q", e.ArchiveID, job.ArchiveID)
	case job.RetrievalID == "" && job.Intent != nil:
		// The retrieval was ready before thaw had saved its id, or thaw died in
		// between and the next one adopts it.
		return fault.New(fault.Wait, fmt.Errorf("the retrieval is not in the catalog yet"))
	case job.RetrievalID == "":
		// An earlier delivery took a failed or expired retrieval back and died
		// before it had asked anew, or this is a late repetition. The task's id
		// is the same: asking twice asks once. And to ask buys nothing: the gate
		// goes by the plan that stands. But another worker may have put the file while
		// this retrieval was taken back, and deleted the archive: then there is nothing to
		// ask for, ever.
		verified, err := r.outlived(ctx, log, job, e, nothingError{archive.OutputExpired, errors.New("nothing at the key")})
		if err == nil {
			return r.release(ctx, log, job, verified, e, emit)
		}
		if _, nothing := errors.AsType[nothingError](err); !nothing {
			return err
		}
		log.Info("the catalog waits for no retrieval: asking again")
		return r.askAgain(ctx, job, e.RetrievalID, emit)
	case job.RetrievalID != e.RetrievalID:
		log.Warn("stale notification ignored: the catalog waits for another retrieval", "waits_for", job.RetrievalID)
		return nil
	case job.Result.Bucket == "" || job.Result.Key == "":
		return fault.Errorf(fault.Invalid, "the catalog does not say where the result of job %q belongs: s3_results_bucket or s3_key_result_file is missing", e.JobID)
	}
	verified, err := r.bring(ctx, log, job, e, emit)
	if came, nothing := errors.AsType[nothingError](err); nothing {
		return r.replan(ctx, log, job, came, emit)
	}
	if err != nil {
		return err
	}
	if e.Size <= r.PartSize && len(job.History.Failed) > 0 {
		// Whoever asked for this retrieval tried before whether the key takes an object,
		// and may have died over it. A larger file's copy tidies up by itself.
		if err := r.sweep(ctx, log, job.Result); err != nil {
			return err
		}
	}
	return r.release(ctx, log, job, verified, e, emit)
}

// release deletes the archive of a file that is proven to be in S3, clears the catalog,
// and tells that the file is restored.
func (r *Restorer) release(ctx context.Context, log *slog.Logger, job archive.Job, verified archive.Verified, e events.RetrievalCompleted, emit Emit) error {
	if err := r.Vault.Delete(ctx, verified); fault.Is(err, fault.Denied) {
		// A vault lock forbids it. The user's file is back all the same; the
		// archive stays and costs, which an operator should know.
		log.Warn("archive not deleted: the vault denies it", "archive", job.ArchiveID, "err", err)
		if r.OnKept != nil {
			r.OnKept()
		}
	} else if err != nil {
		return err
	}
	job.RestoredBy = e.RetrievalID
	if err := r.Catalog.ClearArchive(ctx, job); err != nil {
		return err
	}
	if r.OnRestored != nil {
		r.OnRestored(verified.Content().Size)
	}
	log.Info("restored", "archive", job.ArchiveID, "object", verified.Object(), "bytes", verified.Content().Size)
	return emit(ctx, r.status(job, archive.Restored, string(e.RetrievalID), verified.Content().Size))
}

func (r *Restorer) init() {
	if r.PartSize == 0 {
		r.PartSize = defaultPartSize
	}
	if r.Parallel == 0 {
		r.Parallel = defaultParallel
	}
	if r.MaxParts == 0 {
		r.MaxParts = maxParts
	}
}

// bring copies the output to its place, or finds that an earlier delivery did.
// The error is a [nothingError] if the retrieval came to nothing.
func (r *Restorer) bring(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted, emit Emit) (archive.Verified, error) {
	if e.Status != archive.Succeeded {
		return r.failed(ctx, log, job, e)
	}
	if err := emit(ctx, r.status(job, archive.Ready, string(e.RetrievalID), 0)); err != nil {
		return archive.Verified{}, err
	}
	if r.OnOutput != nil && !e.CompletedAt.IsZero() {
		r.OnOutput(e.CompletedAt.Add(archive.OutputLifetime).Sub(r.Now()))
	}
	if e.Size <= r.PartSize {
		return r.bringWhole(ctx, log, job, e)
	}
	return r.bringParts(ctx, log, job, e, emit)
}

// bringWhole copies an archive that fits into one buffer.
func (r *Restorer) bringWhole(ctx context.Context, log *slog.Logger, job archive.Job, e events.RetrievalCompleted) (archive.Verified, error) {
	buf := r.buffer(e.Size)
	defer r.buffers.Put(buf)
	body := (*buf)[:e.Size]
	got, err := r.fetch(ctx, log, job.RetrievalID, 0, -1, body)
	if err != nil {
		if _, ok := errors.AsType[nothingError](err); ok {
			return r.outlived(ctx, log, job, e, err)
		}
		return archive.Verified{}, err
	}
	copied := archive.Content{Size: int64(len(body)), TreeHash: got.tree}
	if err := promises(job, e, copied); err != nil {
		return archive.Verified{}, err
	}
	hash, ok := treehash.Parse(cmp.Or(got.promised, e.TreeHash, job.TreeHash))
	if !ok {
		return archive.Verified{}, fault.Errorf(fault.Corrupt, "archive %s: neither Glacier nor the catalog says its tree hash", job.ArchiveID)
	}
	promised := archive.Content{Size: e.Size, TreeHash: hash}
	stored, err := r.Bucket.Put(ctx, job.Result, archive.Mark{Archive: job.ArchiveID, Content: promised}, body, got.crc)
	if fault.Is(err, fault.Conflict) {
		return r.present(ctx, log, job, promised, &got.crc)
	}
	if err != nil {
		return archive.Verified{}, err
	}
	return verify(job.ArchiveID, promised, copied, stored)
}

func verify(id events.ArchiveID, promised, copied archive.Content, stored archive.Stored) (archive.Verified, error) {
	v, err := archive.Verify(id, promised, copied, stored)
	if err != nil {
		return v, fault.New(fault.Corrupt, err)
	}
	return v, nil
}

// promises compares what was copied with what the catalog and the notification
// say, where they say anything.
func promises(job archive.Job, e events.RetrievalCompleted, copied archive.Content) error {
	switch {
	case job.ArchiveSize >= 0 && job.ArchiveSize != copied.Size:
		return fault.Errorf(fault.Corrupt, "archive %s has %d bytes, the catalog says %d", job.ArchiveID, copied.Size, job.ArchiveSize)
	case job.TreeHash != "" && job.TreeHash != copied.TreeHash.String():
		return fault.Errorf(fault.Corrupt, "archive %s has tree hash %s, the catalog says %s", job.ArchiveID, copied.TreeHash, job.TreeHash)
	case e.TreeHash != "" && e.TreeHash != copied.TreeHash.String():
		return fault.Errorf(fault.Corrupt, "archive %s has tree hash %s, the notification says %s", job.ArchiveID, copied.TreeHash, e.TreeHash)
	}
	return nil
}

// replan takes the retrieval back, which came to nothing, and asks for another, if
// that could be put in its place. How often it has come to that is counted with the
// job; what follows is the gate's to say.
func (r *Restorer) replan(ctx context.Context, log *slog.Logger, job archive.Job, came nothingError, emit Emit) error {
	if err := r.placeable(ctx, job); err != nil {
		return fmt.Errorf("to retrieve the archive again would be of no use: %w (%w)", err, came)
	}
	pause := archive.Pause(job.History.Failed[came.how] + 1)
	log.Warn("the retrieval came to nothing, asking again", "how", came.how, "not_before", pause, "tries", job.History.Tries, "err", came)
	if err := r.Catalog.ClearRetrieval(ctx, job, came.how, r.Now().Add(pause)); err != nil {
		return err
	}
	s := r.status(job, archive.State(came.how), string(job.RetrievalID), 0)
	s.Detail = came.Error()
	if err := emit(ctx, s); err != nil {
		return err
	}
	return r.askAgain(ctx, job, job.RetrievalID, emit)
}

// placeable returns an error if nothing could be put at the job's key: what cannot be
// put is not retrieved again.
func (r *Restorer) placeable(ctx context.Context, job archive.Job) error {
	found, err := r.Bucket.Stat(ctx, job.Result)
	if err == nil {
		return fault.Because(fault.Invalid, keyOccupied, fmt.Errorf("%s is there already (%d bytes, ETag %s), is not known to be the archive, and is not written over. "+
			"Move it away and replay this, or delete the archive if the object is right", found.Object, found.Size, found.ETag))
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	// An upload that is begun and given up shows nothing to anybody, and needs the same
	// permission as a whole one.
	up, err := r.Uploads.Begin(ctx, job.Result, archive.Mark{Archive: job.ArchiveID})
	if err != nil {
		return err
	}
	return up.Abort(ctx)
}

// askAgain emits the task to request the job's archive once more. The task's id
// is made of the retrieval that came to nothing, so that repetitions are one.
func (r *Restorer) askAgain(ctx context.Context, job archive.Job, gone events.RetrievalID, emit Emit) error {
	return emit(ctx, events.ThawRequested{
		ID:         "again-" + string(gone),
		JobID:      job.ID,
		UserID:     job.UserID,
		ArchiveID:  job.ArchiveID,
		UpgradedAt: job.RetrievalRequestedAt,
	})
}

func (r *Restorer) status(job archive.Job, state archive.State, step string, size int64) events.StatusChanged {
	return events.StatusChanged{
		JobID:  job.ID,
		UserID: job.UserID,
		State:  state,
		At:     r.Now().UTC(),
		Tier:   job.Tier.Told(),
		Size:   size,
		Step:   step,
	}
}

// buffer returns a pooled buffer of at least n bytes.
func (r *Restorer) buffer(n int64) *[]byte {
	if b, ok := r.buffers.Get().(*[]byte); ok && int64(cap(*b)) >= n {
		*b = (*b)[:cap(*b)]
		return b
	}
	b := make([]byte, n)
	return &b
}
