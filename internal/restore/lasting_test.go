package restore_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// asked counts the tasks among what was emitted.
func asked(out *testenv.Emitted) (n int) {
	for _, e := range out.All() {
		if _, ok := e.(events.ThawRequested); ok {
			n++
		}
	}
	return n
}

func TestWhoFindsTheFileRestoredTellsIt(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	e := b.retrieved("j", []byte("result"))
	var out, late testenv.Emitted
	b.deliver(e, &out)
	// The worker died after it cleared the catalog and before it reported the restore.
	if err := b.Restore(t.Context(), e, late.Emit); err != nil {
		t.Fatal(err)
	}
	if got := late.States(); len(got) != 1 || got[0] != string(archive.Restored) {
		t.Errorf("told %v, want restored", got)
	}
	// For each notification, the report must have another id.
	if a, b := out.All()[len(out.All())-1], late.All()[0]; a.MessageID() == b.MessageID() {
		t.Errorf("both reports have the id %s: one would be dropped as a repetition", a.MessageID())
	}
	e.RetrievalID = "another"
	var other testenv.Emitted
	if err := b.Restore(t.Context(), e, other.Emit); err != nil || len(other.All()) != 0 {
		t.Errorf("%v, emitted %v", err, other.All())
	}
}

// TestAnUploadThatWasBegunAfterTheFileWasBackIsAborted has two deliveries of one notification. One
// loses its lease and begins another upload, when the other has brought the file back.
func TestAnUploadThatWasBegunAfterTheFileWasBackIsAborted(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, part + 1000} {
		b := newFixture(t)
		e := b.retrieved("j", bytes.Repeat([]byte("x"), size))
		var out testenv.Emitted
		b.deliver(e, &out)
		if _, err := b.Uploads.Begin(t.Context(), b.Job("j").Result, archive.Mark{Archive: e.ArchiveID}); err != nil {
			t.Fatal(err)
		}
		b.deliver(e, &out)
		if n := b.uploads(); n != 0 {
			t.Errorf("%d bytes: %d uploads are left open", size, n)
		}
	}
}

func TestAWrongVaultIsNotTakenForAnOutputThatExpired(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]func(*fixture) events.RetrievalCompleted{
		"a small file": func(b *fixture) events.RetrievalCompleted { return b.retrieved("j", []byte("result")) },
		"a large file": func(b *fixture) events.RetrievalCompleted { return b.retrieved("j", random(part+1)) },
		"a failure": func(b *fixture) events.RetrievalCompleted {
			e := b.retrieved("j", []byte("result"))
			e.Status = "Failed"
			return e
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			notification := e(b)
			b.Vault = glacier.New(b.Config, "misspelt", "arn:aws:sns:us-east-1:000000000000:none")
			var out testenv.Emitted
			err := b.Restore(t.Context(), notification, out.Emit)
			if !fault.Is(err, fault.Denied) || fault.CauseOf(err) != "no such vault" {
				t.Errorf("got %v of kind %s, want a mistake of set-up", err, fault.KindOf(err))
			}
			if asked(&out) != 0 || b.Job("j").RetrievalID == "" {
				t.Errorf("%d asked again, the catalog has retrieval %q", asked(&out), b.Job("j").RetrievalID)
			}
		})
	}
}

func TestWhatCannotBePutIsNotRetrievedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wrong func(*fixture, archive.Job)
		mend  func(*fixture, archive.Job)
		kind  fault.Kind
		cause string
	}{
		{"another object is at the key", func(b *fixture, job archive.Job) {
			if _, err := b.Objects.PutObject(b.t.Context(), &awss3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: strings.NewReader("somebody else's")}); err != nil {
				b.t.Fatal(err)
			}
		}, func(b *fixture, job archive.Job) {
			if _, err := b.Objects.DeleteObject(b.t.Context(), &awss3.DeleteObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key}); err != nil {
				b.t.Fatal(err)
			}
		}, fault.Invalid, "key occupied"},
		{"the bucket denies", func(b *fixture, _ archive.Job) {
			for _, operation := range []string{"PutObject", "CreateMultipartUpload"} {
				if err := b.Faults.Add(localaws.Fault{Service: "s3", Operation: operation, Code: "AccessDenied", Status: 403}); err != nil {
					b.t.Fatal(err)
				}
			}
		}, func(b *fixture, _ archive.Job) { b.Faults.Clear() }, fault.Denied, ""},
		{"the bucket is gone", func(b *fixture, _ archive.Job) {
			if _, err := b.Objects.DeleteBucket(b.t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String(testenv.BucketID)}); err != nil {
				b.t.Fatal(err)
			}
		}, func(b *fixture, _ archive.Job) {
			if _, err := b.Objects.CreateBucket(b.t.Context(), &awss3.CreateBucketInput{Bucket: aws.String(testenv.BucketID)}); err != nil {
				b.t.Fatal(err)
			}
		}, fault.Denied, ""},
	} {
		for size, body := range map[string][]byte{"small": []byte("result"), "large": random(part + 1)} {
			t.Run(c.name+", "+size, func(t *testing.T) {
				t.Parallel()
				b := newFixture(t)
				e := b.retrieved("j", body)
				c.wrong(b, b.Job("j"))
				b.World.Clock.Advance(49 * time.Hour) // and the output expires
				for range 3 {
					var out testenv.Emitted
					err := b.Restore(t.Context(), e, out.Emit)
					if !fault.Is(err, c.kind) || fault.CauseOf(err) != c.cause {
						t.Fatalf("got %v of kind %s and cause %q, want %s, %q", err, fault.KindOf(err), fault.CauseOf(err), c.kind, c.cause)
					}
					if job := b.Job("j"); asked(&out) != 0 || job.RetrievalID != e.RetrievalID || job.History.Failed[archive.OutputExpired] != 0 {
						t.Errorf("%d asked again; the catalog has %q, %+v", asked(&out), job.RetrievalID, job.History)
					}
				}
				c.mend(b, b.Job("j"))
				var out testenv.Emitted
				if err := b.Restore(t.Context(), e, out.Emit); err != nil {
					t.Fatal(err)
				}
				if job := b.Job("j"); asked(&out) != 1 || job.RetrievalID != "" || job.History.Failed[archive.OutputExpired] != 1 || job.History.NotBefore.IsZero() {
					t.Errorf("after the repair: %d asked again; the catalog has %q, %+v", asked(&out), job.RetrievalID, job.History)
				}
			})
		}
	}
}

// A worker that tries whether the key takes an object may die before it aborts its upload.
func TestALookAtTheKeyLeavesNoUploadBehind(t *testing.T) {
	t.Parallel()
	for size, body := range map[string][]byte{"small": []byte("result"), "large": random(part + 1)} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			e := b.retrieved("j", body)
			b.World.Clock.Advance(49 * time.Hour) // and the output expires
			b.fault(localaws.Fault{Service: "s3", Operation: "AbortMultipartUpload", Code: "AccessDenied", Status: 403, Times: 1})
			var out testenv.Emitted
			if err := b.Restore(t.Context(), e, out.Emit); err == nil {
				t.Fatal("the upload was given up in spite of the error")
			}
			if n := b.uploads(); n == 0 {
				t.Fatal("no upload is left, so this test has nothing to tidy up")
			}
			b.deliver(e, &out)
			if n := b.uploads(); n != 0 {
				t.Errorf("%d uploads are left, and the archive may never be retrieved again", n)
			}
			b.deliver(b.retrieve(b.Job("j")), &out)
			b.restored("j", body)
		})
	}
}

func TestALateNotificationOfAFileThatIsArchivedAgainIsNothing(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	e := b.retrieved("j", []byte("result"))
	var out, late testenv.Emitted
	b.deliver(e, &out)
	b.archiveAgain("j", []byte("another result"))
	if err := b.Restore(t.Context(), e, late.Emit); err != nil || len(late.All()) > 0 {
		t.Errorf("got %v, and %v emitted", err, late.All())
	}
}

// The archive is deleted, the catalog was not cleared, and Glacier forgot the retrieval.
// Only the file in S3 is left.
func TestAFileThatIsBackIsFoundThoughItsRetrievalCameToNothing(t *testing.T) {
	t.Parallel()
	b, body := newFixture(t), []byte("result")
	e := b.retrieved("j", body)
	job := b.Job("j")
	if _, err := b.Objects.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: strings.NewReader(string(body))}); err != nil {
		t.Fatal(err)
	}
	b.World.Clock.Advance(49 * time.Hour)
	e.Status, e.Size, e.TreeHash = "Failed", 0, "" // the sweep makes such an event for a retrieval that Glacier forgot
	var out testenv.Emitted
	if err := b.Restore(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	if asked(&out) != 0 || b.archives() != 0 {
		t.Errorf("%d asked again, %d archives", asked(&out), b.archives())
	}
	b.restored("j", body)
}

