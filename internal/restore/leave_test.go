package restore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

// jobs returns a function that changes what the catalog says.
func jobs(change func(*archive.Job)) func(*odd) {
	return func(o *odd) { o.job = change }
}

// retrievals returns a function that changes what Glacier says.
func retrievals(change func(*archive.Retrieval)) func(*odd) {
	return func(o *odd) { o.describe = change }
}

// TestWhatDoesNotFitTogetherChangesNothing has notifications that the catalog or Glacier contradicts.
func TestWhatDoesNotFitTogetherChangesNothing(t *testing.T) {
	small, large := succeeded(smallFile), succeeded(largeFile)
	first := with(small, func(_ *odd, e *events.RetrievalCompleted) { e.First, e.Status = true, archive.InProgress })
	other := func(_ *odd, e *events.RetrievalCompleted) { e.ArchiveID, e.RetrievalID = "other", "another" }
	no := map[string]int{"Output": 0, "Put": 0, "Begin": 0, "Delete": 0, "ClearArchive": 0, "ClearRetrieval": 0, "emit thaw.requested": 0}
	check(t, []answer{
		{name: "another archive", make: with(small, other), kind: fault.Invalid, says: `wrong archive id: the notification names "other", the catalog "`, calls: no},
		{name: "another archive, and the retrieval is not saved", make: with(small, other), odd: jobs(func(j *archive.Job) { j.RetrievalID, j.Intent = "", &archive.Intent{} }), kind: fault.Invalid, says: "wrong archive id", calls: no},
		{name: "another archive, and Glacier has the catalog's", make: with(small, func(_ *odd, e *events.RetrievalCompleted) { e.ArchiveID = "other" }), kind: fault.Invalid, says: "the catalog and Glacier", calls: no},
		{name: "the retrieval is not saved", make: small, odd: jobs(func(j *archive.Job) { j.RetrievalID, j.Intent = "", &archive.Intent{} }), kind: fault.Wait, says: "not in the catalog yet", calls: no},
		{name: "another retrieval", make: with(small, func(_ *odd, e *events.RetrievalCompleted) { e.RetrievalID = "another" }), calls: no, logs: `level=WARN msg="notification dropped"`},
		{name: "another retrieval while a request is under way", make: with(small, func(_ *odd, e *events.RetrievalCompleted) { e.RetrievalID = "another" }), odd: jobs(func(j *archive.Job) { j.Intent = &archive.Intent{} }), calls: no, logs: "other retrieval"},
		{name: "no archive", make: with(small, func(_ *odd, e *events.RetrievalCompleted) { e.RetrievalID = "another" }), odd: jobs(func(j *archive.Job) { j.ArchiveID = "" }), calls: no, logs: `level=INFO msg="notification dropped"`, silent: "level=WARN"},
		{name: "a small file without a key", make: small, odd: jobs(func(j *archive.Job) { j.Result.Key = "" }), kind: fault.Invalid, says: "s3_key_result_file is missing", calls: no},
		{name: "a small file without a bucket", make: small, odd: jobs(func(j *archive.Job) { j.Result.Bucket = "" }), kind: fault.Invalid, says: "s3_results_bucket", calls: no},
		{name: "Glacier still works on a large file", make: large, odd: retrievals(func(r *archive.Retrieval) { r.Status = archive.InProgress }), kind: fault.Wait, says: "Glacier says InProgress", calls: no},
		{name: "Glacier failed a large file", make: large, odd: retrievals(func(r *archive.Retrieval) { r.Status = archive.RetrievalFailed }), kind: fault.Wait, says: "Glacier says Failed", calls: no},
		{name: "Glacier gives no tree hash", make: large, odd: retrievals(func(r *archive.Retrieval) { r.TreeHash = "" }), kind: fault.Invalid, says: "nothing is copied, and the archive stays", calls: no},
		{name: "Glacier gives a wrong tree hash", make: large, odd: retrievals(func(r *archive.Retrieval) { r.TreeHash = "abc" }), kind: fault.Invalid, says: `Glacier gives "abc"`, calls: no},
		{name: "Glacier still works on the file that is wanted first", make: first, odd: retrievals(func(r *archive.Retrieval) { r.Status = archive.InProgress }), kind: fault.Wait, says: "still working", calls: no},
	})
}

