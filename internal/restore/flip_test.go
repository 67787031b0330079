package restore_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// places returns offsets in size bytes: both ends, the middle, the border of the first leaf,
// and a random one.
func places(size int) []int64 {
	r := rand.New(rand.NewPCG(uint64(size), 7))
	at := []int64{0, int64(size) - 1, int64(size) / 2, r.Int64N(int64(size))}
	if size > 1<<20 {
		at = append(at, 1<<20-1, 1<<20)
	}
	return at
}

// TestAByteFlippedAnywhereIsCaught flips a bit of the file on the wire, and of each message
// about the file.
func TestAByteFlippedAnywhereIsCaught(t *testing.T) {
	t.Parallel()
	b := newFixture(t).withKV()
	b.PartSize, b.MaxParts = 1<<20, 1
	n := 0
	try := func(name string, body []byte, f localaws.Fault, touched bool) {
		n++
		id := events.JobID(fmt.Sprintf("j%d", n))
		e := b.retrieved(id, body)
		f.Times = 1
		if err := b.Faults.Add(f); err != nil {
			t.Fatal(err)
		}
		fired := b.Faults.Fired()[f.Service+"."+f.Operation]
		b.untilRestored(name, e, body)
		if touched && b.Faults.Fired()[f.Service+"."+f.Operation] == fired {
			t.Errorf("%s: nothing was flipped", name)
		}
		b.Faults.Clear()
		b.restored(id, body)
	}
	small, large := random(70_000), random(1<<20+70_000)
	for _, c := range []struct {
		op      string
		request bool
		body    []byte
		at      []int64
	}{
		{"glacier.GetJobOutput", false, small, places(len(small))},
		{"s3.PutObject", true, small, places(len(small))},
		{"glacier.GetJobOutput", false, large, places(1 << 20)},
		{"s3.UploadPart", true, large, places(len(large))},
		{"s3.CompleteMultipartUpload", true, large, []int64{0, 60, 130, 180, 200}},
		{"s3.CompleteMultipartUpload", false, large, []int64{0, 100, 250}},
		{"s3.CreateMultipartUpload", false, large, []int64{0, 100, 250}},
		{"s3.ListMultipartUploads", false, large, []int64{0, 100, 250}},
		{"glacier.DescribeJob", false, large, []int64{20, 200, 400}},
		{"dynamodb.GetItem", false, small, []int64{5, 40, 90, 150, 300, 500}},
	} {
		service, op, _ := strings.Cut(c.op, ".")
		for _, at := range c.at {
			try(fmt.Sprintf("%s, request %v, at %d", c.op, c.request, at), c.body,
				localaws.Fault{Service: service, Operation: op, Corrupt: !c.request, CorruptRequest: c.request, CorruptAt: at}, true)
		}
	}
}

// untilRestored delivers the event until it is done. No archive may be deleted before the
// object is in S3 and equal.
func (b *fixture) untilRestored(name string, e events.RetrievalCompleted, body []byte) {
	b.t.Helper()
	var out testenv.Emitted
	for range 6 {
		err := b.Restore(b.t.Context(), e, out.Emit)
		if err == nil {
			return
		}
		job := b.Job(e.JobID)
		got, there := b.object(job.Result)
		if b.archives() == 0 && (!there || !slices.Equal(got, body)) {
			b.t.Fatalf("%s: deleted before the object was right; %v", name, err)
		}
		if there && !slices.Equal(got, body) {
			b.t.Fatalf("%s: the wrong object is visible; %v", name, err)
		}
		b.t.Logf("%s: caught: %.160v", name, err)
	}
	b.t.Fatalf("%s: not done after 6 deliveries", name)
}

// flaky flips a bit in this process's memory, after the bytes were compared with
// Glacier's tree hash and before they are sent.
type flaky struct {
	restore.Bucket
	restore.Uploads
	at    int
	times *int
}

func (f flaky) Put(ctx context.Context, o archive.Object, m archive.Mark, body []byte, sum crc64nvme.Sum) (archive.Stored, error) {
	if *f.times--; *f.times >= 0 {
		body = slices.Clone(body)
		body[f.at%len(body)] ^= 4
	}
	return f.Bucket.Put(ctx, o, m, body, sum)
}

func (f flaky) Begin(ctx context.Context, o archive.Object, m archive.Mark) (archive.Upload, error) {
	u, err := f.Uploads.Begin(ctx, o, m)
	return flakyUpload{u, f}, err
}

type flakyUpload struct {
	archive.Upload
	f flaky
}

func (u flakyUpload) Put(ctx context.Context, n int, body io.ReadSeeker, size int64, sum *crc64nvme.Sum) (archive.Part, error) {
	if *u.f.times--; *u.f.times >= 0 {
		body = &flipping{body, int64(u.f.at) % size}
	}
	return u.Upload.Put(ctx, n, body, size, sum)
}

type flipping struct {
	io.ReadSeeker
	at int64
}

func (f *flipping) Read(p []byte) (int, error) {
	from, _ := f.Seek(0, io.SeekCurrent)
	n, err := f.ReadSeeker.Read(p)
	if f.at >= from && f.at < from+int64(n) {
		p[f.at-from] ^= 4
	}
	return n, err
}

