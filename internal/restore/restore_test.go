package restore_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part is the size of a part: two leaves of the tree hash. With fewer, a copy could not be cut
// in the middle of a part. S3 requires larger parts; the fixture lowers the stand-in's limit.
const part = 2 << 20

type fixture struct {
	*testenv.AWS
	*restore.Restorer
	t     *testing.T
	vault *glacier.Vault
}

func newFixture(t *testing.T) *fixture {
	a := testenv.NewAWS(t)
	a.S3.SetMinPart(part / 2)
	vault := glacier.New(a.Config, testenv.VaultID, "arn:aws:sns:us-east-1:000000000000:none")
	bucket := s3.New(a.Config)
	return &fixture{AWS: a, t: t, vault: vault, Restorer: &restore.Restorer{
		Catalog: a.Catalog, Vault: vault, Bucket: bucket, Uploads: bucket, PartSize: part, Now: time.Now, Log: testenv.Log(t),
	}}
}

// retrieved archives body as the result of job id, retrieves the archive, and returns the
// notification.
func (b *fixture) retrieved(id events.JobID, body []byte) events.RetrievalCompleted {
	b.t.Helper()
	b.Account("u", archive.Premium)
	job := b.Archive("u", id, body)
	return b.retrieve(job)
}

func (b *fixture) retrieve(job archive.Job) events.RetrievalCompleted {
	b.t.Helper()
	r := b.ask(job)
	b.World.Clock.Advance(time.Hour)
	return b.notification(job, r)
}

// ask requests a retrieval of the job's archive. The retrieval takes some time.
func (b *fixture) ask(job archive.Job) events.RetrievalID {
	b.t.Helper()
	ctx := b.t.Context()
	r, err := b.vault.Retrieve(ctx, job, archive.Expedited)
	if err != nil {
		b.t.Fatal(err)
	}
	intent := archive.Intent{Token: "t", At: time.Now()}
	if err := b.AWS.Catalog.SaveIntent(ctx, job, intent); err != nil {
		b.t.Fatal(err)
	}
	if err := b.AWS.Catalog.SaveRetrieval(ctx, job, intent, archive.Retrieval{ID: r.ID, Tier: archive.Expedited, RequestedAt: time.Now()}); err != nil {
		b.t.Fatal(err)
	}
	return r.ID
}

// notification returns the notification of a retrieval that is done.
func (b *fixture) notification(job archive.Job, r events.RetrievalID) events.RetrievalCompleted {
	b.t.Helper()
	d, err := b.vault.Describe(b.t.Context(), archive.Job{RetrievalID: r})
	if err != nil {
		b.t.Fatal(err)
	}
	if d.Status == archive.InProgress {
		b.t.Fatal("the retrieval is not done at its time")
	}
	return events.RetrievalCompleted{
		ID: "n-" + string(r), JobID: job.ID, ArchiveID: job.ArchiveID, RetrievalID: r, Status: d.Status,
		Tier: d.Tier.Told(), Size: d.Size, TreeHash: d.TreeHash, CompletedAt: d.CompletedAt,
	}
}

// deliver hands the event over until it is done, as the bus would.
func (b *fixture) deliver(e events.RetrievalCompleted, out *testenv.Emitted) {
	b.t.Helper()
	var err error
	for range 10 {
		if err = b.Restore(b.t.Context(), e, out.Emit); err == nil {
			return
		}
		if fault.Is(err, fault.Invalid) {
			b.t.Fatalf("given up: %v", err)
		}
	}
	b.t.Fatalf("not done after 10 deliveries: %v", err)
}

func (b *fixture) object(o archive.Object) ([]byte, bool) {
	b.t.Helper()
	out, err := b.Objects.GetObject(b.t.Context(), &awss3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key})
	if err != nil {
		return nil, false
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return body, true
}

