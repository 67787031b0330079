package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// back brings a job's result back at a time.
func (b *fixture) back(id events.JobID, at time.Time) {
	b.ports.restored(id, "the bytes")
	b.ports.change(func() {
		j := b.ports.jobs[id]
		j.RestoredAt, j.BilledTier = at, archive.Standard
		b.ports.jobs[id] = j
	})
	b.moves(events.UserID("ada"))
	b.clock.Add(overviewQuiet)
}

func TestTheProgressCountsFilesAndBytes(t *testing.T) {
	b := newFixture(t)
	// This one came back after an earlier upgrade.
	b.ports.archived("ada", "old", b.clock.Now())
	b.back("old", b.clock.Now().Add(-24*time.Hour))
	ada := upgraded(t, b, "j1", "j2", "j3")
	a := ada.get("/annotations")
	ada.wants(a, 200, "0 of 3 back, 0 B of 3.7 MB")
	for n, id := range []events.JobID{"j1", "j2"} {
		b.back(id, b.clock.Now())
		a = ada.get("/annotations")
		bar := fmt.Sprintf(`<progress max="%d" value="%d"`, 3*1234567, (n+1)*1234567)
		ada.wants(a, 200, fmt.Sprintf("%d of 3 back, %s of 3.7 MB", n+1, humanBytes(int64(n+1)*1234567)))
		if !strings.Contains(a.body, bar) {
			t.Errorf("there is no %s in:\n%s", bar, a.body)
		}
		if want := fmt.Sprintf("<title>%d of 3 back · Your annotations", n+1); !strings.Contains(a.body, want) {
			t.Errorf("the title is not %q: %.300s", want, a.body)
		}
	}

	// Without the size of one file, the bar counts files.
	b.ports.change(func() {
		j := b.ports.jobs["j3"]
		j.ArchiveSize = -1
		b.ports.jobs["j3"] = j
	})
	b.clock.Add(overviewQuiet)
	if a = ada.get("/annotations"); !strings.Contains(a.body, `<progress max="3" value="2"`) || strings.Contains(a.text(t), "2 of 3 back,") {
		t.Errorf("with a file of unknown size: %s", a.body)
	}

	b.back("j3", b.clock.Now())
	a = ada.get("/annotations")
	ada.wants(a, 200, "All 3 of your files are back.")
	if strings.Contains(a.body, "<progress") || !strings.Contains(a.body, "<title>Your annotations") {
		t.Errorf("when all is back there is still a bar or a number in the title: %s", a.body)
	}
}