// TestARetrievalOfAnotherArchiveIsTakenBack lets Glacier say that the retrieval is of another archive.
func TestARetrievalOfAnotherArchiveIsTakenBack(t *testing.T) {
	taken := map[string]int{"Output": 0, "Put": 0, "Upload.Put": 0, "Delete": 0, "ClearRetrieval": 1, "emit expired": 1, "emit thaw.requested": 1}
	other := retrievals(func(r *archive.Retrieval) { r.ArchiveID = "other" })
	first := with(succeeded(smallFile), func(_ *odd, e *events.RetrievalCompleted) { e.First, e.Status = true, archive.InProgress })
	check(t, []answer{
		{name: "a large file", make: succeeded(largeFile), odd: other, calls: taken, logs: `belongs to archive \"other\"`, after: noted("expired, not before 1m0s")},
		{name: "a file that is wanted first", make: first, odd: other, calls: taken, logs: `belongs to archive \"other\"`},
		{name: "an archive that the notification does not name", make: with(succeeded(smallFile), func(_ *odd, e *events.RetrievalCompleted) { e.ArchiveID = "third" }), odd: other, calls: taken, logs: `belongs to archive \"other\"`},
		{name: "an archive that the notification does not name, and Glacier forgot", make: with(expired(smallFile), func(_ *odd, e *events.RetrievalCompleted) { e.ArchiveID = "third" }), calls: taken},
	})
}

// TestALargeArchiveOfABucketNeedsATreeHashOrACRC has an archive in an S3 class. S3 knows no tree hash.
func TestALargeArchiveOfABucketNeedsATreeHashOrACRC(t *testing.T) {
	hash, crc := treehash.Of(bodies[largeFile]).String(), crc64nvme.Update(0, bodies[largeFile]).String()
	knows := func(hash, crc string) func(*odd) {
		return func(o *odd) {
			o.job = func(j *archive.Job) {
				j.Copy, j.TreeHash = archive.Copy{Class: archive.Glacier, Bucket: "cold", Key: "j/k", Version: "1"}, hash
			}
			o.describe = func(r *archive.Retrieval) { r.TreeHash, r.CRC = "", crc }
			o.output = func(out *archive.Output) { out.TreeHash = "" }
		}
	}
	large := with(succeeded(largeFile), func(_ *odd, e *events.RetrievalCompleted) { e.TreeHash = "" })
	check(t, []answer{
		{name: "neither", make: large, odd: knows("", ""), kind: fault.Invalid, says: "has no whole CRC-64/NVME, and the catalog has no tree hash", calls: map[string]int{"Begin": 0, "Output": 0}},
		{name: "a tree hash", make: large, odd: knows(hash, ""), calls: map[string]int{"Delete": 1}},
		{name: "a CRC", make: large, odd: knows("", crc), calls: map[string]int{"Delete": 1}},
		{name: "both", make: large, odd: knows(hash, crc), calls: map[string]int{"Delete": 1}},
		{name: "a wrong CRC", make: large, odd: knows("", crc64nvme.Update(0, nil).String()), kind: fault.Corrupt, says: "the spans have", calls: map[string]int{"Delete": 0, "Complete": 0}, after: noUploads},
	})
}

func TestAnUnknownJobHasNoUser(t *testing.T) {
	t.Parallel()
	o := newOdd(newFixture(t))
	err := o.restore(t.Context(), events.RetrievalCompleted{JobID: "nobody", Status: archive.Succeeded})
	if !fault.Is(err, fault.Invalid) || err.Error() != `unknown job "nobody": not in the catalog` {
		t.Errorf("got %v of kind %s", err, fault.KindOf(err))
	}
	o.fails["Job"] = []error{errCut}
	if err := o.restore(t.Context(), events.RetrievalCompleted{JobID: "nobody"}); !fault.Is(err, fault.Transient) || fault.OwnerOf(err) != "" || o.made() != "Job, Job" {
		t.Errorf("got %v of kind %s and user %q after %s", err, fault.KindOf(err), fault.OwnerOf(err), o.made())
	}
}