// put writes an object as somebody else.
func (b *fixture) put(o archive.Object, text string) {
	b.t.Helper()
	if _, err := b.Objects.PutObject(b.t.Context(), &awss3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: strings.NewReader(text)}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *fixture) fault(f localaws.Fault) {
	b.t.Helper()
	if err := b.Faults.Add(f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *fixture) archives() int { return len(b.Glacier.Archives(testenv.VaultID)) }

func (b *fixture) uploads() int { return len(b.unfinished()) }

func (b *fixture) unfinished() []types.MultipartUpload {
	b.t.Helper()
	out, err := b.Objects.ListMultipartUploads(b.t.Context(), &awss3.ListMultipartUploadsInput{Bucket: aws.String(testenv.BucketID)})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Uploads
}

// restored checks that the job's file is back, and that no archive, upload or catalog
// attribute is left.
func (b *fixture) restored(id events.JobID, want []byte) {
	b.t.Helper()
	job := b.Job(id)
	got, ok := b.object(job.Result)
	if !ok || !bytes.Equal(got, want) {
		b.t.Errorf("%s: object there %v, %d bytes, equal %v", id, ok, len(got), bytes.Equal(got, want))
	}
	if job.ArchiveID != "" || job.RetrievalID != "" || job.Tier != "" || job.TreeHash != "" {
		b.t.Errorf("%s: the catalog still has %+v", id, job)
	}
	if n := b.archives(); n != 0 {
		b.t.Errorf("%d archives left", n)
	}
	if n := b.uploads(); n != 0 {
		b.t.Errorf("%d uploads left", n)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	src.Read(b)
	return b
}

func TestFilesOfEverySizeComeBackEqualAndLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, part - 1, part, part + 1, 2*part + 3<<20 + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			b, body := newFixture(t), random(size)
			e := b.retrieved("j", body)
			b.ResetCounts()
			var out testenv.Emitted
			if err := b.Restore(t.Context(), e, out.Emit); err != nil {
				t.Fatal(err)
			}
			counts := b.Counts()
			b.restored("j", body)
			states := strings.Join(out.States(), " ")
			if !strings.HasPrefix(states, "ready") || !strings.HasSuffix(states, "restored") {
				t.Errorf("told %q", states)
			}
			if size <= part {
				total := int64(0)
				for _, n := range counts {
					total += n
				}
				if total != 5 {
					t.Errorf("%d calls, want 5 (read, output, put, delete, clear): %v", total, counts)
				}
			}
		})
	}
}

// TestThePartsThatAServiceMakesUnlessToldOtherwiseAreOfASizeThatS3Takes makes the stand-in as
// strict as S3 with small parts.
func TestThePartsThatAServiceMakesUnlessToldOtherwiseAreOfASizeThatS3Takes(t *testing.T) {
	t.Parallel()
	b, body := newFixture(t), random(2*8<<20+1)
	b.S3.SetMinPart(5 << 20)
	b.PartSize = 0
	e := b.retrieved("j", body)
	b.ResetCounts()
	var out testenv.Emitted
	b.deliver(e, &out)
	if n := b.Counts()["s3.UploadPart"]; n != 3 {
		t.Errorf("%d parts of 8 MiB, want 3", n)
	}
	b.restored("j", body)
}

func TestWhateverBreaksTheFileIsRightInTheEnd(t *testing.T) {
	t.Parallel()
	small, large := random(300_000), random(part+12345)
	fails := func(service, op string) map[string]localaws.Fault {
		return map[string]localaws.Fault{
			op + " fails":              {Service: service, Operation: op, Times: 3, Code: "InternalError", Status: 500},
			op + " works, then fails":  {Service: service, Operation: op, Times: 3, Code: "InternalError", Status: 500, After: true},
			op + " is cut":             {Service: service, Operation: op, Times: 3, Cut: true},
			op + " works, then is cut": {Service: service, Operation: op, Times: 3, Cut: true, After: true},
		}
	}
	type table map[string]localaws.Fault
	wrong := table{
		"the output has a wrong byte":     {Service: "glacier", Operation: "GetJobOutput", Times: 1, Corrupt: true, CorruptAt: 1000},
		"every try has a wrong byte":      {Service: "glacier", Operation: "GetJobOutput", Times: 3, Corrupt: true, CorruptAt: 0},
		"the output is cut in the middle": {Service: "glacier", Operation: "GetJobOutput", Times: 2, Cut: true, CutAt: 5000},
	}
	both := maps.Clone(wrong)
	for _, more := range []map[string]localaws.Fault{
		fails("dynamodb", "GetItem"), fails("glacier", "GetJobOutput"), fails("glacier", "DeleteArchive"), fails("dynamodb", "UpdateItem"),
	} {
		for name, f := range more {
			both[name] = f
		}
	}
	one := table{"S3 got a wrong byte": {Service: "s3", Operation: "PutObject", Times: 1, CorruptRequest: true, CorruptAt: 77}}
	for name, f := range fails("s3", "PutObject") {
		one[name] = f
	}
	parts := table{"a part of S3 got a wrong byte": {Service: "s3", Operation: "UploadPart", Times: 1, CorruptRequest: true, CorruptAt: 77}}
	for _, op := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject", "ListMultipartUploads"} {
		for name, f := range fails("s3", op) {
			parts[name] = f
		}
	}
	for _, c := range []struct {
		size   string
		body   []byte
		faults []table
	}{{"small", small, []table{both, one}}, {"large", large, []table{wrong, parts}}} {
		for _, faults := range c.faults {
			for name, f := range faults {
				t.Run(c.size+", "+name, func(t *testing.T) {
					t.Parallel()
					b := newFixture(t)
					e := b.retrieved("j", c.body)
					if err := b.Faults.Add(f); err != nil {
						t.Fatal(err)
					}
					var out testenv.Emitted
					b.deliver(e, &out)
					b.Faults.Clear()
					b.deliver(e, &out) // SNS may send the notification again
					b.restored("j", c.body)
				})
			}
		}
	}
}

