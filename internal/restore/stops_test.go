package restore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// delivery is a notification that a test delivers to an odd restorer, and the calls that follow.
type delivery struct {
	name string
	make func(*odd, events.JobID) events.RetrievalCompleted
	// calls are all calls, in order. A call with an asterisk does not fail here.
	calls string
}

const (
	smallFile = 1000
	largeFile = 1<<20 + 7
)

// bodies are the bytes of the files.
var bodies = map[int][]byte{0: {}, 1: {7}, smallFile: random(smallFile), 1 << 20: random(1 << 20), largeFile: random(largeFile)}

// succeeded returns the notification of a retrieval that brought a file of this size.
func succeeded(size int) func(*odd, events.JobID) events.RetrievalCompleted {
	return func(o *odd, id events.JobID) events.RetrievalCompleted { return o.retrieved(id, bodies[size]) }
}

// expired is succeeded, and the output is gone.
func expired(size int) func(*odd, events.JobID) events.RetrievalCompleted {
	return func(o *odd, id events.JobID) events.RetrievalCompleted {
		e := o.retrieved(id, bodies[size])
		o.World.Clock.Advance(49 * time.Hour)
		return e
	}
}

// with makes a delivery's notification, and then changes something.
func with(e func(*odd, events.JobID) events.RetrievalCompleted, change func(*odd, *events.RetrievalCompleted)) func(*odd, events.JobID) events.RetrievalCompleted {
	return func(o *odd, id events.JobID) events.RetrievalCompleted {
		n := e(o, id)
		change(o, &n)
		return n
	}
}

// begun begins an upload at the file's key, as a delivery that died.
func begun(o *odd, e *events.RetrievalCompleted) {
	o.t.Helper()
	if _, err := o.plain.Uploads.Begin(o.t.Context(), o.Job(e.JobID).Result, archive.Mark{}); err != nil {
		o.t.Fatal(err)
	}
}

// there puts the file at its key.
func there(o *odd, e *events.RetrievalCompleted) {
	job := o.Job(e.JobID)
	o.fixture.put(job.Result, string(bodies[int(job.ArchiveSize)]))
}

// takenBackBefore lets an earlier delivery take the retrieval back.
func takenBackBefore(o *odd, e *events.RetrievalCompleted) {
	o.t.Helper()
	if err := o.AWS.Catalog.ClearRetrieval(o.t.Context(), o.Job(e.JobID), archive.OutputExpired, time.Now()); err != nil {
		o.t.Fatal(err)
	}
}

// failedBefore says in the catalog that an earlier retrieval of the archive failed.
func failedBefore(o *odd, _ *events.RetrievalCompleted) {
	o.job = func(job *archive.Job) { job.History.Failed = map[archive.Failure]int{archive.GlacierFailed: 1} }
}

// archivedAgain says in the catalog that another program archived another file of the job.
func archivedAgain(o *odd, e *events.RetrievalCompleted) {
	o.SetAttribute(e.JobID, "archive_id", &ddbtypes.AttributeValueMemberS{Value: "later"})
}

const (
	end   = ", Delete, ClearArchive, emit restored"
	again = "Stat, Unfinished, Begin, Abort, ClearRetrieval, emit expired, emit thaw.requested"
	parts = "Output, emit copying, Output, emit verifying, Complete"
)

var smallDeliveries = []delivery{
	{"a small file", succeeded(smallFile), "Job, emit ready, Output, Put" + end},
	{"a small file that is there already", with(succeeded(smallFile), there), "Job, emit ready, Output, Put, Stat, Read" + end},
	{"a small file, and a retrieval failed before", with(succeeded(smallFile), failedBefore), "Job, emit ready, Output, Put, Unfinished" + end},
	{"a small file, and a look at its key left an upload", with(with(succeeded(smallFile), failedBefore), begun), "Job, emit ready, Output, Put, Unfinished, Abort" + end},
}

var lostDeliveries = []delivery{
	{"a small output that is gone", expired(smallFile), "Job, emit ready, Output, Stat, " + again},
	{"a small output that is gone, and a look at its key left an upload", with(expired(smallFile), begun),
		"Job, emit ready, Output, Stat, Stat, Unfinished, Parts, Abort, Begin, Abort, ClearRetrieval, emit expired, emit thaw.requested"},
	{"a small output that is gone, and the file is there", with(expired(smallFile), there), "Job, emit ready, Output, Stat, Read" + end},
}

