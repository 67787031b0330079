package s3cold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// fixture is a store in a stand-in.
type fixture struct {
	*testenv.AWS
	*s3cold.Store
	t *testing.T
}

func newFixture(t *testing.T) *fixture {
	a := testenv.NewAWS(t)
	return &fixture{a, s3cold.New(a.Config, testenv.ColdID, 2), t}
}

var body = []byte("##fileformat=VCFv4.3\n")

// job is a job with an archive of the class, and with an intent.
func (f *fixture) job(class archive.Class, id events.JobID) archive.Job {
	f.t.Helper()
	job := f.ArchiveIn(class, "u", id, body)
	job.Intent = &archive.Intent{Token: "token-" + string(id), At: time.Now()}
	return job
}

// byHand requests a copy as an operator does.
func (f *fixture) byHand(job archive.Job, tier types.Tier) error {
	_, err := f.Objects.RestoreObject(f.t.Context(), &s3.RestoreObjectInput{
		Bucket: &job.Copy.Bucket, Key: &job.Copy.Key,
		RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1), GlacierJobParameters: &types.GlacierJobParameters{Tier: tier}},
	})
	return err
}

func (f *fixture) retrievals() (n int) {
	for _, jobs := range f.S3.Restores() {
		n += jobs
	}
	return n
}

func TestARequestLooksFirstAndPaysOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		class  archive.Class
		before func(*fixture, archive.Job)
		tier   archive.Tier
		want   archive.Retrieval // Found, Status and Tier
		paid   int               // retrievals in the end
		kind   fault.Kind
	}{
		{name: "GLACIER", class: archive.Glacier, tier: archive.Expedited, want: archive.Retrieval{Status: archive.InProgress, Tier: archive.Expedited}, paid: 1},
		{name: "DEEP_ARCHIVE", class: archive.DeepArchive, tier: archive.Standard, want: archive.Retrieval{Status: archive.InProgress, Tier: archive.Standard}, paid: 1},
		{name: "GLACIER_IR needs no retrieval", class: archive.Instant, tier: archive.Standard, want: archive.Retrieval{Status: archive.Succeeded, Tier: archive.Standard}},
		{name: "a slower one is under way, by hand", class: archive.Glacier, tier: archive.Expedited, paid: 1, want: archive.Retrieval{Found: true, Status: archive.InProgress},
			before: func(f *fixture, job archive.Job) { must(f.t, f.byHand(job, types.TierStandard)) }},
		{name: "a copy is there, by hand", class: archive.Glacier, tier: archive.Expedited, paid: 1, want: archive.Retrieval{Found: true, Status: archive.Succeeded},
			before: func(f *fixture, job archive.Job) {
				must(f.t, f.byHand(job, types.TierStandard))
				f.World.Clock.Advance(6 * time.Hour)
			}},
		{name: "a copy expired", class: archive.Glacier, tier: archive.Expedited, paid: 2, want: archive.Retrieval{Status: archive.InProgress, Tier: archive.Expedited},
			before: func(f *fixture, job archive.Job) {
				must(f.t, f.byHand(job, types.TierStandard))
				f.World.Clock.Advance(72 * time.Hour)
			}},
		{name: "somebody moved it to STANDARD", class: archive.Glacier, tier: archive.Expedited, paid: 1, want: archive.Retrieval{Found: true, Status: archive.Succeeded},
			before: func(f *fixture, job archive.Job) {
				must(f.t, f.byHand(job, types.TierStandard))
				f.World.Clock.Advance(6 * time.Hour)
				_, err := f.Objects.CopyObject(f.t.Context(), &s3.CopyObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, CopySource: aws.String(job.Copy.Bucket + "/" + job.Copy.Key), StorageClass: types.StorageClassStandard})
				must(f.t, err)
			}},
		{name: "no Expedited capacity", class: archive.Glacier, tier: archive.Expedited, kind: fault.Capacity,
			before: func(f *fixture, _ archive.Job) { f.S3.SetExpeditedRefusal(1) }},
		{name: "no such object", class: archive.Glacier, tier: archive.Expedited, kind: fault.NotFound,
			before: func(f *fixture, job archive.Job) {
				_, err := f.Objects.DeleteObject(f.t.Context(), &s3.DeleteObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key})
				must(f.t, err)
			}},
		{name: "another object is at the key", class: archive.Glacier, tier: archive.Expedited, kind: fault.Invalid,
			before: func(f *fixture, job archive.Job) {
				_, err := f.Objects.PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, Body: strings.NewReader("other"), StorageClass: types.StorageClassGlacier})
				must(f.t, err)
			}},
		{name: "a tier that the class does not have", class: archive.DeepArchive, tier: archive.Expedited, kind: fault.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			job := f.job(c.class, "j1")
			if c.before != nil {
				c.before(f, job)
			}
			got, err := f.Retrieve(t.Context(), job, c.tier)
			if c.want.Status == "" {
				if err == nil || fault.KindOf(err) != c.kind {
					t.Errorf("got %v of kind %s, want %s", err, fault.KindOf(err), c.kind)
				}
				return
			}
			if err != nil || got.ID != "token-j1" || got.ArchiveID != job.ArchiveID || got.Found != c.want.Found || got.Status != c.want.Status || got.Tier != c.want.Tier {
				t.Errorf("got %+v, %v", got, err)
			}
			if n := f.retrievals(); n != c.paid {
				t.Errorf("%d retrievals are paid for, want %d", n, c.paid)
			}
			// A second request finds the first one.
			if c.class == archive.Instant {
				return
			}
			if again, err := f.Retrieve(t.Context(), job, c.tier); err != nil || !again.Found || f.retrievals() != c.paid {
				t.Errorf("a second request: %+v, %v, and %d retrievals are paid for", again, err, f.retrievals())
			}
		})
	}
}