func TestAMessageThatWasClosedDoesNotReturn(t *testing.T) {
	b := newFixture(t)
	ada := upgraded(t, b, "j1")
	b.back("j1", b.clock.Now())
	const message = "Your file is back."
	list := ada.get("/annotations?sort=oldest")
	ada.wants(list, 200, message)
	form := list.form(t, "/annotations/seen", nil)
	ada.wants(ada.post("/annotations/seen", url.Values{"list": form["list"]}), 403)
	ada.wants(ada.get("/annotations"), 200, message)
	closed := ada.still().post("/annotations/seen", form)
	if closed.StatusCode != http.StatusSeeOther || closed.Header.Get("Location") != "/annotations?sort=oldest" {
		t.Errorf("closing answers %s to %s, want the same list", closed.Status, closed.Header.Get("Location"))
	}
	for range 2 {
		if got := ada.get("/annotations").text(t); strings.Contains(got, message) {
			t.Errorf("the message returned: %s", got)
		}
		ada.post("/logout", list.form(t, "/logout", nil))
		ada.signIn("ada", "/annotations")
		list = ada.get("/annotations")
	}
	// It is about one upgrade: the next one has a message of its own.
	b.clock.Add(time.Minute)
	b.ports.archived("ada", "j2", b.clock.Now())
	for _, role := range []archive.Role{archive.Free, archive.Premium} {
		if _, err := b.ports.SetRole(t.Context(), "ada", role, b.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	b.back("j2", b.clock.Now())
	ada.wants(ada.get("/annotations"), 200, message)
	// The address that a form names may not lead away.
	form = ada.get("/annotations").form(t, "/annotations/seen", nil)
	form.Set("list", "//evil.example")
	if to := ada.still().post("/annotations/seen", form).Header.Get("Location"); to != "/annotations" {
		t.Errorf("a form leads to %q", to)
	}
}

func TestTheGroupsSayHowManyTheyHave(t *testing.T) {
	b := newFixture(t)
	for i := range 7 {
		b.ports.archived("ada", events.JobID(fmt.Sprint("j", i)), b.clock.Now().Add(time.Duration(i)*time.Minute))
	}
	b.ports.restored("j0", "x")
	b.ports.restored("j3", "x")
	ada := b.browser()
	list := ada.signIn("ada", "/annotations")
	ada.wants(list, 200, "All 7", "Ready 2", "Archived 5", "1 to 3 of 7")
	ada.wants(ada.get("/annotations?state=ready"), 200, "2 in all")
	ada.wants(ada.get("/annotations?state=archived"), 200, "1 to 3 of 5")
	ada.wants(ada.get("/annotations?state=archived&last=1"), 200, "3 to 5 of 5", "sample-j1.vcf")
}

func TestTheCountIsBounded(t *testing.T) {
	b := newFixture(t)
	for i := range maxTally + 5 {
		b.ports.archived("ada", events.JobID(fmt.Sprintf("j%05d", i)), b.clock.Now().Add(time.Duration(i)*time.Second))
	}
	counts := 0
	b.ports.change(func() { b.ports.selected = func() { counts++ } })
	ada := b.browser()
	list := ada.signIn("ada", "/annotations")
	if strings.Contains(list.body, `class="many"`) || !strings.Contains(list.text(t), "3 here, and more") {
		t.Errorf("the list counts more than it may: %s", list.text(t))
	}
	// The more jobs somebody has, the more rarely they are counted.
	before := counts
	for range 10 {
		b.moves("ada")
		b.clock.Add(overviewAge)
		ada.get("/annotations")
	}
	if tallies := counts - before - 10; tallies > 1 {
		t.Errorf("%d jobs were counted %d times in %s", maxTally, tallies, 10*overviewAge)
	}
}

func TestThePagesOfAListLeadEverywhere(t *testing.T) {
	b := newFixture(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 8 {
		b.ports.archived("ada", events.JobID(fmt.Sprint("j", i)), at.Add(time.Duration(i)*time.Hour))
		b.ports.change(func() {
			id := events.JobID(fmt.Sprint("j", i))
			j := b.ports.jobs[id]
			if j.ArchiveSize = int64(1000 * (i + 1)); i == 4 {
				j.ArchiveSize = -1
			}
			b.ports.jobs[id] = j
		})
	}
	ada := b.browser()
	ada.signIn("ada", "/")
	for sort, want := range map[string][]string{
		"newest": {"j7", "j6", "j5", "j2", "j1", "j0"}, "oldest": {"j0", "j1", "j2", "j5", "j6", "j7"},
		"name": {"j0", "j1", "j2", "j5", "j6", "j7"}, "name-reversed": {"j7", "j6", "j5", "j2", "j1", "j0"},
		// A file of unknown size is the last one in both directions.
		"size": {"j7", "j6", "j5", "j1", "j0", "j4"}, "size-reversed": {"j0", "j1", "j2", "j6", "j7", "j4"},
		"state": {"j0", "j1", "j2", "j5", "j6", "j7"}, "state-reversed": {"j7", "j6", "j5", "j2", "j1", "j0"},
	} {
		first, last := ada.rows(t, "/annotations?sort="+sort), ada.rows(t, "/annotations?last=1&sort="+sort)
		if got := append(first, last...); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: the first page and the last have %v, want %v", sort, got, want)
		}
	}
	end := ada.get("/annotations?last=1&q=sample")
	ada.wants(end, 200, "First", "Previous")
	if strings.Contains(end.text(t), "Next") {
		t.Error("the last page has a next one")
	}
	front := ada.rows(t, end.link(t, "prev"))
	if strings.Join(front, " ") != "j5 j4 j3" {
		t.Errorf("in front of the last page are %v", front)
	}

	// A file's page leads back to the page of the list, with its filter.
	for _, list := range []string{"/annotations?q=sample&sort=oldest", "/annotations?after=cursor-j5&state=archived", "/annotations?last=1", "/annotations"} {
		page := ada.get(list)
		file := page.href(t, "data-name")
		if got := ada.get(file).crumb(t); got != strings.ReplaceAll(list, "last=1", "last=1") {
			t.Errorf("from %s, %s leads back to %s", list, file, got)
		}
	}
	for _, query := range []string{"//evil.example", "sort=x", "%zz", "q=" + strings.Repeat("x", 5000)} {
		if got := ada.get("/annotation/j1?list=" + url.QueryEscape(query)).crumb(t); got != "/annotations" {
			t.Errorf("with list=%.40q the page leads to %s", query, got)
		}
	}
	ada.wants(ada.get("/annotation/j1?list="+url.QueryEscape("state=archived&q=sam")), 200, "Your annotations: Archived, “")
}

// rows returns the jobs of a list's page.
func (b *browser) rows(t *testing.T, path string) (ids []string) {
	t.Helper()
	for _, part := range strings.Split(b.get(path).body, `<li data-job="`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		ids = append(ids, id)
	}
	return ids
}

// crumb returns the address of the link back to the list.
func (a answer) crumb(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(a.body, `<p class="crumb"><a href="`)
	if !ok {
		t.Fatalf("no crumb in %s", a.body)
	}
	to, _, _ := strings.Cut(rest, `"`)
	return strings.ReplaceAll(to, "&amp;", "&")
}

// href returns the address of the first link with the attribute.
func (a answer) href(t *testing.T, attribute string) string {
	t.Helper()
	before, _, ok := strings.Cut(a.body, `" `+attribute)
	if !ok {
		t.Fatalf("no link with %s in %s", attribute, a.body)
	}
	return strings.ReplaceAll(before[strings.LastIndexByte(before, '"')+1:], "&amp;", "&")
}
