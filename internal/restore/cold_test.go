package restore_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// coldFixture restores from a vault and from an archive bucket.
type coldFixture struct {
	*fixture
	store *s3cold.Store
}

func newColdFixture(t *testing.T) *coldFixture {
	b := newFixture(t)
	store := s3cold.New(b.Config, testenv.ColdID, 1)
	b.Restorer.Vault = cold.Store{Vault: b.vault, Objects: store}
	b.Restorer.Now = b.World.Clock.Now
	return &coldFixture{b, store}
}

// requested requests a copy of the job's archive, as thaw does.
func (b *coldFixture) requested(job archive.Job) archive.Job {
	b.t.Helper()
	intent := archive.Intent{Token: "t-" + string(job.ID), At: b.World.Clock.Now()}
	if err := b.AWS.Catalog.SaveIntent(b.t.Context(), job, intent); err != nil {
		b.t.Fatal(err)
	}
	job.Intent = &intent
	r, err := b.store.Retrieve(b.t.Context(), job, archive.Standard)
	if err != nil {
		b.t.Fatal(err)
	}
	r.RequestedAt = b.World.Clock.Now()
	if err := b.AWS.Catalog.SaveRetrieval(b.t.Context(), job, intent, r); err != nil {
		b.t.Fatal(err)
	}
	return b.Job(job.ID)
}

// event is S3's event about the job's object.
func (b *coldFixture) event(job archive.Job, status events.RetrievalStatus) events.RetrievalCompleted {
	return events.RetrievalCompleted{
		ID: "s3-" + string(job.ID) + string(status), Notification: "n", Foreign: true, JobID: job.ID, Status: status, Size: job.ArchiveSize,
		Object:      &events.ObjectRef{Bucket: job.Copy.Bucket, Key: job.Copy.Key, Version: job.Copy.Version},
		CompletedAt: b.World.Clock.Now(), ExpiresAt: b.World.Clock.Now().Add(24 * time.Hour),
	}
}

// completed archives body in the class as the result of job id, retrieves the archive, and
// returns what the bridge makes of the news.
func (b *coldFixture) completed(class archive.Class, id events.JobID, body []byte) events.RetrievalCompleted {
	b.t.Helper()
	if class == archive.Vault {
		return b.retrieved(id, body)
	}
	b.Account("u", archive.Premium)
	job := b.requested(b.ArchiveIn(class, "u", id, body))
	b.World.Clock.Advance(13 * time.Hour)
	return b.event(job, archive.Succeeded)
}

func (b *coldFixture) objectsLeft() int {
	b.t.Helper()
	bucket := testenv.ColdID
	out, err := b.Objects.ListObjectsV2(b.t.Context(), &awss3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(out.Contents)
}

func TestAnArchiveInAnS3ClassComesBackEqualAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, class := range []archive.Class{archive.Glacier, archive.DeepArchive, archive.Instant} {
		for _, size := range []int{1, 1<<20 + 1, part, part + 1, 2*part + 3<<20 + 1} {
			for _, hash := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s %d bytes, tree hash %t", class, size, hash), func(t *testing.T) {
					b, body := newColdFixture(t), random(size)
					b.Account("u", archive.Premium)
					job := b.ArchiveIn(class, "u", "j1", body)
					if !hash {
						b.SetAttribute("j1", "tree_hash", &ddbtypes.AttributeValueMemberNULL{Value: true})
						job = b.Job("j1")
					}
					job = b.requested(job)
					b.World.Clock.Advance(13 * time.Hour)
					var out testenv.Emitted
					b.deliver(b.event(job, archive.Succeeded), &out)
					b.restored("j1", body)
					if n := b.objectsLeft(); n != 0 {
						t.Errorf("%d objects are left in the archive bucket", n)
					}
					// The event comes again: it says that the file is back, and nothing else.
					var again testenv.Emitted
					b.deliver(b.event(job, archive.Succeeded), &again)
					if all := again.All(); len(all) != 1 || all[0].(events.StatusChanged).State != archive.Restored {
						t.Errorf("the event again: %+v", all)
					}
				})
			}
		}
	}
}