func TestARequestThatAnotherOneOvertookFindsIt(t *testing.T) {
	for name, c := range map[string]struct {
		rule localaws.Fault
		want archive.RetrievalStatus
	}{
		"under way":         {localaws.Fault{Service: "s3", Operation: "RestoreObject", Status: 409, Code: "RestoreAlreadyInProgress"}, archive.InProgress},
		"moved to STANDARD": {localaws.Fault{Service: "s3", Operation: "RestoreObject", Status: 403, Code: "InvalidObjectState"}, archive.Succeeded},
		"in an active tier": {localaws.Fault{Service: "s3", Operation: "RestoreObject", Status: 403, Code: "ObjectAlreadyInActiveTierError"}, archive.Succeeded},
	} {
		f := newFixture(t)
		must(t, f.Faults.Add(c.rule))
		got, err := f.Retrieve(t.Context(), f.job(archive.Glacier, "j1"), archive.Expedited)
		if err != nil || !got.Found || got.Status != c.want || got.Tier != "" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestAnInstantArchiveOfUnknownSizeIsLookedAt(t *testing.T) {
	f := newFixture(t)
	for size, calls := range map[int64]int{-1: 1, int64(len(body)): 0} {
		job := f.job(archive.Instant, events.JobID(fmt.Sprint("j", size)))
		job.ArchiveSize = size
		before := f.Counts()["s3.HeadObject"]
		r, err := f.Retrieve(t.Context(), job, archive.Standard)
		if err != nil || r.Size != int64(len(body)) || r.Found || r.Status != archive.Succeeded || r.Tier != archive.Standard {
			t.Errorf("size %d: got %+v, %v", size, r, err)
		}
		if n := int(f.Counts()["s3.HeadObject"] - before); n != calls {
			t.Errorf("size %d: %d looks, want %d", size, n, calls)
		}
	}
}

func TestALookSaysHowFarTheCopyIs(t *testing.T) {
	f := newFixture(t)
	job := f.job(archive.Glacier, "j1")
	look := func() (archive.Retrieval, error) { return f.Describe(t.Context(), job) }
	if _, err := look(); !fault.Is(err, fault.NotFound) {
		t.Errorf("before: got %v, want NotFound", err)
	}
	if _, err := f.Output(t.Context(), job, 0, -1); !fault.Is(err, fault.NotFound) {
		t.Errorf("before, the output: got %v, want NotFound", err)
	}
	_, err := f.Retrieve(t.Context(), job, archive.Standard)
	must(t, err)
	if r, err := look(); err != nil || r.Status != archive.InProgress || r.Size != int64(len(body)) || r.CRC == "" || r.ID != "token-j1" {
		t.Errorf("under way: got %+v, %v", r, err)
	}
	if _, err := f.Output(t.Context(), job, 0, -1); !fault.Is(err, fault.Wait) {
		t.Errorf("under way, the output: got %v, want Wait", err)
	}
	f.World.Clock.Advance(6 * time.Hour)
	r, err := look()
	if err != nil || r.Status != archive.Succeeded {
		t.Fatalf("there: got %+v, %v", r, err)
	}
	// Two days, and then the next midnight of UTC.
	if left := r.ExpiresAt.Sub(f.World.Clock.Now()); left < 42*time.Hour || left > 72*time.Hour || r.ExpiresAt.UTC().Hour() != 0 {
		t.Errorf("it expires at %s, in %s", r.ExpiresAt, left)
	}
	whole, err := f.Output(t.Context(), job, 0, -1)
	must(t, err)
	got, err := io.ReadAll(whole.Body)
	whole.Body.Close()
	if err != nil || !bytes.Equal(got, body) || whole.Size != int64(len(body)) || whole.CRC != r.CRC {
		t.Errorf("the output: %q, %+v, %v", got, whole, err)
	}
	part, err := f.Output(t.Context(), job, 2, 4)
	must(t, err)
	got, err = io.ReadAll(part.Body)
	part.Body.Close()
	if err != nil || string(got) != string(body[2:6]) || part.Size != 4 || part.CRC != "" {
		t.Errorf("a part of the output: %q, %+v, %v", got, part, err)
	}
	f.World.Clock.Advance(96 * time.Hour)
	if _, err := look(); !fault.Is(err, fault.NotFound) {
		t.Errorf("expired: got %v, want NotFound", err)
	}
}

func TestAWrongBucketIsAMistakeOfSetUpAndNoExpiredCopy(t *testing.T) {
	f := newFixture(t)
	job := f.job(archive.Glacier, "j1")
	elsewhere := s3cold.New(f.Config, "nowhere", 1)
	away := job
	away.Copy.Bucket = "nowhere"
	proof := proofOf(t, job)
	for name, call := range map[string]func() error{
		"look in a bucket that is not there":       func() error { _, err := elsewhere.Describe(t.Context(), away); return err },
		"request in a bucket that is not there":    func() error { _, err := elsewhere.Retrieve(t.Context(), away, archive.Standard); return err },
		"read from a bucket that is not there":     func() error { _, err := elsewhere.Output(t.Context(), away, 0, -1); return err },
		"list a bucket that is not there":          func() error { return last(elsewhere, t.Context(), away) },
		"delete in a bucket that is not there":     func() error { return elsewhere.Delete(t.Context(), proofOf(t, away)) },
		"look in another bucket than the job's":    func() error { _, err := elsewhere.Describe(t.Context(), job); return err },
		"request in another bucket than the job's": func() error { _, err := elsewhere.Retrieve(t.Context(), job, archive.Standard); return err },
		"read from another bucket than the job's":  func() error { _, err := elsewhere.Output(t.Context(), job, 0, -1); return err },
		"delete in another bucket than the job's":  func() error { return elsewhere.Delete(t.Context(), proof) },
	} {
		if err := call(); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: got %v of kind %s, want Denied", name, err, fault.KindOf(err))
		}
	}
}

func last(s *s3cold.Store, ctx context.Context, jobs ...archive.Job) (err error) {
	for _, err = range s.Retrievals(ctx, jobs, nil) {
	}
	return err
}

func proofOf(t *testing.T, job archive.Job) archive.Verified {
	t.Helper()
	content := archive.Content{Size: int64(len(body)), TreeHash: treehash.Of(body)}
	proof, err := archive.Verify(job.Source(), content, content, archive.Stored{Object: job.Result, Size: content.Size, Checksum: "c", Sent: "c"})
	must(t, err)
	return proof
}

func TestOnlyTheProvenArchiveIsDeleted(t *testing.T) {
	f := newFixture(t)
	job := f.job(archive.Glacier, "j1")
	there := func() bool {
		_, err := f.Objects.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key})
		return err == nil
	}
	if err := f.Delete(t.Context(), archive.Verified{}); !fault.Is(err, fault.Invalid) || !there() {
		t.Errorf("without a proof: %v", err)
	}
	blind := job
	blind.Copy.ETag, blind.Copy.Version = "", ""
	if err := f.Delete(t.Context(), proofOf(t, blind)); !fault.Is(err, fault.Invalid) || !there() {
		t.Errorf("without a version and an ETag: %v", err)
	}
	other := job
	other.Copy.ETag = "0123456789abcdef0123456789abcdef"
	if err := f.Delete(t.Context(), proofOf(t, other)); err != nil || !there() {
		t.Errorf("another object is at the key: %v, and it is deleted: %t", err, !there())
	}
	for range 2 {
		if err := f.Delete(t.Context(), proofOf(t, job)); err != nil || there() {
			t.Errorf("%v, still there: %t", err, there())
		}
	}
}

