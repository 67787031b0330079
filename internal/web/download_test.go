package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

func TestASizeStaysWhenTheFileIsBack(t *testing.T) {
	b := newFixture(t)
	for i, id := range []events.JobID{"j1", "j2", "j3"} {
		b.ports.archived("ada", id, b.clock.Now())
		b.ports.change(func() {
			j := b.ports.jobs[id]
			j.ArchiveSize = int64(i+1) * 1_000_000
			b.ports.jobs[id] = j
		})
	}
	b.ports.requested("j3", archive.Standard, b.clock.Now())
	b.ports.restored("j3", "the bytes")
	// A file that was never archived has its size in the store alone.
	b.ports.change(func() {
		j := b.ports.jobs["j1"]
		j.ArchiveID, j.ArchiveSize = "", -1
		b.ports.jobs["j1"] = j
		b.ports.objects[j.Result] = strings.Repeat("x", 5_000)
	})
	ada := b.browser()
	ada.signIn("ada", "/")
	list := ada.get("/annotations?sort=size")
	ada.wants(list, 200, "5.0 kB", "2.0 MB")
	var order []string
	for _, part := range strings.Split(list.body, `data-job="`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		order = append(order, id)
	}
	if got := strings.Join(order, " "); got != "j3 j2 j1" {
		t.Errorf("by size the list is %s, want j3 j2 j1", got)
	}
	ada.wants(ada.get("/annotation/j1"), 200, "Size 5.0 kB")
	ada.wants(ada.get("/annotation/j2"), 200, "Size 2.0 MB")
	var j apiJob
	if ada.get("/api/v1/jobs/j1").into(t, &j); j.Size != 5_000 {
		t.Errorf("the API says %+v", j)
	}
}

func TestAListAndAPageSayTheSameOfAFile(t *testing.T) {
	b := newFixture(t)
	ada := upgraded(t, b, "j1", "j2", "j3")
	b.ports.restored("j1", "x")
	b.ports.restored("j2", "x")
	b.ports.change(func() {
		delete(b.ports.objects, b.ports.jobs["j1"].Result)
		j := b.ports.jobs["j3"]
		j.History.Failed = map[archive.Failure]int{archive.GlacierFailed: 1}
		b.ports.jobs["j3"] = j
	})
	b.ports.tell(status("ada", "j3", archive.Failed))
	list := ada.get("/annotations")
	for id, want := range map[string]string{"j1": "Needs attention", "j2": "Ready", "j3": "Being restored"} {
		_, row, _ := strings.Cut(list.body, `data-job="`+id+`"`)
		row, _, _ = strings.Cut(row, "</li>")
		if !strings.Contains(row, ">"+want+"</span>") {
			t.Errorf("the row of %s has %s, want %s", id, row, want)
		}
		if page := ada.get("/annotation/" + id); !strings.Contains(page.body, ">"+want+"</span>") {
			t.Errorf("the page of %s says %s, want %s", id, page.text(t), want)
		}
		var j apiJob
		if ada.get("/api/v1/jobs/"+id).into(t, &j); j.Label != want {
			t.Errorf("the API says %s of %s, want %s", j.Label, id, want)
		}
	}
	// Without the store the list is shown as the catalog has it.
	b.clock.Add(2 * objectAge)
	b.ports.change(func() { b.ports.faults["Stat"] = errors.New("s3 is away") })
	ada.wants(ada.get("/annotations"), 200, "Ready")
}

// TestALinkWorksForAsLongAsTheFileTakes reads the time of the link that a download leads to.
func TestALinkWorksForAsLongAsTheFileTakes(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	b.ports.restored("j1", strings.Repeat("x", 10*slowest))
	ada := b.browser()
	ada.signIn("ada", "/")
	a := ada.still().get("/annotation/j1/download")
	to, err := url.Parse(a.Header.Get("Location"))
	if a.StatusCode != http.StatusFound || err != nil || to.Query().Get("X-Amz-Expires") != "310" {
		t.Errorf("the download answers %s to %s, want a link for 310 s", a.Status, to)
	}
	for _, c := range []struct {
		size    int64
		session time.Duration
		want    time.Duration
	}{
		{0, 12 * time.Hour, 5 * time.Minute},
		{734_000_000, 12 * time.Hour, 5*time.Minute + 2936*time.Second},
		{734_000_000, 20 * time.Minute, 20 * time.Minute},
		{734_000_000, time.Second, 5 * time.Minute},
		{5_000_000_000_000, 12 * time.Hour, 12 * time.Hour},
		{1 << 62, 12 * time.Hour, 12 * time.Hour},
	} {
		if got := linkTime(c.size, c.session); got != c.want {
			t.Errorf("a link to %d bytes in a session of %s works for %s, want %s", c.size, c.session, got, c.want)
		}
	}
}
