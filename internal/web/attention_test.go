package web

import (
	"errors"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// stuck gives up the copy of a job that was requested.
func (b *fixture) stuck(id events.JobID) {
	b.t.Helper()
	var j archive.Job
	b.ports.change(func() { j = b.ports.jobs[id] })
	e := events.RetrievalCompleted{ID: "n", JobID: id, ArchiveID: j.ArchiveID, RetrievalID: j.RetrievalID, Status: events.RetrievalSucceeded}
	m, err := events.Encode(e)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ports.giveUp(events.DeadLetter{ID: "1", SourceSubject: e.Subject(), Payload: m.Data, Cause: "key occupied", Reason: "s3://gas-results/x is there already"})
}

func TestAFileThatIsGivenUpNeedsAttention(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = archive.DefaultTiers() })
	ada := upgraded(t, b, "j1", "j2")
	b.ports.requested("j1", archive.Expedited, b.clock.Now())
	b.ports.requested("j2", archive.Expedited, b.clock.Now())
	copying := status("ada", "j1", archive.Copying)
	copying.At = b.clock.Now().Add(overviewAge)
	b.ports.tell(copying)
	b.stuck("j1")
	b.clock.Add(overviewQuiet)

	page := ada.get("/annotation/j1")
	ada.wants(page, 200, "Needs attention", archive.Restoring, "Nothing is lost")
	for _, no := range []string{"<progress", "Usually out of", "key occupied", "s3://", "data-steps", "Download"} {
		if strings.Contains(page.body, no) {
			t.Errorf("the page has %q", no)
		}
	}
	list := ada.get("/annotations")
	ada.wants(list, 200, "1 file needs the attention of our team", "0 of 2 back")
	if got := strings.Count(list.body, ">Needs attention</span>"); got != 1 {
		t.Errorf("%d rows need attention, want 1:\n%s", got, list.text(t))
	}
	for path, want := range map[string]string{"attention": "sample-j1.vcf", "coming": "sample-j2.vcf"} {
		if got := ada.get("/annotations?state=" + path).text(t); strings.Contains(got, "sample-j1") == strings.Contains(got, "sample-j2") || !strings.Contains(got, want) {
			t.Errorf("the group %s has %q, want %s alone", path, got, want)
		}
	}
	var j apiJob
	if ada.get("/api/v1/jobs/j1").into(t, &j); j.Label != "Needs attention" || j.Sentence != archive.Restoring || j.Note == "" || j.Expected != nil {
		t.Errorf("the API says %+v", j)
	}
	if a := ada.get("/api/v1/archive"); !strings.Contains(a.body, `"coming":1`) || !strings.Contains(a.body, `"attention":1`) {
		t.Errorf("the API says %s", a.body)
	}
	ada.wants(ada.get("/annotation/j1/download"), 409, archive.Restoring)

	// An operator moved the other object away and replayed the letter: the file goes on.
	b.ports.change(func() { clear(b.ports.letters) })
	b.clock.Add(overviewQuiet)
	ada.wants(ada.get("/annotations"), 200, "0 of 2 back")
	b.stuck("j1") // a letter that is left after the file came back
	b.ports.restored("j1", "x")
	ada.wants(ada.get("/annotation/j1"), 200, "Ready", "Download the result")
}

func TestPagesDoWithoutTheLetters(t *testing.T) {
	b := newFixture(t)
	ada := upgraded(t, b, "j1")
	for _, path := range []string{"/annotations", "/annotation/j1", "/subscribe"} {
		b.ports.change(func() { b.ports.faults["Letter"] = fault.New(fault.Transient, errors.New("nats is away")) })
		ada.wants(ada.get(path), 200)
	}
	if !strings.Contains(b.log.String(), "does not know which files need an operator") {
		t.Error("the log does not say what the pages miss")
	}
}
