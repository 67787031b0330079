package restore_test

import (
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// TestWhatAnotherProgramBroughtBackIsNotBeingRestoredForEver has a job with a retrieval, from
// which another program removed the archive.
func TestWhatAnotherProgramBroughtBackIsNotBeingRestoredForEver(t *testing.T) {
	t.Parallel()
	body := []byte("result")
	for _, c := range []struct {
		name    string
		another func(*fixture, *events.RetrievalCompleted)
		cause   string // of the dead letter; empty for none
		told    string
	}{
		{"the program brought the file back", func(b *fixture, _ *events.RetrievalCompleted) { b.BroughtBack("j", body) }, "", "restored"},
		{"the retrieval failed, because the archive was deleted", func(b *fixture, e *events.RetrievalCompleted) {
			b.BroughtBack("j", body)
			e.Status = archive.RetrievalFailed
		}, "", "restored"},
		{"archive_id was removed by mistake", func(b *fixture, _ *events.RetrievalCompleted) { b.RemoveAttribute("j", "archive_id") }, "archive_id is missing", ""},
		{"the key was removed too", func(b *fixture, _ *events.RetrievalCompleted) {
			b.BroughtBack("j", body)
			b.RemoveAttribute("j", "s3_key_result_file")
		}, "s3_key_result_file is missing", ""},
		{"the notification is of another retrieval", func(b *fixture, e *events.RetrievalCompleted) {
			b.BroughtBack("j", body)
			e.RetrievalID = "another"
		}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			e := b.retrieved("j", body)
			if _, err := b.Uploads.Begin(t.Context(), b.Job("j").Result, archive.Mark{Archive: e.ArchiveID}); err != nil {
				t.Fatal(err) // of a copy that another delivery had begun
			}
			c.another(b, &e)
			var out testenv.Emitted
			err := b.Restore(t.Context(), e, out.Emit)
			if (err != nil) != (c.cause != "") || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error()+fault.CauseOf(err), c.cause)) {
				t.Errorf("got %v, cause %q", err, fault.CauseOf(err))
			}
			if told := strings.Join(out.States(), " "); told != c.told {
				t.Errorf("told %q, want %q", told, c.told)
			}
			job := b.Job("j")
			if cleared := job.RetrievalID == "" && job.Due.IsZero() && job.Tier == ""; cleared != (c.told != "") {
				t.Errorf("the catalog has %+v", job)
			}
			if c.told == "" {
				return
			}
			if n := b.uploads(); n != 0 {
				t.Errorf("%d uploads are left open", n)
			}
			if got := job.State(archive.Premium); got != archive.Available {
				t.Errorf("the job is %s", got)
			}
			// The same notification again finds nothing to do.
			if err := b.Restore(t.Context(), e, out.Emit); err != nil || len(out.States()) != 1 {
				t.Errorf("got %v, told %v", err, out.States())
			}
		})
	}
}

// TestWhileTheKeyCannotBeLookedAtTheRetrievalStays has S3 fail for a moment.
func TestWhileTheKeyCannotBeLookedAtTheRetrievalStays(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	e := b.retrieved("j", []byte("result"))
	b.BroughtBack("j", []byte("result"))
	b.fault(localaws.Fault{Service: "s3", Operation: "HeadObject", Code: "InternalError", Status: 500})
	var out testenv.Emitted
	if err := b.Restore(t.Context(), e, out.Emit); !fault.Is(err, fault.Transient) || b.Job("j").RetrievalID == "" {
		t.Errorf("got %v, and the catalog has retrieval %q", err, b.Job("j").RetrievalID)
	}
	b.Faults.Clear()
	b.deliver(e, &out)
	if b.Job("j").RetrievalID != "" {
		t.Error("the retrieval stays")
	}
}
