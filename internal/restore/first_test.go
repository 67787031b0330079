package restore_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAFileThatIsWantedFirstComesBackBeforeItsNotification(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, part + 1} {
		b, body := newFixture(t), random(size)
		b.Account("u", archive.Premium)
		job := b.Archive("u", "j", body)
		r := b.ask(job)
		ahead := events.RetrievalCompleted{ID: "found-" + string(r), JobID: "j", ArchiveID: job.ArchiveID, RetrievalID: r, Status: archive.InProgress, First: true}
		var out testenv.Emitted
		if err := b.Restore(t.Context(), ahead, out.Emit); !fault.Is(err, fault.Wait) || fault.DelayOf(err) != time.Minute || len(out.States()) != 0 {
			t.Fatalf("while Glacier works: got %v of kind %s, in %s; want it to wait for a minute", err, fault.KindOf(err), fault.DelayOf(err))
		}
		b.World.Clock.Advance(time.Hour)
		if err := b.Restore(t.Context(), ahead, out.Emit); err != nil {
			t.Fatal(err)
		}
		b.restored("j", body)
		// The notification comes behind it, and changes nothing.
		behind := b.notification(job, r)
		b.ResetCounts()
		if err := b.Restore(t.Context(), behind, out.Emit); err != nil {
			t.Fatal(err)
		}
		if c := b.Counts(); c["glacier.DescribeJob"]+c["glacier.GetJobOutput"]+c["s3.PutObject"] != 0 {
			t.Errorf("the notification of a file that is back makes calls: %v", c)
		}
		b.restored("j", body)
	}
}

func TestAFileThatIsWantedFirstAndFailsIsAskedForInItsLane(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"failed", "expired"} {
		b := newFixture(t)
		b.Account("u", archive.Premium)
		job := b.Archive("u", "j", random(1000))
		if name == "failed" {
			b.Glacier.FailNext(1, "the robot dropped it")
		}
		r := b.ask(job)
		b.World.Clock.Advance(time.Hour)
		b.notification(job, r) // it is finished by now
		if name == "expired" {
			b.World.Clock.Advance(49 * time.Hour)
		}
		var out testenv.Emitted
		b.deliver(events.RetrievalCompleted{ID: "found-" + string(r), JobID: "j", ArchiveID: job.ArchiveID, RetrievalID: r, Status: archive.InProgress, First: true}, &out)
		var again []events.ThawRequested
		for _, e := range out.All() {
			if task, ok := e.(events.ThawRequested); ok {
				again = append(again, task)
			}
		}
		if len(again) != 1 || !again[0].First || b.Job("j").RetrievalID != "" || b.archives() != 1 {
			t.Errorf("%s: tasks %+v, catalog %+v, %d archives", name, again, b.Job("j"), b.archives())
		}
	}
}