func TestAnEventOfS3IsAHint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// event prepares the job and returns the event that comes.
		event func(*coldFixture, archive.Job) events.RetrievalCompleted
		// kind is the error's kind, if there is one; then the rest is as it was.
		kind  fault.Kind
		fails bool
		asked bool // thaw must request another retrieval
		clear bool // the catalog has no retrieval any more
		none  bool // the job has no archive, and nothing is reported
	}{
		{name: "a copy that nobody of us requested", asked: true, clear: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				return b.event(job, archive.Succeeded)
			}},
		{name: "a copy of an object of a job that has no archive, and never had one", clear: true, none: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				b.RemoveAttribute(job.ID, "archive_id")
				return b.event(job, archive.Succeeded)
			}},
		{name: "a copy of another object", clear: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				e := b.event(job, archive.Succeeded)
				e.Object.Key = archive.KeyOf("other/", job.ID, "x")
				return e
			}},
		{name: "a copy that is not there yet, of a small file", kind: fault.Wait, fails: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				return b.event(b.requested(job), archive.Succeeded)
			}},
		{name: "a copy that has expired", asked: true, clear: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				e := b.event(b.requested(job), archive.Succeeded)
				b.World.Clock.Advance(96 * time.Hour)
				return e
			}},
		{name: "the expiry of a copy", asked: true, clear: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				job = b.requested(job)
				b.World.Clock.Advance(96 * time.Hour)
				return b.event(job, archive.RetrievalFailed)
			}},
		{name: "the expiry of an earlier copy, while a new one is there",
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				job = b.requested(job)
				b.World.Clock.Advance(13 * time.Hour)
				return b.event(job, archive.RetrievalFailed)
			}},
		{name: "the expiry of an earlier copy, while a new one is on its way",
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				return b.event(b.requested(job), archive.RetrievalFailed)
			}},
		{name: "a copy that vanished without an event: the sweep's notification", asked: true, clear: true,
			event: func(b *coldFixture, job archive.Job) events.RetrievalCompleted {
				b.S3.FailNextRestores(1)
				job = b.requested(job)
				b.World.Clock.Advance(13 * time.Hour)
				return events.RetrievalCompleted{ID: "sweep", JobID: job.ID, ArchiveID: job.ArchiveID, RetrievalID: job.RetrievalID, Status: archive.RetrievalFailed}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, body := newColdFixture(t), random(100)
			b.Account("u", archive.Premium)
			e := c.event(b, b.ArchiveIn(archive.Glacier, "u", "j1", body))
			before := b.Job("j1")
			var out testenv.Emitted
			err := b.Restore(t.Context(), e, out.Emit)
			if c.fails != (err != nil) || c.fails && !fault.Is(err, c.kind) {
				t.Fatalf("got %v of kind %s", err, fault.KindOf(err))
			}
			asked := false
			for _, e := range out.All() {
				_, is := e.(events.ThawRequested)
				asked = asked || is
			}
			job := b.Job("j1")
			if asked != c.asked || (job.RetrievalID == "") != (c.clear || before.RetrievalID == "") || (job.ArchiveID == "") != c.none || c.none && len(out.All()) > 0 || b.objectsLeft() != 1 {
				t.Errorf("thaw is asked: %t, retrieval %q, archive %q, %d objects in the archive bucket", asked, job.RetrievalID, job.ArchiveID, b.objectsLeft())
			}
			if _, there := b.object(job.Result); there {
				t.Error("the file is in S3")
			}
		})
	}
}

func TestWrongBytesOfACopyAreNotPutAndTheArchiveStays(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 2*part + 1} {
		for name, wrong := range map[string]map[string]ddbtypes.AttributeValue{
			"another tree hash in the catalog": {"tree_hash": &ddbtypes.AttributeValueMemberS{Value: fmt.Sprintf("%064x", 7)}},
			"another size in the catalog":      {"archive_size": &ddbtypes.AttributeValueMemberN{Value: "7"}},
		} {
			b, body := newColdFixture(t), random(size)
			b.Account("u", archive.Premium)
			job := b.ArchiveIn(archive.Glacier, "u", "j1", body)
			for attribute, v := range wrong {
				b.SetAttribute("j1", attribute, v)
			}
			e := b.event(b.requested(b.Job("j1")), archive.Succeeded)
			e.Size = int64(size)
			b.World.Clock.Advance(13 * time.Hour)
			var out testenv.Emitted
			if err := b.Restore(t.Context(), e, out.Emit); err == nil {
				t.Errorf("%d bytes, %s: it was restored", size, name)
			}
			if _, there := b.object(job.Result); there || b.objectsLeft() != 1 || b.uploads() != 0 && size == 100 {
				t.Errorf("%d bytes, %s: in S3 %t, %d archives left", size, name, there, b.objectsLeft())
			}
		}
	}
}

func TestWithoutAnyHashNothingIsCopied(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 2*part + 1} {
		b, body := newColdFixture(t), random(size)
		b.Account("u", archive.Premium)
		at := archive.Copy{Class: archive.Glacier, Bucket: testenv.ColdID, Key: archive.KeyOf("", "j1", "a")}
		// A checksum of parts is no checksum of the whole.
		up, err := b.Objects.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{
			Bucket: &at.Bucket, Key: &at.Key, StorageClass: types.StorageClassGlacier, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		})
		if err != nil {
			t.Fatal(err)
		}
		n := int32(1)
		p, err := b.Objects.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: &at.Bucket, Key: &at.Key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
		if err != nil {
			t.Fatal(err)
		}
		done, err := b.Objects.CompleteMultipartUpload(t.Context(), &awss3.CompleteMultipartUploadInput{
			Bucket: &at.Bucket, Key: &at.Key, UploadId: up.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: &n, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		at.ETag = (*done.ETag)[1 : len(*done.ETag)-1]
		job := archive.Job{
			ID: "j1", UserID: "u", SubmittedAt: time.Now(), Status: "COMPLETED", ArchiveID: "s3-x", ArchiveSize: int64(size), Copy: at,
			Result: archive.Object{Bucket: testenv.BucketID, Key: "r"},
		}
		if err := b.AWS.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		e := b.event(b.requested(b.Job("j1")), archive.Succeeded)
		b.World.Clock.Advance(13 * time.Hour)
		var out testenv.Emitted
		err = b.Restore(t.Context(), e, out.Emit)
		if _, there := b.object(job.Result); err == nil || there || b.objectsLeft() != 1 {
			t.Errorf("%d bytes: %v, in S3 %t, %d archives left", size, err, there, b.objectsLeft())
		}
	}
}
