package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// inParts lets each span be a part, and fails as failing does.
func inParts(call string, errs ...error) func(*odd) {
	return func(o *odd) {
		o.MaxParts = 0
		o.fails[call] = errs
	}
}

// noUploads checks that no upload is left at the file's key.
func noUploads(o *odd, e events.RetrievalCompleted) { uploadsLeft(0)(o, e) }

func uploadsLeft(want int) func(*odd, events.RetrievalCompleted) {
	return func(o *odd, e events.RetrievalCompleted) {
		o.t.Helper()
		us, err := o.plain.Uploads.Unfinished(o.t.Context(), o.Job(e.JobID).Result)
		if err != nil || len(us) != want {
			o.t.Errorf("%s: %d uploads are left, %v, want %d", e.JobID, len(us), err, want)
		}
	}
}

// flipped gives the first output with a wrong bit, and without a tree hash.
func flipped(o *odd) {
	o.output = func(out *archive.Output) {
		all, err := io.ReadAll(out.Body)
		if err != nil {
			o.t.Error(err)
		}
		out.Body.Close()
		all[5] ^= 1
		out.Body, out.TreeHash, o.output = io.NopCloser(bytes.NewReader(all)), "", nil
	}
}

func TestAPartIsSentAgainOnlyIfThatMayHelp(t *testing.T) {
	large := succeeded(largeFile)
	sends := func(read int64, sum crc64nvme.Sum) func(*odd) {
		return func(o *odd) {
			o.send = func(body io.ReadSeeker) (archive.Part, error) {
				if _, err := io.CopyN(io.Discard, body, read); err != nil {
					o.t.Error(err)
				}
				return archive.Part{Number: 1, Size: largeFile, Sum: sum}, nil
			}
		}
	}
	check(t, []answer{
		{name: "S3 gets two wrong parts", make: large, odd: failing("Upload.Put", errCorrupt, errCorrupt), calls: map[string]int{"Upload.Put": 3, "Delete": 1}, logs: "part sent again"},
		{name: "each part is wrong", make: large, odd: failing("Upload.Put", often(errCorrupt)...), kind: fault.Corrupt, says: "another checksum", calls: map[string]int{"Upload.Put": 3, "Complete": 0}},
		{name: "S3 denies", make: large, odd: failing("Upload.Put", often(errDenied)...), kind: fault.Denied, says: "not allowed", calls: map[string]int{"Upload.Put": 1, "Complete": 0}},
		{name: "S3 does not answer", make: large, odd: failing("Upload.Put", often(errCut)...), kind: fault.Transient, says: "cut", calls: map[string]int{"Upload.Put": 1, "Complete": 0}},
		{name: "the bytes are wrong each time", make: large, odd: failing("Output", often(errCorrupt)...), kind: fault.Corrupt, says: "another checksum", calls: map[string]int{"Output": 3, "Upload.Put": 1, "Complete": 0}},
		{name: "a span is denied and S3's client has an error of its own", make: large, odd: func(o *odd) {
			o.fails["Output"] = []error{nil, errDenied}
			o.part = func(_ *archive.Part, err *error) { *err = errors.New("a client's error") }
		}, kind: fault.Denied, says: "not allowed", calls: map[string]int{"Upload.Put": 1, "Complete": 0}},
		{name: "a span is denied and S3's client has no error", make: large, odd: func(o *odd) {
			o.fails["Output"] = []error{nil, errDenied}
			o.part = func(_ *archive.Part, err *error) { *err = nil }
		}, kind: fault.Denied, says: "not allowed", calls: map[string]int{"Upload.Put": 1, "Complete": 0}},
		{name: "S3 has another checksum of a part", make: large, odd: func(o *odd) { o.part = func(p *archive.Part, _ *error) { p.Sum++ } },
			kind: fault.Corrupt, says: "part 1: S3 has checksum", calls: map[string]int{"Upload.Put": 3, "Complete": 0}},
		{name: "S3 takes a part and reads nothing", make: large, odd: sends(0, 0), kind: fault.Corrupt, says: "part 1: S3 has checksum", calls: map[string]int{"Upload.Put": 3, "Output": 0, "Complete": 0}},
		{name: "S3 takes a part and reads a span", make: large, odd: sends(1<<20, 0), kind: fault.Corrupt, says: "part 1: S3 has checksum", calls: map[string]int{"Upload.Put": 3, "Output": 3, "Complete": 0}},
		{name: "a part of one span", make: large, odd: inParts("none"), calls: map[string]int{"Upload.Put": 2, "Output": 2}, after: noted("1048576 bytes from 0", "7 bytes from 1048576", "part 1, sum true", "part 2, sum true")},
		{name: "a part of two spans", make: large, calls: map[string]int{"Upload.Put": 1, "Output": 2}, after: noted("part 1, sum false")},
		{name: "a part of one span is fetched again before it is sent again", make: large, odd: inParts("Upload.Put", errCorrupt), calls: map[string]int{"Upload.Put": 3, "Output": 3}},
		{name: "a span that is not there is not sent", make: large, odd: inParts("Output", errDenied, errDenied), kind: fault.Denied, says: "not allowed", calls: map[string]int{"Upload.Put": 0, "Complete": 0}},
	})
}

func TestAfterTheDeliveryEndedNothingIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	for _, c := range []struct {
		call string
		err  error
		size int
	}{{"Upload.Put", errCorrupt, largeFile}, {"Output", errCut, largeFile}, {"Output", errCorrupt, smallFile}} {
		o := newOdd(b)
		e := succeeded(c.size)(o, events.JobID(c.call+c.err.Error()[:1]))
		ctx, cancel := context.WithCancel(t.Context())
		o.before = func(name string, _ int) error {
			if name != c.call {
				return nil
			}
			cancel()
			return c.err
		}
		if err := o.restore(ctx, e); !errors.Is(err, c.err) || o.times(c.call) != 1 {
			t.Errorf("%s: got %v after %d calls, want %v after one", c.call, err, o.times(c.call), c.err)
		}
		cancel()
	}
}

// TestWhenAPartFailsNoFurtherPartIsBegun has four parts. One at a time is under way.
func TestWhenAPartFailsNoFurtherPartIsBegun(t *testing.T) {
	t.Parallel()
	o := newOdd(newFixture(t))
	o.MaxParts = 0
	e := o.retrieved("j", random(3<<20+1))
	o.fails["Output"] = often(errDenied)
	// The second part may have been waiting for its turn.
	if err := o.restore(t.Context(), e); !errors.Is(err, errDenied) || o.times("Output") > 2 || o.times("emit verifying") > 0 {
		t.Errorf("got %v after %d outputs, %s", err, o.times("Output"), o.made())
	}
}

func TestACopyIsCompletedOrItsUploadIsAborted(t *testing.T) {
	large := succeeded(largeFile)
	check(t, []answer{
		{name: "all goes well", make: large, calls: map[string]int{"Stat": 1, "Read": 0, "Complete": 1, "Abort": 0}, silent: "not aborted", after: noUploads},
		{name: "an object is there", make: with(large, there), calls: map[string]int{"Begin": 0, "Unfinished": 1, "Stat": 1, "Read": 1}},
		{name: "the whole has a wrong bit", make: large, odd: flipped, kind: fault.Corrupt, says: "the spans have tree hash", calls: map[string]int{"Complete": 0, "Abort": 1}, after: noUploads},
		{name: "S3 completes a corrupt object", make: large, odd: failing("Complete", errCorrupt), kind: fault.Corrupt, says: "another checksum", calls: map[string]int{"Abort": 1}, after: noUploads},
		{name: "S3 denies to complete it", make: large, odd: failing("Complete", errDenied), kind: fault.Denied, says: "not allowed", calls: map[string]int{"Abort": 0, "Stat": 1}, after: uploadsLeft(1)},
		{name: "the answer of an earlier call was lost", make: large, odd: func(o *odd) { o.complete = func(_ *archive.Stored, err *error) { *err = errConflict } },
			calls: map[string]int{"Complete": 1, "Stat": 2, "Delete": 1}, after: noUploads},
		{name: "the abort fails", make: large, odd: func(o *odd) {
			o.fails["Complete"], o.fails["Abort"] = []error{errCorrupt}, []error{errCut}
		}, kind: fault.Corrupt, says: "another checksum", logs: "upload not aborted", after: uploadsLeft(1)},
		{name: "a dead letter leaves no upload", make: large, odd: failing("Upload.Put", errInvalid), kind: fault.Invalid, says: "makes no sense", calls: map[string]int{"Abort": 1}, silent: "not aborted", after: noUploads},
		{name: "a dead letter, and the abort fails", make: large, odd: func(o *odd) {
			o.fails["Upload.Put"], o.fails["Abort"] = []error{errInvalid}, []error{errCut}
		}, kind: fault.Invalid, says: "makes no sense", logs: "unfinished uploads not aborted", after: uploadsLeft(1)},
		{name: "the file is too large for an object", make: large, odd: func(o *odd) {
			o.job = func(job *archive.Job) { job.ArchiveSize = -1 }
			o.describe = func(r *archive.Retrieval) { r.Size = 5<<30 + 1 }
		}, kind: fault.Invalid, says: "do not fit into one object", calls: map[string]int{"Begin": 0}},
	})
}

