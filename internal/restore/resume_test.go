package restore_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// withKV gives the restorer a bucket of NATS for its proofs.
func (b *fixture) withKV() *fixture {
	b.t.Helper()
	b.KV = testenv.Bus(b.t, testenv.NATS(b.t), "restore").KV(bus.BucketCopies)
	return b
}

// interrupted delivers a notification about body to a worker that can upload n parts and
// then no more.
func (b *fixture) interrupted(body []byte, n int) (again func() error) {
	b.t.Helper()
	e := b.retrieved("j", body)
	var out testenv.Emitted
	if err := b.Faults.Add(localaws.Fault{Service: "s3", Operation: "UploadPart", Skip: n, Code: "InternalError", Status: 500}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Restore(b.t.Context(), e, out.Emit); !fault.Is(err, fault.Transient) {
		b.t.Fatalf("got %v of kind %s, want a transient error", err, fault.KindOf(err))
	}
	b.Faults.Clear()
	b.ResetCounts()
	return func() error { return b.Restore(b.t.Context(), e, out.Emit) }
}

func TestACopyThatWasInterruptedGoesOnWithThePartsThatAreUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		span     int64
		maxParts int
	}{{"a part is a span", part, 0}, {"a part is many spans", 1 << 20, 5}} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t).withKV()
			b.PartSize, b.MaxParts, b.Parallel = c.span, c.maxParts, 1
			body := random(4*part + 5)
			again := b.interrupted(body, 3)
			if n := b.uploads(); n != 1 {
				t.Fatalf("%d uploads after the interruption, want 1", n)
			}
			if err := again(); err != nil {
				t.Fatal(err)
			}
			counts := b.Counts()
			spans := int64(part/c.span + 1) // of the fourth part and the last
			if counts["s3.CreateMultipartUpload"] != 0 || counts["s3.UploadPart"] != 2 || counts["glacier.GetJobOutput"] != spans {
				t.Errorf("the second delivery called %v; want no new upload, 2 parts and %d spans", counts, spans)
			}
			b.restored("j", body)
		})
	}
}

func TestACopyGoesOnAfterItsOutputExpired(t *testing.T) {
	t.Parallel()
	b := newFixture(t).withKV()
	b.Parallel = 1
	body := random(3 * part)
	b.interrupted(body, 2)
	job := b.Job("j")
	if err := b.AWS.Catalog.ClearRetrieval(t.Context(), job, archive.OutputExpired, time.Now()); err != nil {
		t.Fatal(err)
	}
	e := b.retrieve(b.Job("j"))
	b.ResetCounts()
	var out testenv.Emitted
	b.deliver(e, &out)
	if c := b.Counts(); c["glacier.GetJobOutput"] != 1 {
		t.Errorf("the second retrieval's output was opened %d times, want once: two of three parts were up", c["glacier.GetJobOutput"])
	}
	b.restored("j", body)
}

func TestOnlyPartsThatAreProvenAreKept(t *testing.T) {
	t.Parallel()
	body := random(2*part + 1)
	for name, spoil := range map[string]func(*fixture){
		"another part is in a part's place": func(b *fixture) { b.overwritePart(1, random(part)) },
		"a part is gone":                    func(b *fixture) { b.overwritePart(1, []byte("short")) },
		"there are no proofs":               func(b *fixture) { b.KV = nil },
		"proofs cannot be read":             func(b *fixture) { b.KV = noKV{} },
		"parts are of another size now":     func(b *fixture) { b.PartSize = 2 * part },
		"the upload was aborted":            func(b *fixture) { b.abortAll() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t).withKV()
			b.Parallel = 1
			again := b.interrupted(body, 1)
			spoil(b)
			if err := again(); err != nil {
				t.Fatal(err)
			}
			b.restored("j", body)
		})
	}
}

// noKV is a store that cannot be reached.
type noKV struct{}

var errNoKV = fault.New(fault.Transient, errors.New("no server"))

func (noKV) Get(context.Context, string) ([]byte, uint64, error) { return nil, 0, errNoKV }
func (noKV) Put(context.Context, string, []byte) error           { return errNoKV }
func (noKV) Swap(context.Context, string, []byte, uint64) error  { return errNoKV }

