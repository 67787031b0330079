package sitetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// job returns a job with a result in the bucket.
func job(p Ports, user events.UserID, id string, at time.Time) archive.Job {
	return archive.Job{
		ID: events.JobID(id), UserID: user, SubmittedAt: at, CompletedAt: at.Add(time.Minute), Status: "COMPLETED",
		InputFileName: id + ".vcf", Result: archive.Object{Bucket: p.Bucket, Key: "gas/" + string(user) + "/" + id + "~out.vcf"},
	}
}

func jobIsReadWithAccount(t *testing.T, p Ports) {
	_, _, err := p.Accounts.AccountAndJob(t.Context(), "ada", "a1")
	wantKind(t, "an account that is not there", err, fault.NotFound)
	signIn(t, p, archive.Account{ID: "ada", Name: "Ada", Role: archive.Free})
	p.AddJob(job(p, "ada", "a1", begin))
	p.AddJob(job(p, "bob", "b1", begin))
	for id, owner := range map[events.JobID]events.UserID{"a1": "ada", "b1": "bob", "none": ""} {
		a, j, err := p.Accounts.AccountAndJob(t.Context(), "ada", id)
		if err != nil || a.Name != "Ada" {
			t.Errorf("with job %s the account is %+v, %v", id, a, err)
		}
		// The site shows a job to its owner, and to nobody else.
		if j.UserID != owner || (j.ID == id) != (owner != "") {
			t.Errorf("job %s is %+v, want one of %q", id, j, owner)
		}
	}
	_, _, err = p.Accounts.AccountAndJob(t.Context(), "nobody", "a1")
	wantKind(t, "the account of nobody, with a job that is there", err, fault.NotFound)
}

func ids(jobs []archive.Job) []string {
	all := make([]string, len(jobs))
	for i, j := range jobs {
		all[i] = string(j.ID)
	}
	return all
}

// list returns a page.
func list(t *testing.T, p Ports, sel archive.Selection) archive.Listing {
	t.Helper()
	l, err := p.Jobs.Select(t.Context(), "ada", sel)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Jobs) > sel.Limit {
		t.Errorf("a page has %v, want up to %d", ids(l.Jobs), sel.Limit)
	}
	return l
}

func pagesAddUp(t *testing.T, p Ports) {
	const limit = 3
	if l := list(t, p, archive.Selection{Limit: limit}); len(l.Jobs) > 0 || l.Prev != "" || l.Next != "" {
		t.Errorf("of nothing there is %+v", l)
	}
	var all []string // the oldest first
	for i := range 3 * limit {
		j := job(p, "ada", fmt.Sprintf("a%d", i), begin.Add(time.Duration(i)*time.Hour))
		p.AddJob(j)
		p.AddJob(job(p, "bob", fmt.Sprintf("b%d", i), j.SubmittedAt))
		all = append(all, string(j.ID))
		for _, oldest := range []bool{true, false} {
			for _, narrow := range []bool{false, true} {
				sel := archive.Selection{Limit: limit, Oldest: oldest}
				want := slices.Clone(all)
				if narrow {
					sel.Look = 1000
					sel.Match = func(j archive.Job) bool {
						return !strings.Contains(j.InputFileName, "4") && j.InputFileName != "a0.vcf"
					}
					want = slices.DeleteFunc(want, func(id string) bool { return id == "a4" || id == "a0" })
				}
				if !oldest {
					slices.Reverse(want)
				}
				thereAndBack(t, p, sel, want)
			}
		}
	}
	// The last page has no next one, also when it is full.
	if l := list(t, p, archive.Selection{Limit: 3 * limit}); len(l.Jobs) != 3*limit || l.Next != "" || l.Prev != "" {
		t.Errorf("one page for all has %v, and around it %q and %q", ids(l.Jobs), l.Prev, l.Next)
	}
}

// thereAndBack pages to the end of a list, and back to its beginning.
func thereAndBack(t *testing.T, p Ports, sel archive.Selection, want []string) {
	t.Helper()
	var got []string
	var last archive.Listing
	for pages := 0; ; pages++ {
		if pages > len(want)+2 {
			t.Fatalf("the list has no end: %v", got)
		}
		last = list(t, p, sel)
		got = append(got, ids(last.Jobs)...)
		if (last.Prev == "") != (pages == 0) {
			t.Errorf("page %d of %v has %q in front", pages, want, last.Prev)
		}
		if last.Next == "" {
			break
		}
		if sel.Match == nil && len(last.Jobs) != sel.Limit {
			t.Errorf("a page with a next one has %v, want %d", ids(last.Jobs), sel.Limit)
		}
		sel.Cursor = last.Next
	}
	if !slices.Equal(got, want) {
		t.Errorf("oldest first %v, narrowed %v: the pages have %v, want %v", sel.Oldest, sel.Match != nil, got, want)
	}
	front := len(got) - len(last.Jobs)
	sel.Before = true
	for pages := 0; last.Prev != ""; pages++ {
		if pages > len(want)+2 {
			t.Fatal("the list has no beginning")
		}
		sel.Cursor = last.Prev
		if last = list(t, p, sel); last.Prev == "" {
			// The first page is full, and may repeat what was shown.
			if n := min(sel.Limit, len(want)); !slices.Equal(ids(last.Jobs), want[:n]) {
				t.Errorf("back at the beginning: %v, want %v", ids(last.Jobs), want[:n])
			}
			return
		}
		if last.Next == "" {
			t.Error("a page in front of another has no next one")
		}
		n := len(last.Jobs)
		if front-n < 0 || !slices.Equal(ids(last.Jobs), want[front-n:front]) {
			t.Fatalf("going back from %d: %v, of %v", front, ids(last.Jobs), want)
		}
		front -= n
	}
}

