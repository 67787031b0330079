package restore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/trace"
)

// look reads what the catalog, the notification and Glacier say about the file.
func (r *Restorer) look(ctx context.Context, f *file) error {
	if err := r.expiring.yield(f.notification, r.Now()); err != nil {
		return err
	}
	if err := r.lookAtCatalog(ctx, f); err != nil {
		return err
	}
	if f.nothing == nil && f.notification.First {
		if err := r.lookAhead(ctx, f); err != nil {
			return err
		}
	}
	if f.nothing == nil && f.notification.Status == archive.Succeeded {
		f.large = f.notification.Size > r.PartSize
		if err := r.ready(ctx, f); err != nil || !f.large {
			return err // for a small file, fetch sets what the bytes must be
		}
	}
	if f.nothing == nil {
		if err := r.lookAtGlacier(ctx, f); err != nil {
			return err
		}
	}
	return f.expect()
}

// ready reports that Glacier has the output.
func (r *Restorer) ready(ctx context.Context, f *file) error {
	if err := f.emit(ctx, r.status(f, archive.Ready, string(f.notification.RetrievalID), 0)); err != nil {
		return err
	}
	if until := outputUntil(f.notification); r.OnOutput != nil && !until.IsZero() {
		r.OnOutput(until.Sub(r.Now()))
	}
	return nil
}

// lookAtCatalog reads the job, and compares it with the notification.
func (r *Restorer) lookAtCatalog(ctx context.Context, f *file) error {
	notification := f.notification
	job, err := r.Catalog.Job(ctx, f.notification.JobID)
	if fault.Is(err, fault.NotFound) && notification.Foreign {
		if r.OnForeign != nil {
			r.OnForeign()
		}
		return stopf(Foreign, "the retrieval is not ours")
	}
	if fault.Is(err, fault.NotFound) {
		return stopf(UnknownJob, "unknown job %q: not in the catalog", notification.JobID)
	}
	if err != nil {
		return err
	}
	trace.Link(ctx, job.Trace)
	if doubt := job.Doubt(); doubt != "" {
		return stopf(UnreadableJob, "the catalog's job %q of user %s cannot be worked with: %s", job.ID, job.UserID, doubt)
	}
	f.job, f.known, f.log = job, true, f.log.With("user", job.UserID)
	if notification.Object != nil {
		if err := f.identify(); err != nil {
			return err
		}
		notification = f.notification
	}
	// A notification without a retrieval's id is about a job that nobody restored.
	switch restored := notification.RetrievalID != "" && job.RestoredBy == notification.RetrievalID; {
	case job.ArchiveID == "" && restored:
		return stopf(RestoredAlready, "the file is not archived any more")
	case job.ArchiveID == "" && job.RetrievalID != "" && job.RetrievalID == notification.RetrievalID:
		return r.lookAtKey(ctx, f)
	case job.ArchiveID == "":
		return stopf(NotArchived, "the file is not archived any more")
	case job.ArchiveID != notification.ArchiveID && restored:
		return stopf(ArchivedAgain, "the file was back, and is archived again since")
	case job.ArchiveID != notification.ArchiveID && job.RetrievalID != "" && job.RetrievalID == notification.RetrievalID:
		return r.lookAtLeftover(ctx, f)
	case job.ArchiveID != notification.ArchiveID:
		return stopf(WrongArchive, "wrong archive id: the notification names %q, the catalog %q", notification.ArchiveID, job.ArchiveID)
	case job.RetrievalID == "" && job.Intent != nil:
		return stopf(NotSaved, "the retrieval is not in the catalog yet")
	case job.RetrievalID == "":
		// While one worker took this retrieval back, another worker may have put the file and
		// deleted the archive. Then no retrieval can bring the file any more. So prove looks
		// for the file in S3 first.
		f.nothing = stopf(TakenBack, "the catalog waits for no retrieval")
	case job.RetrievalID != notification.RetrievalID:
		return stopf(OtherRetrieval, "the catalog waits for retrieval %q", job.RetrievalID)
	case job.Result.Bucket == "" || job.Result.Key == "":
		return noKey(f)
	}
	return nil
}

// identify completes a notification that names an object and no retrieval, as S3's events do.
// The catalog says which archive and which retrieval the object has.
func (f *file) identify() error {
	at, job := f.notification.Object, f.job
	switch {
	case job.ArchiveID == "":
		// The next check says what that means.
		f.notification.RetrievalID = cmp.Or(job.RetrievalID, job.RestoredBy)
		return nil
	case at.Bucket != job.Copy.Bucket || at.Key != job.Copy.Key, at.Version != "" && job.Copy.Version != "" && at.Version != job.Copy.Version:
		return stopf(OtherObject, "the event is about s3://%s/%s, and the archive is %s", at.Bucket, at.Key, job.Copy)
	}
	f.notification.ArchiveID, f.notification.RetrievalID = job.ArchiveID, job.RetrievalID
	return nil
}

// firstEvery is how often the restorer asks for the output of a file that the user wants first. A
// call costs nothing, or a millionth of a dollar at S3.
const firstEvery = time.Minute

