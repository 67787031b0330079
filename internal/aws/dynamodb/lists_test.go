package dynamodb_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// TestPagesAddUpToTheList goes through a user's jobs by pages, narrowed and turned in
// any way, and finds each that matches once and in order.
func TestPagesAddUpToTheList(t *testing.T) {
	a := testenv.NewAWS(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const jobs = 60
	for i := range jobs {
		for _, user := range []events.UserID{"ada", "bob"} {
			// Three at a time were submitted in the same second.
			j := archive.Job{
				ID: events.JobID(fmt.Sprintf("%s-%02d", user, i)), UserID: user, Status: "COMPLETED",
				SubmittedAt: at.Add(time.Duration(i/3) * time.Second), InputFileName: fmt.Sprintf("panel_%d.vcf", i%7),
			}
			if err := a.Catalog.AddJob(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		sel := archive.Selection{
			Limit:  rapid.IntRange(1, 30).Draw(rt, "limit"),
			Oldest: rapid.Bool().Draw(rt, "oldest"),
			Look:   rapid.IntRange(1, 80).Draw(rt, "look"),
		}
		want := jobs
		if n := rapid.IntRange(0, 7).Draw(rt, "name"); n > 0 {
			name := fmt.Sprintf("panel_%d.", n) // there is no panel_7
			sel.Match = func(j archive.Job) bool { return strings.HasPrefix(j.InputFileName, name) }
			want = 0
			for i := range jobs {
				if i%7 == n {
					want++
				}
			}
		}
		catalog := a.Catalog.Paged(rapid.IntRange(1, 20).Draw(rt, "page"))
		var got, last []archive.Job
		var back string
		for pages := 0; ; pages++ {
			l, err := catalog.Select(t.Context(), "ada", sel)
			if err != nil || len(l.Jobs) > sel.Limit || pages > jobs+1 || (l.Prev == "") != (pages == 0) {
				rt.Fatalf("page %d has %d jobs, %v, before it %q", pages, len(l.Jobs), err, l.Prev)
			}
			got = append(got, l.Jobs...)
			last, back = l.Jobs, l.Prev
			if sel.Cursor = l.Next; l.Next == "" {
				break
			}
		}
		// The same in the other direction; the first page is full, and may repeat.
		again := last
		for pages := 0; back != ""; pages++ {
			sel.Cursor, sel.Before = back, true
			l, err := catalog.Select(t.Context(), "ada", sel)
			if err != nil || len(l.Jobs) > sel.Limit || pages > jobs+1 || l.Next == "" {
				rt.Fatalf("back, page %d has %d jobs, %v, after it %q", pages, len(l.Jobs), err, l.Next)
			}
			ahead := l.Jobs
			if back = l.Prev; back == "" {
				ahead = got[:len(got)-len(again)]
				for i := range min(len(ahead), len(l.Jobs)) {
					if l.Jobs[i].ID != ahead[i].ID {
						rt.Fatalf("back at the start, row %d is %s, want %s", i, l.Jobs[i].ID, ahead[i].ID)
					}
				}
			}
			again = append(slices.Clone(ahead), again...)
		}
		if !slices.EqualFunc(got, again, func(x, y archive.Job) bool { return x.ID == y.ID }) {
			rt.Fatalf("back and forth differ: %d and %d jobs", len(again), len(got))
		}
		seen := map[events.JobID]bool{}
		for _, j := range got {
			if j.UserID != "ada" || seen[j.ID] || sel.Match != nil && !sel.Match(j) {
				rt.Fatalf("listed %+v", j)
			}
			seen[j.ID] = true
		}
		if len(got) != want {
			rt.Fatalf("listed %d, want %d", len(got), want)
		}
		inOrder := slices.IsSortedFunc(got, func(x, y archive.Job) int {
			if sel.Oldest {
				return x.SubmittedAt.Compare(y.SubmittedAt)
			}
			return y.SubmittedAt.Compare(x.SubmittedAt)
		})
		if !inOrder {
			rt.Fatal("not in order")
		}
	})
	// Another's cursor leads to no job of theirs.
	theirs, err := a.Catalog.Select(t.Context(), "bob", archive.Selection{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	page, err := a.Catalog.Select(t.Context(), "ada", archive.Selection{Cursor: theirs.Next, Limit: 100})
	if err != nil && !fault.Is(err, fault.Invalid) {
		t.Errorf("another's cursor: %v", err)
	}
	for _, j := range page.Jobs {
		if j.UserID != "ada" {
			t.Errorf("another's cursor lists %s", j.ID)
		}
	}
}

func TestAnUpgradeIsDueUntilItIsAnnounced(t *testing.T) {
	a := testenv.NewAWS(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)
	due := func() (users []events.UserID) {
		for acct, err := range a.Catalog.Unannounced(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			users = append(users, acct.ID)
		}
		return users
	}
	set := func(role archive.Role, at time.Time) {
		t.Helper()
		if changed, err := a.Catalog.SetRole(t.Context(), "ada", role, at); err != nil || !changed {
			t.Fatalf("set role: %v, %v", changed, err)
		}
	}
	a.Account("ada", archive.Free)
	a.Account("bob", archive.Premium)
	if got := due(); len(got) != 0 {
		t.Errorf("due before any upgrade: %v", got)
	}
	set(archive.Premium, at)
	if got := due(); !slices.Equal(got, []events.UserID{"ada"}) {
		t.Errorf("due after the upgrade: %v", got)
	}
	// An older announcement does not settle a newer upgrade.
	for _, c := range []struct {
		at   time.Time
		left int
	}{{at.Add(-time.Second), 1}, {at, 0}, {at, 0}} {
		if err := a.Catalog.Announced(t.Context(), "ada", c.at); err != nil {
			t.Fatal(err)
		}
		if got := due(); len(got) != c.left {
			t.Errorf("after the note of %s: %v", c.at, got)
		}
	}
	set(archive.Free, at.Add(time.Minute))
	set(archive.Premium, at.Add(2*time.Minute))
	set(archive.Free, at.Add(3*time.Minute))
	if got := due(); len(got) != 0 {
		t.Errorf("due of a Free user: %v", got)
	}
}

// TestAnAccountAndAJobAreReadWithOneCall: with either missing, and when a table is
// throttled.
func TestAnAccountAndAJobAreReadWithOneCall(t *testing.T) {
	a := testenv.NewAWS(t)
	job := archive.Job{ID: "j1", UserID: "bob", Status: "COMPLETED", SubmittedAt: time.Unix(1_790_000_000, 0).UTC(), ArchiveSize: -1}
	if err := a.Catalog.AddJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	account := archive.Account{ID: "ada", Name: "Ada", Role: archive.Free}
	if err := a.Catalog.EnsureAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	a.Server.ResetCounts()
	gotAccount, gotJob, err := a.Catalog.AccountAndJob(t.Context(), "ada", "j1")
	if err != nil || !reflect.DeepEqual(gotAccount, account) || !reflect.DeepEqual(gotJob, job) {
		t.Errorf("got %+v, %+v, %v", gotAccount, gotJob, err)
	}
	if n := a.Server.Counts(); n["dynamodb.BatchGetItem"] != 1 || len(n) != 1 {
		t.Errorf("it took %v", n)
	}
	if gotAccount, gotJob, err = a.Catalog.AccountAndJob(t.Context(), "ada", "j2"); err != nil || !reflect.DeepEqual(gotAccount, account) || !reflect.DeepEqual(gotJob, archive.Job{}) {
		t.Errorf("without a job: %+v, %+v, %v", gotAccount, gotJob, err)
	}
	if _, _, err = a.Catalog.AccountAndJob(t.Context(), "eve", "j1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("without an account: %v", err)
	}
}