var otherDeliveries = []delivery{
	{"a retrieval that failed", with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
		e.Status = archive.RetrievalFailed
		o.describe = func(r *archive.Retrieval) { r.Status = archive.RetrievalFailed }
	}), "Job, Describe, Stat, " + strings.Replace(again, "expired", "failed", 1)},
	{"a file that is wanted first", with(succeeded(smallFile), func(_ *odd, e *events.RetrievalCompleted) {
		e.First, e.Status = true, archive.InProgress
	}), "Job, Describe, emit ready, Output, Put" + end},
	{"a large output that is gone", expired(largeFile), "Job, emit ready, Describe, Stat, " + again},
}

var earlierDeliveries = []delivery{
	{"a retrieval of an earlier archive", with(succeeded(smallFile), archivedAgain), "Job, Describe, " + again},
	{"a retrieval of an earlier archive, which Glacier forgot", with(expired(smallFile), archivedAgain), "Job, Describe, " + again},
}

var backDeliveries = []delivery{
	{"a retrieval that was taken back", with(succeeded(smallFile), takenBackBefore), "Job, Stat, emit thaw.requested"},
	{"a retrieval that was taken back, and the file is there", with(with(succeeded(smallFile), takenBackBefore), there), "Job, Stat, Read" + end},
	{"a file that was restored before", with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
		if err := o.plain.Restore(o.t.Context(), *e, o.out.Emit); err != nil {
			o.t.Fatal(err)
		}
		begun(o, e)
	}), "Job, Unfinished, Abort, emit restored"},
	{"a file that another program brought back", with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
		o.BroughtBack(e.JobID, bodies[smallFile])
	}), "Job, Stat, Unfinished, ClearLeftovers, emit restored"},
}

var largeDeliveries = []delivery{
	{"a large file with an upload that another delivery left", with(succeeded(largeFile), begun),
		"Job, emit ready, Describe, Stat, Unfinished, Parts, Abort*, Begin, Upload.Put, " + parts + ", Unfinished" + end},
}

// errBusy is an error that no step handles.
var errBusy = fault.New(fault.Throttled, errors.New("too many calls"))

// stopsWhereACallFails makes each delivery with no failure, and then with a failure of each call.
func stopsWhereACallFails(t *testing.T, deliveries []delivery) {
	t.Parallel()
	b := newFixture(t)
	for i, d := range deliveries {
		calls := strings.Split(d.calls, ", ")
		for at := -1; at < len(calls); at++ {
			if at >= 0 && strings.HasSuffix(calls[at], "*") {
				continue
			}
			o := newOdd(b)
			e := d.make(o, events.JobID(fmt.Sprintf("j%d.%d", i, at)))
			o.before = func(_ string, number int) error {
				if number == at+1 {
					return errBusy
				}
				return nil
			}
			err := o.restore(t.Context(), e)
			name, want := d.name, calls
			if at >= 0 {
				name, want = name+", and this call fails: "+calls[at], calls[:at+1]
			}
			if got, want := o.made(), strings.ReplaceAll(strings.Join(want, ", "), "*", ""); got != want {
				t.Errorf("%s: it made the calls\n%s, want\n%s", name, got, want)
			}
			if at < 0 && err != nil || at >= 0 && (!errors.Is(err, errBusy) || !fault.Is(err, fault.Throttled)) {
				t.Errorf("%s: got %v of kind %s", name, err, fault.KindOf(err))
			}
		}
	}
}

func TestADeliveryOfASmallFileEndsAtTheCallThatFails(t *testing.T) {
	stopsWhereACallFails(t, smallDeliveries)
}

func TestADeliveryOfAnOutputThatIsGoneEndsAtTheCallThatFails(t *testing.T) {
	stopsWhereACallFails(t, lostDeliveries)
}

func TestADeliveryThatAsksGlacierEndsAtTheCallThatFails(t *testing.T) {
	stopsWhereACallFails(t, otherDeliveries)
}

func TestADeliveryAboutAnEarlierArchiveEndsAtTheCallThatFails(t *testing.T) {
	stopsWhereACallFails(t, earlierDeliveries)
}

func TestADeliveryOfAFileThatIsBackEndsAtTheCallThatFails(t *testing.T) {
	stopsWhereACallFails(t, backDeliveries)
}

func TestADeliveryOfALargeFileEndsAtTheCallThatFails(t *testing.T) {
	stopsWhereACallFails(t, largeDeliveries)
}