func TestAListShowsTheCopiesOfManyJobsInFewCalls(t *testing.T) {
	f := newFixture(t)
	var jobs []archive.Job
	for i := range 2500 {
		job := archive.Job{ID: events.JobID(fmt.Sprintf("job-%04d", i)), RetrievalID: events.RetrievalID(fmt.Sprint("r", i)), RetrievalRequestedAt: time.Now(), Tier: archive.Standard}
		job.Copy = archive.Copy{Class: archive.Glacier, Bucket: testenv.ColdID, Key: archive.KeyOf("cold/", job.ID, "a"), Version: "v"}
		if _, err := f.Objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, Body: bytes.NewReader(body), StorageClass: types.StorageClassGlacier}); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			must(t, f.byHand(job, types.TierStandard))
		}
		jobs = append(jobs, job)
	}
	f.World.Clock.Advance(6 * time.Hour)
	for _, c := range []struct {
		name        string
		jobs        []archive.Job
		found, most int // retrievals and calls
	}{
		{"all", jobs, 1250, 3},
		{"one", jobs[1000:1001], 1, 1},
		{"one without a copy", jobs[1001:1002], 0, 1},
		{"three that are far apart", []archive.Job{jobs[2400], jobs[0], jobs[1200]}, 3, 3},
		{"ten together", jobs[500:510], 5, 1},
		{"none", nil, 0, 0},
	} {
		calls, found := 0, map[events.RetrievalID]bool{}
		for r, err := range f.Retrievals(t.Context(), c.jobs, func(context.Context) error { calls++; return nil }) {
			if err != nil || r.Status != archive.Succeeded || r.ExpiresAt.IsZero() || r.Size != int64(len(body)) {
				t.Errorf("%s: got %+v, %v", c.name, r, err)
			}
			found[r.ID] = true
		}
		if len(found) != c.found || calls > c.most {
			t.Errorf("%s: %d found in %d calls, want %d in %d", c.name, len(found), calls, c.found, c.most)
		}
	}
	stop := errors.New("enough")
	for _, err := range f.Retrievals(t.Context(), jobs, func(context.Context) error { return stop }) {
		if !errors.Is(err, stop) {
			t.Errorf("got %v, want the error of the turn", err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
