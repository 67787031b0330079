package sim

import (
	"bytes"
	"io"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// outputLife is how long Glacier keeps an output.
const outputLife = 24 * time.Hour

// check reads the end state. It knows the archived files with their users, and Glacier's
// actions; it knows nothing about the services. It expects: every file is whole at its
// key; no archive is left, or all archives of a user who is not Premium; each archive was
// retrieved once, or again after a retrieval that failed or expired; a cheaper tier was
// used only where the faster one had no capacity; no message or announcement waits, no
// upload is open, and there are no unexpected dead letters. [world.checkPromises] checks
// the rest.
func (w *world) check() {
	w.t.Helper()
	w.Faults.Clear() // this reads objects too
	w.checkFiles()
	w.checkRetrievals()
	w.checkPromises()
	if left := w.left(); left != "" {
		w.t.Errorf("in the end: %s", left)
	}
	ctx := w.t.Context()
	st, err := w.operator.JS.Stream(ctx, events.StreamDead)
	if err != nil {
		w.t.Error(err)
	} else if state := st.CachedInfo().State; state.LastSeq > w.letters {
		if m, err := st.GetMsg(ctx, state.FirstSeq); err != nil {
			w.t.Errorf("%d dead letters, may be %d; %v", state.LastSeq, w.letters, err)
		} else {
			w.t.Errorf("%d dead letters, may be %d; the first: %s", state.LastSeq, w.letters, m.Data)
		}
	}
	ups, err := w.Objects.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: aws.String(testenv.BucketID)})
	if err != nil || len(ups.Uploads) > 0 {
		w.t.Errorf("%d uploads are left open; %v", len(ups.Uploads), err)
	}
}

func (w *world) checkFiles() {
	w.t.Helper()
	ctx := w.t.Context()
	var stay int
	for id, want := range w.bodies {
		job := w.job(id)
		out, err := w.Objects.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(job.Result.Bucket), Key: aws.String(job.Result.Key)})
		if w.stays[job.UserID] {
			stay++
			if err == nil {
				out.Body.Close()
				w.t.Errorf("%s came back, and its user is not Premium", id)
			}
			continue
		}
		if w.fickle[job.UserID] && job.ArchiveID != "" {
			// It was not requested before its user left, or the request failed.
			if stay++; err == nil {
				out.Body.Close()
			}
			if w.paid(id, job) && w.troubles[outputExpired] == 0 {
				w.t.Errorf("%s is paid for and was not brought back", id)
			}
			continue
		}
		if err != nil {
			w.lost++
			w.t.Errorf("%s is not in S3: %v", id, err)
			continue
		}
		got, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			w.lost++
			w.t.Errorf("%s has %d bytes in S3 that are not its %d; %v", id, len(got), len(want), err)
		}
	}
	if n := len(w.Glacier.Archives(testenv.VaultID)) + w.objectsLeft(); n != stay {
		w.t.Errorf("%d archives are in cold storage, want %d", n, stay)
	}
}

// objectsLeft is how many versions and delete markers the archive bucket has.
func (w *world) objectsLeft() (n int) {
	for pages := awss3.NewListObjectVersionsPaginator(w.Objects, &awss3.ListObjectVersionsInput{Bucket: aws.String(testenv.ColdID)}); pages.HasMorePages(); {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(page.Versions) + len(page.DeleteMarkers)
	}
	return n
}

// archiveOf is how the job's archive is called in w.ended.
func archiveOf(job archive.Job) string {
	if job.Copy.InVault() {
		return string(job.ArchiveID)
	}
	return job.Copy.String()
}

// paid is whether Glacier brought the archive that the job has.
func (w *world) paid(id events.JobID, job archive.Job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.ended, func(r retrieval) bool {
		return r.job == id && r.archive == archiveOf(job) && !r.failed
	})
}

// checkRetrievals compares what was asked of Glacier with what had to be.
func (w *world) checkRetrievals() {
	w.t.Helper()
	retrievals := w.Glacier.Retrievals()
	for at, n := range w.S3.Restores() {
		retrievals[archive.Copy{Class: archive.Glacier, Bucket: at.Bucket, Key: at.Key, Version: at.Version}.String()] = n
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	per := map[string][]retrieval{}
	for _, r := range w.ended {
		per[r.archive] = append(per[r.archive], r)
		if w.troubles[expeditedFull]+w.troubles[policies] == 0 && len(w.cfg.Tiers) > 1 && r.tier != string(glacier.Expedited) && r.class != archive.DeepArchive {
			w.t.Errorf("archive %.12s… was retrieved by %s, and Expedited had capacity", r.archive, r.tier)
		}
	}
	for name, n := range retrievals {
		all := per[name]
		if n != len(all) {
			w.t.Errorf("archive %.12s… was retrieved %d times, and %d of them ended", name, n, len(all))
		}
		slices.SortFunc(all, func(a, b retrieval) int { return a.asked.Compare(b.asked) })
		for i := 1; i < len(all); i++ {
			if before := all[i-1]; !before.failed && all[i].asked.Sub(before.ended) < outputLife {
				w.doubled++
				w.t.Errorf("archive %.12s… was retrieved twice: asked at %s and %s; the first ended at %s, well", name, before.asked, all[i].asked, before.ended)
			}
		}
	}
}