func TestNothingIsDeletedWhileTheBytesAreWrong(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100_000, 2*part + 1} {
		b := newFixture(t)
		e := b.retrieved("j", random(size))
		if err := b.Faults.Add(localaws.Fault{Service: "glacier", Operation: "GetJobOutput", Corrupt: true, CorruptAt: 5}); err != nil {
			t.Fatal(err)
		}
		var out testenv.Emitted
		if err := b.Restore(t.Context(), e, out.Emit); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%d bytes: got %v, want an error of kind corrupt", size, err)
		}
		if _, there := b.object(b.Job("j").Result); there || b.archives() != 1 || b.Job("j").RetrievalID == "" {
			t.Errorf("%d bytes: object there %v, %d archives, catalog %+v", size, there, b.archives(), b.Job("j"))
		}
	}
}

func TestANotificationThatDoesNotFitTheCatalogIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*events.RetrievalCompleted)
		kind   fault.Kind
		says   string
	}{
		{"unknown job", func(e *events.RetrievalCompleted) { e.JobID = "nobody" }, fault.Invalid, `unknown job "nobody"`},
		{"wrong archive", func(e *events.RetrievalCompleted) { e.ArchiveID = "other" }, fault.Invalid, "wrong archive id"},
		{"wrong size", func(e *events.RetrievalCompleted) { e.Size++ }, fault.Corrupt, "bytes"},
		{"wrong tree hash", func(e *events.RetrievalCompleted) { e.TreeHash = strings.Repeat("0", 64) }, fault.Corrupt, "the notification says"},
		{"a failure that Glacier does not know of", func(e *events.RetrievalCompleted) { e.Status = "Failed" }, fault.Wait, "Glacier says Succeeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			e := b.retrieved("j", []byte("result"))
			c.change(&e)
			var out testenv.Emitted
			err := b.Restore(t.Context(), e, out.Emit)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v of kind %s, want %s that says %q", err, fault.KindOf(err), c.kind, c.says)
			}
			if b.archives() != 1 || b.Job("j").ArchiveID == "" {
				t.Error("something was deleted")
			}
		})
	}
}

func TestAJobThatTheCatalogHasInAnotherFormIsNotTouched(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	e := b.retrieved("j", []byte("result"))
	b.SetAttribute("j", "s3_key_result_file", &ddbtypes.AttributeValueMemberL{})
	var out testenv.Emitted
	err := b.Restore(t.Context(), e, out.Emit)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `job "j" of user u cannot be worked with: s3_key_result_file is a list, not a string`) {
		t.Errorf("got %v", err)
	}
	if b.archives() != 1 || b.Job("j").ArchiveID == "" {
		t.Error("something was deleted")
	}
}

func TestAStaleNotificationDoesNothing(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	e := b.retrieved("j", []byte("result"))
	e.RetrievalID = "an-older-one"
	var out testenv.Emitted
	if err := b.Restore(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	if b.archives() != 1 || len(out.All()) != 0 {
		t.Errorf("%d archives, emitted %v", b.archives(), out.All())
	}
}

func TestAnOutputThatExpiredIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, part + 1} {
		b := newFixture(t)
		body := random(size)
		e := b.retrieved("j", body)
		b.World.Clock.Advance(49 * time.Hour)
		var out testenv.Emitted
		if err := b.Restore(t.Context(), e, out.Emit); err != nil {
			t.Fatal(err)
		}
		b.again(e, &out, archive.Expired)
		// A repetition asks under the same id.
		var twice testenv.Emitted
		if err := b.Restore(t.Context(), e, twice.Emit); err != nil {
			t.Fatal(err)
		}
		if len(twice.All()) != 1 || twice.All()[0].MessageID() != "thaw:again-"+string(e.RetrievalID)+":j" {
			t.Errorf("repetition emitted %+v", twice.All())
		}
		b.deliver(b.retrieve(b.Job("j")), &out)
		b.restored("j", body)
	}
}

func TestARetrievalThatFailedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b, body := newFixture(t), []byte("result")
	b.Glacier.FailNext(1, "the robot dropped it")
	e := b.retrieved("j", body)
	if e.Status != "Failed" {
		t.Fatalf("the retrieval is %s", e.Status)
	}
	var out testenv.Emitted
	if err := b.Restore(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	b.again(e, &out, archive.Failed)
	b.deliver(b.retrieve(b.Job("j")), &out)
	b.restored("j", body)
}

func (b *fixture) again(e events.RetrievalCompleted, out *testenv.Emitted, why archive.State) {
	b.t.Helper()
	var asked []events.ThawRequested
	for _, ev := range out.All() {
		if a, ok := ev.(events.ThawRequested); ok {
			asked = append(asked, a)
		}
	}
	if len(asked) != 1 || asked[0].JobID != e.JobID || asked[0].ArchiveID != e.ArchiveID {
		b.t.Errorf("asked again: %+v", asked)
	}
	if states := out.States(); len(states) == 0 || states[len(states)-1] != string(why) {
		b.t.Errorf("told %v, want %s", states, why)
	}
	if job := b.Job(e.JobID); job.RetrievalID != "" || job.ArchiveID != e.ArchiveID || b.archives() != 1 {
		b.t.Errorf("catalog %+v", job)
	}
}

func TestAnObjectWithOtherContentIsNeverWrittenOver(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, part + 1} {
		b := newFixture(t)
		e := b.retrieved("j", random(size))
		o := b.Job("j").Result
		b.put(o, "somebody's notes")
		var out testenv.Emitted
		err := b.Restore(t.Context(), e, out.Emit)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not written over") {
			t.Errorf("got %v", err)
		}
		if body, _ := b.object(o); string(body) != "somebody's notes" || b.archives() != 1 {
			t.Errorf("object %q, %d archives", body, b.archives())
		}
	}
}

func TestAnObjectWithTheSameContentIsTheFileWhoeverPutItThere(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1000, part + 1} {
		b, body := newFixture(t), random(size)
		e := b.retrieved("j", body)
		b.put(b.Job("j").Result, string(body))
		var out testenv.Emitted
		b.deliver(e, &out)
		if n := b.Counts()["s3.UploadPart"]; n != 0 {
			t.Errorf("%d bytes: %d parts uploaded", size, n)
		}
		b.restored("j", body)
	}
}

func TestProgressIsToldAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.PartSize, b.MaxParts = 1<<20, 2
	e := b.retrieved("j", random(5<<20))
	now := time.Now()
	b.Now = func() time.Time { return now } // the clock stands still
	var out testenv.Emitted
	b.deliver(e, &out)
	copying := 0
	for _, state := range out.States() {
		if state == string(archive.Copying) {
			copying++
		}
	}
	if copying != 1 {
		t.Errorf("copying was reported %d times within a moment, for 5 spans; want once: %v", copying, out.States())
	}
}

func TestALockedVaultKeepsTheArchiveAndTheFileIsRestoredAllTheSame(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	kept := 0
	b.OnKept = func() { kept++ }
	body := []byte("result")
	e := b.retrieved("j", body)
	b.Glacier.DenyDelete(testenv.VaultID, true)
	var out testenv.Emitted
	b.deliver(e, &out)
	job := b.Job("j")
	if got, _ := b.object(job.Result); !bytes.Equal(got, body) || job.ArchiveID != "" || kept != 1 || b.archives() != 1 {
		t.Errorf("object %q, catalog %+v, kept %d, %d archives", got, job, kept, b.archives())
	}
}

func TestTheVaultDeletesNothingWithoutAProof(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.retrieved("j", []byte("result"))
	if err := b.vault.Delete(t.Context(), archive.Verified{}); !fault.Is(err, fault.Invalid) || b.archives() != 1 {
		t.Errorf("got %v, %d archives", err, b.archives())
	}
}

func TestTwoWorkersOnOneNotificationDoNoHarm(t *testing.T) {
	t.Parallel()
	for _, size := range []int{50_000, 2*part + 7} {
		b, body := newFixture(t), random(size)
		e := b.retrieved("j", body)
		var out testenv.Emitted
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() { errs <- b.Restore(b.t.Context(), e, out.Emit) }()
		}
		for range cap(errs) {
			if err := <-errs; fault.Is(err, fault.Invalid) || fault.Is(err, fault.Corrupt) {
				t.Error(err)
			}
		}
		b.deliver(e, &out)
		b.restored("j", body)
	}
}