func TestUploadsThatEarlierDeliveriesLeft(t *testing.T) {
	large := with(succeeded(largeFile), begun)
	leftPart := with(large, func(o *odd, e *events.RetrievalCompleted) {
		us, err := o.plain.Uploads.Unfinished(o.t.Context(), o.Job(e.JobID).Result)
		if err == nil {
			_, err = us[0].Put(o.t.Context(), 1, strings.NewReader("part"), 4, nil)
		}
		if err != nil {
			o.t.Fatal(err)
		}
	})
	gone := func(o *odd, _ *events.RetrievalCompleted) { o.World.Clock.Advance(49 * time.Hour) }
	check(t, []answer{
		{name: "an upload without proven parts is not used", make: large, calls: map[string]int{"Abort": 1, "Begin": 1}, after: noUploads},
		{name: "an upload cannot be aborted at first", make: large, odd: failing("Abort", errCut), calls: map[string]int{"Abort": 2, "Begin": 1}, logs: "upload not aborted", after: noUploads},
		{name: "uploads cannot be listed", make: large, odd: failing("Unfinished", often(errDenied)...), calls: map[string]int{"Begin": 1, "Abort": 0, "Delete": 1}, logs: "allow s3:ListBucketMultipartUploads", after: uploadsLeft(1)},
		{name: "uploads cannot be listed for a moment", make: large, odd: failing("Unfinished", errCut), kind: fault.Transient, says: "cut", calls: map[string]int{"Begin": 0}, silent: "ListBucketMultipartUploads"},
		{name: "uploads can be listed", make: large, silent: "ListBucketMultipartUploads"},
		{name: "the uploads of a proven file cannot be aborted", make: with(large, begun), odd: failing("Abort", often(errDenied)...), calls: map[string]int{"Delete": 1}, logs: "unfinished uploads not aborted: the bucket's", after: uploadsLeft(2)},
		{name: "the first of two uploads cannot be aborted in the end", make: with(large, begun), odd: failing("Abort", errCut, errCut, errCut), kind: fault.Transient, says: "cut", calls: map[string]int{"Abort": 3, "Delete": 0}, silent: "the bucket's lifecycle rule", after: uploadsLeft(2)},
		{name: "two uploads are left", make: with(large, begun), calls: map[string]int{"Abort": 2}, after: noUploads},
		{name: "an upload with parts outlives its output", make: with(leftPart, gone), calls: map[string]int{"Parts": 1, "Abort": 1, "ClearRetrieval": 1}, after: uploadsLeft(1)},
		{name: "an upload without parts does not", make: with(large, gone), calls: map[string]int{"Parts": 1, "Abort": 2, "ClearRetrieval": 1}, after: noUploads},
		{name: "the parts cannot be listed", make: with(large, gone), odd: failing("Parts", errCut), kind: fault.Transient, says: "cut", calls: map[string]int{"Abort": 0, "Begin": 0, "ClearRetrieval": 0}, after: uploadsLeft(1)},
		{name: "the uploads cannot be listed when the output is gone", make: with(large, gone), odd: failing("Unfinished", errDenied), calls: map[string]int{"ClearRetrieval": 1}, logs: "unfinished uploads not aborted"},
	})
}

func TestOnlyFilesThatMayHaveUploadsAreTidied(t *testing.T) {
	failed := func(o *odd, _ *events.RetrievalCompleted) { failedBefore(o, nil) }
	check(t, []answer{
		{name: "a small file", make: succeeded(smallFile), calls: map[string]int{"Unfinished": 0}},
		{name: "a small file, and a retrieval failed before", make: with(with(succeeded(smallFile), failed), begun), calls: map[string]int{"Unfinished": 1, "Abort": 1}, after: noUploads},
		{name: "the largest small file, and a retrieval failed before", make: with(with(succeeded(1<<20), failed), begun), calls: map[string]int{"Unfinished": 1, "Abort": 1, "Begin": 0}, after: noUploads},
		{name: "a file that is back without its key", make: with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
			o.job = func(job *archive.Job) { job.ArchiveID, job.RestoredBy, job.Result.Key = "", e.RetrievalID, "" }
		}), calls: map[string]int{"Unfinished": 0, "emit restored": 1}},
		{name: "a file that is back without its bucket", make: with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
			o.job = func(job *archive.Job) { job.ArchiveID, job.RestoredBy, job.Result.Bucket = "", e.RetrievalID, "" }
		}), calls: map[string]int{"Unfinished": 0, "emit restored": 1}},
	})
}

// TestACopyThatEndsWhileItReadsProofsAbortsNoUpload: it does not know yet which upload has the most
// proven parts.
func TestACopyThatEndsWhileItReadsProofsAbortsNoUpload(t *testing.T) {
	t.Parallel()
	o := newOdd(newFixture(t))
	o.MaxParts = 0
	e := with(succeeded(largeFile), begun)(o, "j")
	us, err := o.plain.Uploads.Unfinished(t.Context(), o.Job("j").Result)
	if err == nil {
		_, err = us[0].Put(t.Context(), 1, bytes.NewReader(bodies[1<<20]), 1<<20, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.KV = oddKV{o, noKV{}}
	o.before = func(name string, _ int) error {
		if name == "KV.Get" {
			cancel()
		}
		return nil
	}
	if err := o.restore(ctx, e); !errors.Is(err, context.Canceled) || o.times("KV.Get") != 1 || o.times("Abort")+o.times("Begin") > 0 {
		t.Errorf("got %v, %s", err, o.made())
	}
}