// lookAhead completes a notification about a file that the user wants first. Thaw published it when
// the retrieval was requested. So only Glacier knows whether the output is there.
func (r *Restorer) lookAhead(ctx context.Context, f *file) error {
	got, err := r.Vault.Describe(ctx, f.job)
	switch n := &f.notification; {
	case fault.Is(err, fault.NotFound):
		f.nothing = stop(Expired, err)
	case err != nil:
		return err
	case got.Status == archive.RetrievalFailed:
		n.Status, n.Reason = got.Status, got.Reason
	case got.Status != archive.Succeeded:
		return stop(NotYet, fault.After(fault.Wait, firstEvery, errors.New("the user wants this file first, and Glacier is still working on it")))
	case got.ArchiveID != f.job.ArchiveID:
		return wrongRetrieval(got)
	default:
		n.Status, n.Tier, n.Size, n.TreeHash, n.CompletedAt, n.ExpiresAt = got.Status, got.Tier.Told(), got.Size, got.TreeHash, got.CompletedAt, got.ExpiresAt
	}
	return nil
}

// lookAtKey looks for the file of a job without an archive and with this retrieval. The pipeline
// removes both in one write, so another program or a person removed archive_id. Usually that
// program brought the file back. The error always says why to leave.
func (r *Restorer) lookAtKey(ctx context.Context, f *file) error {
	if f.job.Result.Bucket == "" || f.job.Result.Key == "" {
		return noKey(f)
	}
	switch found, err := r.Bucket.Stat(ctx, f.job.Result); {
	case fault.Is(err, fault.NotFound):
		return stopf(Astray, "the catalog waits for this retrieval and has no archive_id, and nothing is at %s. If the file is still wanted, write archive_id %q into the catalog and replay this; if not, remove retrieval_request_id",
			f.job.Result, f.notification.ArchiveID)
	case err != nil:
		return err
	default:
		return stopf(BroughtBack, "the file is not archived any more, and %s has %d bytes", found.Object, found.Size)
	}
}

func noKey(f *file) error {
	return stopf(NoKey, "the catalog does not say where the result of job %q belongs: s3_results_bucket or s3_key_result_file is missing", f.job.ID)
}

// lookAtLeftover asks Glacier about the job's retrieval. If another program archived the file
// again and left the retrieval's id, the retrieval belongs to the earlier archive, and the job
// waits for an output that never comes. The error always says why to leave: an object at the key
// may be the file of the earlier archive, so it proves nothing here.
func (r *Restorer) lookAtLeftover(ctx context.Context, f *file) error {
	got, err := r.Vault.Describe(ctx, f.job)
	switch {
	case fault.Is(err, fault.NotFound):
		return stop(Expired, err)
	case err != nil:
		return err
	case got.ArchiveID != f.job.ArchiveID:
		return wrongRetrieval(got)
	}
	return stopf(WrongArchive, "wrong archive id: the notification names %q, the catalog and Glacier %q", f.notification.ArchiveID, got.ArchiveID)
}

func wrongRetrieval(r archive.Retrieval) error {
	return stopf(WrongRetrieval, "wrong retrieval: Glacier says that it belongs to archive %q", r.ArchiveID)
}

// lookAtGlacier asks Glacier about the retrieval of a large file, or about a retrieval that
// the notification calls failed. If Glacier says so too, the file may still be in S3: a
// retrieval also fails when its archive is deleted, and the restorer deletes an archive after
// it has put the file.
func (r *Restorer) lookAtGlacier(ctx context.Context, f *file) (err error) {
	f.retrieval, err = r.Vault.Describe(ctx, f.job)
	switch got := f.retrieval; {
	case fault.Is(err, fault.NotFound):
		f.nothing = stop(Expired, err)
	case err != nil:
		return err
	case !f.large && got.Status == archive.RetrievalFailed:
		f.nothing = stop(Failed, errors.New(got.Reason))
	case !f.large && f.notification.Object != nil:
		// S3's event has no retrieval's id, so it may be about an earlier temporary copy.
		return stopf(Outdated, "the event says that the temporary copy is gone, S3 says %s", got.Status)
	case !f.large:
		return stopf(Disagree, "the notification says that the retrieval failed, Glacier says %s", got.Status)
	case got.ArchiveID != f.job.ArchiveID:
		return wrongRetrieval(got)
	case got.Status != archive.Succeeded:
		return stopf(Disagree, "the notification says that the retrieval succeeded, Glacier says %s", got.Status)
	default:
		if f.job.Copy.InVault() {
			_, err = hashOf(got)
		} else if got.CRC == "" && f.job.TreeHash == "" {
			err = stopf(NoTreeHash, "%s has no whole CRC-64/NVME, and the catalog has no tree hash of the archive. No copy can be proven without one: nothing is copied, and the archive stays", f.job.Copy)
		}
		return err
	}
	return nil
}

// hashOf returns the tree hash that Glacier gives for the archive.
func hashOf(r archive.Retrieval) (treehash.Sum, error) {
	if r.TreeHash == "" {
		return treehash.Sum{}, stopf(NoTreeHash, "Glacier describes retrieval %s without the archive's tree hash. No copy can be proven without it: nothing is copied, and the archive stays", r.ID)
	}
	sum, ok := treehash.Parse(r.TreeHash)
	if !ok {
		return treehash.Sum{}, stopf(NoTreeHash, "Glacier gives %q as the tree hash of the archive of retrieval %s: want 64 hex digits", r.TreeHash, r.ID)
	}
	return sum, nil
}