// pageInFrontIsFull goes back to the first page after a new job came before that page.
func pageInFrontIsFull(t *testing.T, p Ports) {
	for i := range 4 {
		p.AddJob(job(p, "ada", fmt.Sprintf("a%d", i), begin.Add(time.Duration(i)*time.Hour)))
	}
	first := list(t, p, archive.Selection{Limit: 2})
	second := list(t, p, archive.Selection{Limit: 2, Cursor: first.Next})
	if !slices.Equal(ids(second.Jobs), []string{"a1", "a0"}) {
		t.Fatalf("the second page is %v", ids(second.Jobs))
	}
	p.AddJob(job(p, "ada", "a9", begin.Add(9*time.Hour)))
	back := list(t, p, archive.Selection{Limit: 2, Cursor: second.Prev, Before: true})
	if !slices.Equal(ids(back.Jobs), []string{"a3", "a2"}) || back.Prev == "" || back.Next == "" {
		t.Errorf("the page in front is %v with %q and %q around it, want a3 and a2 with pages on both sides", ids(back.Jobs), back.Prev, back.Next)
	}
	top := list(t, p, archive.Selection{Limit: 2, Cursor: back.Prev, Before: true})
	if !slices.Equal(ids(top.Jobs), []string{"a9", "a3"}) || top.Prev != "" || top.Next == "" {
		t.Errorf("the first page is %v, with %q in front, want a9 and a3 and none", ids(top.Jobs), top.Prev)
	}
	end := list(t, p, archive.Selection{Limit: 2, Cursor: second.Prev})
	if !slices.Equal(ids(end.Jobs), []string{"a0"}) || end.Next != "" {
		t.Errorf("behind the first job of the last page are %v", ids(end.Jobs))
	}
}

func cursorIsForOneUser(t *testing.T, p Ports) {
	for i := range 3 {
		p.AddJob(job(p, "ada", fmt.Sprintf("a%d", i), begin.Add(time.Duration(i)*time.Hour)))
		p.AddJob(job(p, "bob", fmt.Sprintf("b%d", i), begin.Add(time.Duration(i)*time.Hour)))
	}
	for _, cursor := range []string{"x", "a1", "{}", strings.Repeat("x", 3000), "e30", "../bob"} {
		for _, before := range []bool{false, true} {
			_, err := p.Jobs.Select(t.Context(), "ada", archive.Selection{Limit: 2, Cursor: cursor, Before: before})
			wantKind(t, fmt.Sprintf("the made-up cursor %.20q", cursor), err, fault.Invalid)
		}
	}
	_, _, err := p.Jobs.ArchivedPage(t.Context(), "ada", "x")
	wantKind(t, "a made-up cursor of the vault", err, fault.Invalid)
	l, err := p.Jobs.Select(t.Context(), "bob", archive.Selection{Limit: 1})
	if err != nil || l.Next == "" {
		t.Fatalf("bob's list is %+v, %v", l, err)
	}
	for _, before := range []bool{false, true} {
		stolen, err := p.Jobs.Select(t.Context(), "ada", archive.Selection{Limit: 2, Cursor: l.Next, Before: before})
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("with bob's cursor: %v", err)
		}
		for _, j := range stolen.Jobs {
			if j.UserID != "ada" {
				t.Errorf("with bob's cursor ada sees %s", j.ID)
			}
		}
	}
}

func archived(t *testing.T, p Ports) {
	has := func(want bool) {
		t.Helper()
		if got, err := p.Jobs.HasArchived(t.Context(), "ada"); err != nil || got != want {
			t.Errorf("HasArchived: got %v, %v; want %v", got, err, want)
		}
	}
	in := func(user events.UserID, id string) archive.Job {
		j := job(p, user, id, begin)
		j.ArchiveID, j.ArchiveSize = events.ArchiveID("archive-"+id), 7
		return j
	}
	p.AddJob(job(p, "ada", "a1", begin))
	p.AddJob(in("bob", "b1"))
	has(false)
	coming := in("ada", "a2")
	coming.RetrievalID, coming.Tier, coming.RetrievalRequestedAt = "retrieval", archive.Standard, begin
	p.AddJob(coming)
	has(false)
	p.AddJob(in("ada", "a3"))
	has(true)
	got := map[events.JobID]archive.Job{}
	for cursor, pages := "", 0; ; pages++ {
		jobs, next, err := p.Jobs.ArchivedPage(t.Context(), "ada", cursor)
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, j := range jobs {
			got[j.ID] = j
		}
		if cursor = next; next == "" {
			break
		}
	}
	if len(got) != 2 || got["a2"].RetrievalID != "retrieval" || got["a3"].RetrievalID != "" || got["a3"].ArchiveSize != 7 || got["a3"].ArchiveID == "" {
		t.Errorf("in the vault are %+v, want a2, on its way, and a3", got)
	}
	for id, j := range got {
		if want := map[events.JobID]archive.State{"a2": archive.Requested, "a3": archive.Archived}[id]; j.State(archive.Free) != want {
			t.Errorf("%s is %s, want %s", id, j.State(archive.Free), want)
		}
	}
}