func TestABitThatFlipsInMemoryAfterTheComparisonIsCaught(t *testing.T) {
	t.Parallel()
	for _, size := range []int{70_000, 1<<20 + 7} {
		for _, at := range places(size) {
			b := newFixture(t)
			b.PartSize, b.MaxParts = 1<<20, 1
			times, body := 1, random(size)
			f := flaky{b.Bucket, b.Uploads, int(at), &times}
			b.Bucket, b.Uploads = f, f
			e := b.retrieved("j", body)
			b.untilRestored(fmt.Sprintf("%d bytes, at %d", size, at), e, body)
			b.restored("j", body)
		}
	}
}

// lying flips a bit in the saved values.
type lying struct {
	kv.Store
	at int
}

func (l lying) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	value, rev, err := l.Store.Get(ctx, key)
	if err == nil {
		value = slices.Clone(value)
		value[l.at%len(value)] ^= 1
	}
	return value, rev, err
}

func TestAProofThatIsWrongIsCaught(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 30, 63, 64, 70} {
		b := newFixture(t).withKV()
		b.Parallel = 1
		body := random(part + 7)
		e := b.retrieved("j", body)
		first := breaking(-1, testenv.DieAfter, &effects{proven: map[int]bool{}, up: map[int]bool{}})
		first.On = "Upload.Put"
		b.in(first, e)
		if first.Broke() != "Upload.Put" {
			t.Fatalf("died after %q, want Upload.Put: %v", first.Broke(), first.Calls())
		}
		b.KV = lying{b.KV, at}
		b.untilRestored(fmt.Sprint("proof flipped at ", at), e, body)
		b.restored("j", body)
	}
}

// TestWhatCannotBeRestoredIsADeadLetterWithWhatAnOperatorNeeds runs the worker of the bus,
// as the service does.
func TestWhatCannotBeRestoredIsADeadLetterWithWhatAnOperatorNeeds(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ns := testenv.NATS(t)
	operator := testenv.Bus(t, ns, "operator")
	body := random(1000)
	e := b.retrieved("j", body)
	o := b.Job("j").Result
	b.put(o, "somebody's notes")
	worker := &bus.Worker[events.RetrievalCompleted]{
		Bus: testenv.Bus(t, ns, "restore"), Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, Slots: 1, Handle: b.Restore,
	}
	if _, err := operator.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	drain := make(chan struct{})
	ended := make(chan error, 1)
	dead := make(chan fault.Kind, 1)
	worker.Observe = func(o bus.Outcome, kind fault.Kind, _ time.Duration) {
		if o == bus.Dead {
			dead <- kind
		}
	}
	go func() { ended <- worker.Run(t.Context(), drain) }()
	if kind := <-dead; kind != fault.Invalid {
		t.Errorf("given up with kind %s, want invalid", kind)
	}
	close(drain)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	st, err := operator.JS.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := events.Decode[events.DeadLetter](m.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"job j of user u", string(e.ArchiveID), string(e.RetrievalID), o.Key, "16 bytes", "1000 bytes", e.TreeHash, "not written over", "Move it away"} {
		if !strings.Contains(letter.Reason, want) {
			t.Errorf("the reason does not say %q: %s", want, letter.Reason)
		}
	}
	if b.archives() != 1 || b.Job("j").RetrievalID != e.RetrievalID {
		t.Error("something was deleted")
	}
}

func TestTheReasonOfEachDeadLetterNamesTheJobAndWhereItBelongs(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	catalog := b.Restorer.Catalog
	for name, c := range map[string]struct {
		spoil func() events.RetrievalCompleted
		kind  fault.Kind
		says  []string
	}{
		"mismatch": {func() events.RetrievalCompleted {
			e := b.retrieved("m", random(500))
			b.fault(localaws.Fault{Service: "glacier", Operation: "GetJobOutput", Corrupt: true, CorruptAt: 5})
			return e
		}, fault.Corrupt, []string{"job m of user u", "tree hash", "Glacier says", "gas-results"}},
		"no key": {func() events.RetrievalCompleted {
			e := b.retrieved("k", random(500))
			b.Restorer.Catalog = keyless{catalog}
			return e
		}, fault.Invalid, []string{"job k of user u", "s3_key_result_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			b.Restorer.Catalog = catalog
			e := c.spoil()
			var out testenv.Emitted
			err := b.Restore(t.Context(), e, out.Emit)
			if !fault.Is(err, c.kind) {
				t.Fatalf("got %v of kind %s, want %s", err, fault.KindOf(err), c.kind)
			}
			for _, want := range append(c.says, string(e.ArchiveID), string(e.RetrievalID)) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
			b.Faults.Clear()
		})
	}
}

// keyless is a catalog that has lost the keys of the results.
type keyless struct{ restore.Catalog }

func (k keyless) Job(ctx context.Context, id events.JobID) (archive.Job, error) {
	job, err := k.Catalog.Job(ctx, id)
	job.Result.Key = ""
	return job, err
}