// TestEachFailureOfTheSameKindMakesThePauseLonger has a retrieval that expires and one that fails.
func TestEachFailureOfTheSameKindMakesThePauseLonger(t *testing.T) {
	before := func(f archive.Failure, n int) func(*odd) {
		return jobs(func(j *archive.Job) { j.History.Failed = map[archive.Failure]int{f: n} })
	}
	failed := with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
		e.Status = archive.RetrievalFailed
		o.describe = func(r *archive.Retrieval) { r.Status = archive.RetrievalFailed }
	})
	check(t, []answer{
		{name: "the first output that expires", make: expired(smallFile), after: noted("expired, not before 1m0s")},
		{name: "the second", make: expired(smallFile), odd: before(archive.OutputExpired, 1), after: noted("expired, not before 10m0s")},
		{name: "after one that failed", make: expired(smallFile), odd: before(archive.GlacierFailed, 1), after: noted("expired, not before 1m0s")},
		{name: "the first retrieval that fails", make: failed, after: noted("failed, not before 1m0s")},
		{name: "the second that fails", make: failed, odd: before(archive.GlacierFailed, 1), after: noted("failed, not before 10m0s")},
	})
}

// TestOnlyAFileThatIsCopiedOrBackHasASizeInItsStatus compares all statuses of some deliveries.
func TestOnlyAFileThatIsCopiedOrBackHasASizeInItsStatus(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	for i, c := range []struct {
		name     string
		make     func(*odd, events.JobID) events.RetrievalCompleted
		want     string
		restored int64 // the size that OnRestored is told; -1 if it is not called
	}{
		{"a small file", succeeded(smallFile), "ready 0, restored 1000", smallFile},
		{"a large file", succeeded(largeFile), "ready 0, copying 1048583, verifying 1048583, restored 1048583", largeFile},
		{"a file that was back", with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
			if err := o.plain.Restore(o.t.Context(), *e, new(testenv.Emitted).Emit); err != nil {
				o.t.Fatal(err)
			}
		}), "restored 1000", -1},
		{"an output that is gone", expired(smallFile), "ready 0, expired 0", -1},
	} {
		o := newOdd(b)
		restored := int64(-1)
		id := events.JobID(rune('a' + i))
		o.OnRestored = func(job archive.Job, size int64) {
			restored = size
			if job.ID != id || job.ArchiveID == "" {
				t.Errorf("%s: told of %+v, want the job as it was before", c.name, job)
			}
		}
		if err := o.restore(t.Context(), c.make(o, id)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, e := range o.out.All() {
			if s, ok := e.(events.StatusChanged); ok {
				got = append(got, fmt.Sprint(s.State, " ", s.Size))
				if s.JobID != id || s.UserID != "u" || !s.At.Equal(oddNow) {
					t.Errorf("%s: told %+v", c.name, s)
				}
			}
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%s: told %s, want %s", c.name, got, c.want)
		}
		if restored != c.restored {
			t.Errorf("%s: a file of %d bytes is counted, want %d", c.name, restored, c.restored)
		}
	}
}

func TestTheCatalogSaysWhichRetrievalBroughtTheFileAndWhen(t *testing.T) {
	check(t, []answer{{name: "a small file", make: succeeded(smallFile), after: func(o *odd, e events.RetrievalCompleted) {
		noted("back by "+string(e.RetrievalID)+" at "+oddNow.String())(o, e)
	}}})
}

// TestTheStepsOfARestoreAreTraced collects the steps of a delivery that fails. The test does not run
// beside others: the collector is the process's.
func TestTheStepsOfARestoreAreTraced(t *testing.T) {
	ended := tracetest.NewSpanRecorder()
	provider, before := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ended)), otel.GetTracerProvider()
	o := newOdd(newFixture(t))
	e := succeeded(smallFile)(o, "j")
	const asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	o.job = func(job *archive.Job) { job.Trace = asked }
	o.fails["Put"] = []error{errCut}
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	defer provider.Shutdown(context.Background()) // else the other tests would have steps too
	ctx, delivery := trace.Start(t.Context(), "restore", "delivery")
	if err := o.restore(ctx, e); err == nil {
		t.Error("the delivery did not fail")
	}
	delivery.Done(nil)
	var names []string
	for _, span := range ended.Ended() {
		names = append(names, span.Name())
		if failed := span.Status().Code == codes.Error; failed != (span.Name() == "put") {
			t.Errorf("the step %s failed: %t", span.Name(), failed)
		}
		if links := span.Links(); (len(links) == 1 && links[0].SpanContext.SpanID().String() == "b7ad6b7169203331") != (span.Name() == "look") {
			t.Errorf("the step %s goes on with %v", span.Name(), links)
		}
	}
	if got, want := strings.Join(names, " "), "look fetch put delivery"; got != want {
		t.Errorf("the steps that ended are %q, want %q", got, want)
	}
}