// TestAnUploadOfSomebodyElseIsNotTakenForOurs leaves an upload of another tool. Its parts
// look like ours: the AWS CLI uploads in parts of 8 MiB with the same checksum.
func TestAnUploadOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	b := newFixture(t).withKV()
	body := random(2*part + 1)
	e := b.retrieved("j", body)
	o := b.Job("j").Result
	theirs, err := b.Objects.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{
		Bucket: &o.Bucket, Key: &o.Key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	})
	if err != nil {
		t.Fatal(err)
	}
	wrong := random(part + 1)[:part]
	if _, err := b.Objects.UploadPart(t.Context(), &awss3.UploadPartInput{
		Bucket: &o.Bucket, Key: &o.Key, UploadId: theirs.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(wrong), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	}); err != nil {
		t.Fatal(err)
	}
	// An upload to a longer key that begins with ours is not ours either.
	neighbour := o.Key + ".tmp"
	if _, err := b.Objects.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: &neighbour}); err != nil {
		t.Fatal(err)
	}
	var out testenv.Emitted
	if err := b.Restore(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	if n := b.uploads(); n != 1 {
		t.Errorf("%d uploads, want the neighbour's alone", n)
	}
	b.abortAll()
	b.restored("j", body)
}

func TestTwoWorkersShareOneUploadAndDoNoHarm(t *testing.T) {
	t.Parallel()
	b := newFixture(t).withKV()
	b.Parallel = 1
	body := random(4*part + 9)
	again := b.interrupted(body, 1)
	var g sync.WaitGroup
	for range 3 {
		g.Go(func() {
			if err := again(); fault.Is(err, fault.Invalid) || fault.Is(err, fault.Corrupt) {
				t.Error(err)
			}
		})
	}
	g.Wait()
	for range 10 {
		if again() == nil {
			break
		}
	}
	b.restored("j", body)
}

func TestALargePartIsSentAgainFromItsBeginning(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]localaws.Fault{
		"S3 got a wrong byte":         {Service: "s3", Operation: "UploadPart", Times: 1, CorruptRequest: true, CorruptAt: 3 << 20},
		"S3 fails":                    {Service: "s3", Operation: "UploadPart", Times: 2, Code: "InternalError", Status: 500},
		"S3's answer is lost":         {Service: "s3", Operation: "UploadPart", Times: 2, Cut: true, After: true},
		"a span has a wrong byte":     {Service: "glacier", Operation: "GetJobOutput", Skip: 5, Times: 1, Corrupt: true, CorruptAt: 70_000},
		"a span is cut":               {Service: "glacier", Operation: "GetJobOutput", Skip: 5, Times: 1, Cut: true, CutAt: 70_000},
		"a span fails once too often": {Service: "glacier", Operation: "GetJobOutput", Skip: 5, Times: 9, Code: "ServiceUnavailableException", Status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t)
			b.PartSize, b.MaxParts = 1<<20, 2
			body := random(part + 4<<20 + 11)
			e := b.retrieved("j", body)
			if err := b.Faults.Add(f); err != nil {
				t.Fatal(err)
			}
			var out testenv.Emitted
			b.deliver(e, &out)
			b.restored("j", body)
		})
	}
}

// overwritePart puts another part into the unfinished upload.
func (b *fixture) overwritePart(n int32, body []byte) {
	b.t.Helper()
	u := b.unfinished()[0]
	if _, err := b.Objects.UploadPart(b.t.Context(), &awss3.UploadPartInput{
		Bucket: aws.String(testenv.BucketID), Key: u.Key, UploadId: u.UploadId, PartNumber: &n,
		Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *fixture) abortAll() {
	b.t.Helper()
	for _, u := range b.unfinished() {
		if _, err := b.Objects.AbortMultipartUpload(b.t.Context(), &awss3.AbortMultipartUploadInput{Bucket: aws.String(testenv.BucketID), Key: u.Key, UploadId: u.UploadId}); err != nil {
			b.t.Fatal(err)
		}
	}
}