// Two workers handle one notification. The output expires between their fetches. The first puts the
// file and deletes the archive. The second finds nothing and takes the retrieval back. So
// the first cannot clear the catalog.
func TestAFileThatWasPutWhileItsRetrievalWasTakenBackIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	b, body := newFixture(t), []byte("result")
	e := b.retrieved("j", body)
	b.Restorer.Catalog = takenBack{b.AWS.Catalog, func(job archive.Job) {
		if err := b.AWS.Catalog.ClearRetrieval(t.Context(), job, archive.OutputExpired, time.Now()); err != nil {
			t.Error(err)
		}
	}}
	var out testenv.Emitted
	if err := b.Restore(t.Context(), e, out.Emit); !fault.Is(err, fault.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if job := b.Job("j"); b.archives() != 0 || job.ArchiveID == "" || job.RetrievalID != "" {
		t.Fatalf("%d archives, the catalog has %+v", b.archives(), job)
	}
	b.Restorer.Catalog = b.AWS.Catalog
	if err := b.Restore(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	b.restored("j", body)
	if states := out.States(); asked(&out) != 0 || states[len(states)-1] != string(archive.Restored) {
		t.Errorf("%d asked again, told %v", asked(&out), states)
	}
}

// takenBack lets another worker take the retrieval back before the catalog is cleared.
type takenBack struct {
	restore.Catalog
	before func(archive.Job)
}

func (c takenBack) ClearArchive(ctx context.Context, job archive.Job) error {
	c.before(job)
	return c.Catalog.ClearArchive(ctx, job)
}

// archiveAgain moves a file that is back into the vault once more.
func (b *fixture) archiveAgain(id events.JobID, body []byte) {
	b.t.Helper()
	b.put(b.Job(id).Result, "moved away")
	next := b.Archive("u", id+"-2", body)
	update := &dynamodb.UpdateItemInput{
		TableName: aws.String(testenv.Jobs), Key: map[string]types.AttributeValue{"job_id": &types.AttributeValueMemberS{Value: string(id)}},
		UpdateExpression:          aws.String("SET archive_id = :a"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":a": &types.AttributeValueMemberS{Value: string(next.ArchiveID)}},
	}
	if _, err := dynamodb.NewFromConfig(b.Config).UpdateItem(b.t.Context(), update); err != nil {
		b.t.Fatal(err)
	}
}

// TestARetrievalOfAnEarlierArchiveIsTakenBack has a job that another program archived again. The
// program left the id of the retrieval of the earlier archive.
func TestARetrievalOfAnEarlierArchiveIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, part + 1000} {
		for _, c := range []struct {
			name     string
			names    bool // the notification names the new archive
			occupied bool // the earlier file is at the key
		}{
			{"Glacier's notification", false, false},
			{"a notification that names the new archive", true, false},
			{"the earlier file is at the key", false, true},
		} {
			if c.names && size < part {
				continue // Glacier names the archive of its retrieval, and the sweep too
			}
			t.Run(fmt.Sprint(size, " bytes, ", c.name), func(t *testing.T) {
				t.Parallel()
				b, earlier, later := newFixture(t), random(size), random(size+1)
				e := b.retrieved("j", earlier)
				up, err := b.Vaults.UploadArchive(t.Context(), &awsglacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: aws.String(testenv.VaultID), Body: bytes.NewReader(later)})
				if err != nil {
					t.Fatal(err)
				}
				b.SetAttribute("j", "archive_id", &types.AttributeValueMemberS{Value: *up.ArchiveId})
				for _, left := range []string{"archive_size", "tree_hash"} {
					b.SetAttribute("j", left, &types.AttributeValueMemberNULL{Value: true})
				}
				if c.names {
					e.ArchiveID = events.ArchiveID(*up.ArchiveId)
				}
				if c.occupied {
					b.put(b.Job("j").Result, string(earlier))
				}
				var out testenv.Emitted
				err = b.Restore(t.Context(), e, out.Emit)
				if c.occupied {
					if !fault.Is(err, fault.Invalid) || b.archives() != 2 || asked(&out) != 0 || b.Job("j").ArchiveID == "" {
						t.Errorf("got %v, %d archives, %d tasks; want a dead letter, and nothing deleted", err, b.archives(), asked(&out))
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				job := b.Job("j")
				if _, there := b.object(job.Result); there || b.archives() != 2 || asked(&out) != 1 || job.RetrievalID != "" {
					t.Errorf("object there %v, %d archives, %d tasks, retrieval %q; want the archives alone, and one task", there, b.archives(), asked(&out), job.RetrievalID)
				}
				// Thaw requests the archive that the job has.
				b.deliver(b.retrieve(job), &out)
				if _, err := b.Vaults.DeleteArchive(t.Context(), &awsglacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: aws.String(testenv.VaultID), ArchiveId: aws.String(string(e.ArchiveID))}); err != nil && !c.names {
					t.Fatal(err)
				}
				if got, ok := b.object(job.Result); !ok || !bytes.Equal(got, later) {
					t.Errorf("at the key: %v, %d bytes, equal %v", ok, len(got), bytes.Equal(got, later))
				}
			})
		}
	}
}
