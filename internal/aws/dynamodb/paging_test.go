package dynamodb_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// submitted puts the jobs with the numbers from up to but not to, j00 for example. Each is a
// second younger than the one before.
func submitted(t *testing.T, a *testenv.AWS, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		job := archive.Job{ID: events.JobID(fmt.Sprintf("j%02d", i)), UserID: "u", Status: "COMPLETED", SubmittedAt: at.Add(time.Duration(i) * time.Second), ArchiveID: events.ArchiveID(fmt.Sprintf("a%02d", i)), ArchiveSize: 1}
		if err := a.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(jobs []archive.Job) string {
	var all []string
	for _, j := range jobs {
		all = append(all, string(j.ID))
	}
	return strings.Join(all, " ")
}

func TestThePageBeforeIsThePageFromWhichOneCame(t *testing.T) {
	a := testenv.NewAWS(t)
	submitted(t, a, 0, 5)
	page := func(sel archive.Selection) archive.Listing {
		t.Helper()
		sel.Limit = 2
		l, err := a.Catalog.Select(t.Context(), "u", sel)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := page(archive.Selection{})
	second := page(archive.Selection{Cursor: first.Next})
	third := page(archive.Selection{Cursor: second.Next})
	for name, c := range map[string]struct {
		got        archive.Listing
		want       string
		prev, next bool
	}{
		"first": {first, "j04 j03", false, true}, "second": {second, "j02 j01", true, true}, "third": {third, "j00", true, false},
		"before the third":  {page(archive.Selection{Cursor: third.Prev, Before: true}), "j02 j01", true, true},
		"before the second": {page(archive.Selection{Cursor: second.Prev, Before: true}), "j04 j03", false, true},
		"before the first":  {page(archive.Selection{Before: true}), "j04 j03", false, true},
		"the oldest first":  {page(archive.Selection{Oldest: true}), "j00 j01", false, true},
	} {
		if ids(c.got.Jobs) != c.want || (c.got.Prev != "") != c.prev || (c.got.Next != "") != c.next {
			t.Errorf("%s: got %s, a page before %v, after %v; want %s, %v, %v", name, ids(c.got.Jobs), c.got.Prev != "", c.got.Next != "", c.want, c.prev, c.next)
		}
	}
	// With another job, the page before the second is no longer the first. The page before that
	// one would have one job, so it is the first page, which is full.
	submitted(t, a, 5, 6)
	grown := page(archive.Selection{Cursor: second.Prev, Before: true})
	if ids(grown.Jobs) != "j04 j03" || grown.Prev == "" || grown.Next == "" {
		t.Errorf("before the second, after a job more: %s", ids(grown.Jobs))
	}
	if l := page(archive.Selection{Cursor: grown.Prev, Before: true}); ids(l.Jobs) != "j05 j04" || l.Prev != "" || l.Next == "" {
		t.Errorf("the first page again: %s", ids(l.Jobs))
	}
	// Exactly full pages have no empty one behind them.
	if l := page(archive.Selection{Cursor: page(archive.Selection{Cursor: page(archive.Selection{}).Next}).Next}); ids(l.Jobs) != "j01 j00" || l.Next != "" {
		t.Errorf("the last full page: %s, with a page behind it: %v", ids(l.Jobs), l.Next != "")
	}
}

// A list reads no more than it needs: each item that is read costs.
func TestHowManyItemsAListReads(t *testing.T) {
	a := testenv.NewAWS(t)
	submitted(t, a, 0, 40)
	w, catalog := wired(a)
	match := func(names ...string) func(archive.Job) bool {
		return func(j archive.Job) bool { return slices.Contains(names, string(j.ID)) }
	}
	for _, c := range []struct {
		name   string
		page   int
		sel    archive.Selection
		want   string
		limits string
		next   bool
	}{
		{"a page", 20, archive.Selection{Limit: 3}, "j39 j38 j37", "4", true},
		{"all", 20, archive.Selection{Limit: 40}, strings.TrimSpace("j39 " + down(38)), "41", false},
		{"some that match at once", 20, archive.Selection{Limit: 2, Look: 100, Match: match("j39", "j38")}, "j39 j38", "8", true},
		{"some at the end of what was read", 20, archive.Selection{Limit: 2, Look: 100, Match: match("j39", "j32")}, "j39 j32", "8 1", true},
		{"none", 20, archive.Selection{Limit: 2, Look: 100, Match: match()}, "", "8 16 20", false},
		{"none of those that it may look at", 20, archive.Selection{Limit: 2, Look: 24, Match: match()}, "", "8 16 1", true},
		{"none of a few less", 20, archive.Selection{Limit: 2, Look: 25, Match: match()}, "", "8 16 20", false},
		{"none of all, in small pages", 5, archive.Selection{Limit: 2, Look: 12, Match: match()}, "", "5 5 5 1", true},
		{"the last one", 20, archive.Selection{Limit: 1, Look: 100, Match: match("j00")}, "j00", "4 8 16 20", false},
		{"the one at which it stops", 20, archive.Selection{Limit: 1, Look: 40, Match: match("j00")}, "j00", "4 8 16 20", false},
	} {
		w.limits = nil
		l, err := catalog.Paged(c.page).Select(t.Context(), "u", c.sel)
		if err != nil || ids(l.Jobs) != c.want || (l.Next != "") != c.next || strings.Join(w.limits, " ") != c.limits {
			t.Errorf("%s: got %s by reading %v, more %v, %v; want %s by %s, %v", c.name, ids(l.Jobs), w.limits, l.Next != "", err, c.want, c.limits, c.next)
		}
	}
	w.limits = nil
	if jobs, next, err := catalog.ArchivedPage(t.Context(), "u", ""); err != nil || len(jobs) != 40 || next != "" || w.limits[0] != "1000" {
		t.Errorf("a plan's page: %d jobs of at most %v, %q, %v", len(jobs), w.limits, next, err)
	}
	w.limits = nil
	for _, err := range catalog.DueJobs(t.Context(), at) {
		t.Errorf("nothing is due: %v", err)
	}
	if len(w.limits) != 16 || w.limits[0] != "500" {
		t.Errorf("due work is read by pages of %v, want 500 from each of 16 partitions", w.limits)
	}
}

// TestAPageAfterACursorOfAnotherIsNone: the cursor of one list, or of nothing, leads to no jobs
// in any direction.
func TestAPageAfterACursorOfAnotherIsNone(t *testing.T) {
	a := testenv.NewAWS(t)
	submitted(t, a, 0, 3)
	_, archived, err := a.Catalog.Paged(1).ArchivedPage(t.Context(), "u", "")
	if err != nil || archived == "" {
		t.Fatal(archived, err)
	}
	listed, err := a.Catalog.Select(t.Context(), "u", archive.Selection{Limit: 1})
	if err != nil || listed.Next == "" {
		t.Fatal(listed, err)
	}
	for _, cursor := range []string{"x", archived} {
		for _, before := range []bool{false, true} {
			l, err := a.Catalog.Select(t.Context(), "u", archive.Selection{Cursor: cursor, Before: before, Limit: 2})
			if !fault.Is(err, fault.Invalid) || l.Jobs != nil || l.Prev != "" || l.Next != "" {
				t.Errorf("%.20s, before it %v: got %+v, %v", cursor, before, l, err)
			}
		}
	}
	for _, cursor := range []string{"x", listed.Next} {
		if jobs, next, err := a.Catalog.ArchivedPage(t.Context(), "u", cursor); !fault.Is(err, fault.Invalid) || jobs != nil || next != "" {
			t.Errorf("archives after %.20s: got %v, %q, %v", cursor, jobs, next, err)
		}
	}
	w, catalog := wired(a)
	w.deny = 1
	if l, err := catalog.Select(t.Context(), "u", archive.Selection{Cursor: listed.Next, Before: true, Limit: 2}); !fault.Is(err, fault.Denied) || l.Jobs != nil {
		t.Errorf("the page before is denied: got %+v, %v", l, err)
	}
}

// down names the jobs from n to 0.
func down(n int) string {
	var all []string
	for ; n >= 0; n-- {
		all = append(all, fmt.Sprintf("j%02d", n))
	}
	return strings.Join(all, " ")
}

func TestArchivesAreListedPageByPageToTheEnd(t *testing.T) {
	a := testenv.NewAWS(t)
	submitted(t, a, 0, 7)
	set(t, a, testenv.Jobs, nil, with(original(), map[string]av{"job_id": s("of v"), "user_id": s("v"), "archive_id": s("b"), "retrieval_request_id": s("r")}))
	set(t, a, testenv.Jobs, nil, with(original(), map[string]av{"job_id": s("in S3"), "archive_id": nil}))
	catalog := a.Catalog.Paged(3)
	walk := func(next func(cursor string) ([]archive.Job, string, error)) (all []archive.Job, pages int) {
		t.Helper()
		for cursor := ""; ; {
			jobs, after, err := next(cursor)
			if err != nil {
				t.Fatal(err)
			}
			all, pages = append(all, jobs...), pages+1
			if cursor = after; cursor == "" {
				return all, pages
			}
		}
	}
	jobs, pages := walk(func(cursor string) ([]archive.Job, string, error) {
		return catalog.ArchivedPage(t.Context(), "u", cursor)
	})
	if got := ids(jobs); got != "j00 j01 j02 j03 j04 j05 j06" || pages != 3 {
		t.Errorf("the user's: got %s in %d pages", got, pages)
	}
	jobs, pages = walk(func(cursor string) ([]archive.Job, string, error) { return catalog.ArchivedScan(t.Context(), cursor) })
	if got := strings.Fields(strings.ReplaceAll(ids(jobs), "of v", "v")); pages != 3 || len(got) != 8 || !slices.Contains(got, "v") {
		t.Errorf("of all users: got %s in %d pages", got, pages)
	}
	seen := 0
	for job, err := range a.Catalog.AllArchived(t.Context()) {
		if err != nil || job.ArchiveID == "" {
			t.Errorf("got %+v, %v", job, err)
		}
		seen++
	}
	for range a.Catalog.AllArchived(t.Context()) {
		seen++
		break
	}
	if seen != 8+1 {
		t.Errorf("%d archives of all users at once, and the first of them again; want 9", seen)
	}
	for user, want := range map[events.UserID]bool{"u": true, "v": false, "nobody": false} {
		if got, err := catalog.HasArchived(t.Context(), user); err != nil || got != want {
			t.Errorf("user %s has an archive without a retrieval: %v, %v; want %v", user, got, err, want)
		}
	}
	// It may be on a later page.
	for i := range 6 {
		a.SetAttribute(events.JobID(fmt.Sprintf("j%02d", i)), "retrieval_request_id", s("r"))
	}
	if got, err := catalog.HasArchived(t.Context(), "u"); err != nil || !got {
		t.Errorf("the seventh archive alone has no retrieval: %v, %v", got, err)
	}
}

func TestASequenceEndsWhereItsReaderStopsOrWithTheError(t *testing.T) {
	a := testenv.NewAWS(t)
	for i, user := range []events.UserID{"c", "a", "b"} {
		if err := a.Catalog.EnsureAccount(t.Context(), archive.Account{ID: user, Role: archive.Free}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Catalog.SetRole(t.Context(), user, archive.Premium, at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		job := archive.Job{ID: events.JobID(user), UserID: user, Status: "COMPLETED", ArchiveID: "a", ArchiveSize: 1}
		err := a.Catalog.AddJob(t.Context(), job)
		if err == nil {
			err = a.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "t", At: at, Due: at.Add(time.Duration(i) * time.Second)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, list := range map[string]func(c *dynamodb.Catalog, stop int) (got []string, errs []error){
		"DueJobs": func(c *dynamodb.Catalog, stop int) (got []string, errs []error) {
			for id, err := range c.DueJobs(t.Context(), at.Add(time.Minute)) {
				if got, errs = append(got, string(id)), append(errs, err); len(got) == stop {
					break
				}
			}
			return got, errs
		},
		"DuePlans": func(c *dynamodb.Catalog, stop int) (got []string, errs []error) {
			for id, err := range c.DuePlans(t.Context(), at.Add(time.Minute)) {
				if got, errs = append(got, string(id)), append(errs, err); len(got) == stop {
					break
				}
			}
			return got, errs
		},
		"Unannounced": func(c *dynamodb.Catalog, stop int) (got []string, errs []error) {
			for account, err := range c.Unannounced(t.Context()) {
				if got, errs = append(got, string(account.ID)), append(errs, err); len(got) == stop {
					break
				}
			}
			if stop == 0 && len(got) == 3 {
				got = []string{"c", "a", "b"} // it has no order
			}
			return got, errs
		},
	} {
		if got, errs := list(a.Catalog, 0); !slices.Equal(got, []string{"c", "a", "b"}) || errors.Join(errs...) != nil {
			t.Errorf("%s: got %v, %v", name, got, errs)
		}
		if got, errs := list(a.Catalog, 1); len(got) != 1 || errs[0] != nil {
			t.Errorf("%s, and its reader stops: got %v, %v", name, got, errs)
		}
		w, catalog := wired(a)
		w.deny = 1
		if got, errs := list(catalog, 0); !slices.Equal(got, []string{""}) || !fault.Is(errs[0], fault.Denied) {
			t.Errorf("%s is denied: got %q, %v; want one error", name, got, errs)
		}
	}
}

func TestTheBillIsTheSumOfAllJobs(t *testing.T) {
	a := testenv.NewAWS(t)
	for id, billed := range map[string]av{"none": nil, "some": n("70"), "more": n("900"), "odd": s("x")} {
		set(t, a, testenv.Jobs, nil, with(original(), map[string]av{"job_id": s(id), "billed_micro_usd": billed}))
	}
	if got, err := a.Catalog.Billed(t.Context()); err != nil || got != 970 {
		t.Errorf("got %d, %v, want 970", got, err)
	}
}

func TestASurveyNamesWhatIsOddAndWhatIsBlank(t *testing.T) {
	a := testenv.NewAWS(t)
	set(t, a, testenv.Jobs, nil, with(original(), map[string]av{"job_id": s("odd"), "input_file_name": n("1"), "retrieval_tier": null, "archive_size": empty, "billed_tier": list, "tree_hash": s("x")}))
	set(t, a, testenv.Jobs, nil, with(original(), map[string]av{"job_id": s("fine")}))
	var all []dynamodb.Record
	var pages int
	for behind := events.JobID(""); ; {
		page, next, err := a.Catalog.Survey(t.Context(), behind, 1)
		if err != nil || len(page) > 1 {
			t.Fatalf("%d records, %v", len(page), err)
		}
		all, pages = append(all, page...), pages+1
		if behind = next; next == "" {
			break
		}
	}
	slices.SortFunc(all, func(x, y dynamodb.Record) int { return strings.Compare(string(x.Job.ID), string(y.Job.ID)) })
	if len(all) != 2 || pages < 2 {
		t.Fatalf("%d records in %d pages, want two", len(all), pages)
	}
	if fine := all[0]; fine.Job.Doubt() != "" || fine.Odd != nil || fine.Blank != nil {
		t.Errorf("the other job: %+v", fine)
	}
	odd := all[1]
	if len(odd.Odd) != 1 || !strings.HasPrefix(odd.Odd[0], "input_file_name ") || !slices.Equal(odd.Blank, []string{"archive_size", "retrieval_tier"}) || len(odd.Job.Unreadable) != 2 {
		t.Errorf("the odd job: odd %q, blank %q, unreadable %q", odd.Odd, odd.Blank, odd.Job.Unreadable)
	}
}

func TestTablesAreMadeOnceAndGetWhatTheyLack(t *testing.T) {
	a := testenv.NewAWS(t)
	client := ddb.NewFromConfig(a.Config)
	tables := func(n int) (*wire, *dynamodb.Catalog, []estate.Table) {
		cfg := a.Config
		w := &wire{HTTPClient: cfg.HTTPClient}
		cfg.HTTPClient = w
		names := estate.Names{Jobs: fmt.Sprint("jobs-", n), Accounts: fmt.Sprint("accounts-", n), Plans: fmt.Sprint("plans-", n)}
		return w, dynamodb.New(cfg, dynamodb.Tables{Jobs: names.Jobs, Accounts: names.Accounts, Plans: names.Plans}), estate.Tables(names)
	}
	// Each call of the making of new tables, and of tables without indexes, is denied once.
	n := 0
	for _, bare := range []bool{false, true} {
		for deny := 1; ; deny++ {
			n++
			w, catalog, want := tables(n)
			for _, table := range want {
				if bare {
					without := table
					without.Indexes = nil
					if err := catalog.Make(t.Context(), without); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.calls, w.deny = nil, deny
			err := catalog.CreateTables(t.Context())
			if len(w.calls) < deny {
				if err != nil {
					t.Errorf("%v: %v", w.calls, err)
				}
				w.deny = 0
				for _, table := range want {
					found, err := catalog.Look(t.Context(), table.Name)
					if faults := table.Compare(found); err != nil || len(faults) != 0 {
						t.Errorf("table %s: %v, %v", table.Name, faults, err)
					}
				}
				// Once more changes nothing.
				w.calls = nil
				if err := catalog.CreateTables(t.Context()); err != nil || slices.Contains(w.calls, "UpdateTable") {
					t.Errorf("once more: %v, %v", w.calls, err)
				}
				break
			}
			if !fault.Is(err, fault.Denied) {
				t.Errorf("%v is denied: got %v", w.calls, err)
			}
		}
	}
	if found, err := a.Catalog.Look(t.Context(), "no-such-table"); found != nil || err != nil {
		t.Errorf("a table that is not there: %+v, %v", found, err)
	}
	if _, err := client.DeleteTable(t.Context(), &ddb.DeleteTableInput{TableName: aws.String(testenv.Jobs)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Catalog.Job(t.Context(), "j"); !fault.Is(err, fault.Denied) {
		t.Errorf("without the table, a job: %v, want an error of set-up", err)
	}
}

// TestAnItemThatCannotBeAddedToIsReadAndStaysAsItIs: DynamoDB refuses to add to a text.
func TestAnItemThatCannotBeAddedToIsReadAndStaysAsItIs(t *testing.T) {
	a := testenv.NewAWS(t)
	key := map[string]av{"job_id": s("j")}
	it := with(original(), map[string]av{"billed_micro_usd": s("3"), "retrieval_intent": token("t")})
	job := archive.Job{ID: "j", UserID: "u", ArchiveID: "a"}
	for deny := range 3 {
		set(t, a, testenv.Jobs, key, it)
		w, catalog := wired(a)
		w.deny = deny
		err := catalog.SaveRetrieval(t.Context(), job, archive.Intent{Token: "t"}, archive.Retrieval{ID: "r", Tier: archive.Bulk, Cost: 1})
		if w.stale != nil {
			t.Errorf("%v may read what is no longer so", w.stale)
		}
		if want := deny > 0; err == nil || fault.Is(err, fault.Denied) != want {
			t.Errorf("%v: got %v, want that the call is denied: %v", w.calls, err, want)
		}
		if got := kept(t, a, testenv.Jobs, key); got["billed_micro_usd"] != "3" || got["retrieval_request_id"] != "" {
			t.Errorf("the item became %v", got)
		}
	}
	// A NULL is tidied away. If a call of that fails, the call's error is returned.
	it["billed_micro_usd"] = null
	set(t, a, testenv.Jobs, key, it)
	r, recording := recorded(a)
	if err := recording.SaveRetrieval(t.Context(), job, archive.Intent{Token: "t"}, archive.Retrieval{ID: "r", Tier: archive.Bulk, Cost: 1}); err != nil {
		t.Error(err)
	}
	if len(r.sent) != 4 || !strings.Contains(r.sent[2], `"UpdateExpression":"REMOVE billed_micro_usd"`) {
		t.Errorf("it sent %v; want that the third call removes the attribute, and does nothing else", r.sent)
	}
	for deny := range 5 {
		set(t, a, testenv.Jobs, key, it)
		w, catalog := wired(a)
		w.deny = deny
		err := catalog.SaveRetrieval(t.Context(), job, archive.Intent{Token: "t"}, archive.Retrieval{ID: "r", Tier: archive.Bulk, Cost: 1})
		if denied := deny > 0 && len(w.calls) >= deny; denied != fault.Is(err, fault.Denied) || !denied && err != nil {
			t.Errorf("%v, call %d is denied: %v", w.calls, deny, err)
		}
		if deny == 0 && !slices.Equal(w.calls, []string{"UpdateItem", "GetItem", "UpdateItem", "UpdateItem"}) {
			t.Errorf("the calls are %v", w.calls)
		}
	}
}

func TestATableWithOtherNamesIsTidiedAndListedToo(t *testing.T) {
	a := testenv.NewAWS(t)
	names := dynamodb.Names{"archive_id": "vault_id", "retrieval_request_id": "thaw_id"}
	catalog := dynamodb.New(a.Config, dynamodb.Tables{Jobs: "theirs", Accounts: testenv.Accounts, Plans: testenv.Plans, JobNames: names})
	if err := catalog.CreateTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	set(t, a, "theirs", nil, with(original(), map[string]av{"archive_id": nil, "vault_id": s("a"), "thaw_id": null}))
	for job, err := range catalog.AllArchived(t.Context()) {
		if err != nil || job.ArchiveID != "a" || job.RetrievalID != "" {
			t.Errorf("listed as %+v, %v", job, err)
		}
	}
	job, err := catalog.Job(t.Context(), "j")
	if err != nil || job.ArchiveID != "a" || job.Doubt() != "" {
		t.Fatalf("read as %+v, %v", job, err)
	}
	// NULL counts as present for DynamoDB until it is tidied away.
	if err := catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "t", At: at}); err != nil {
		t.Errorf("an intent: %v", err)
	}
	if got := kept(t, a, "theirs", map[string]av{"job_id": s("j")}); got["thaw_id"] != "" || got["vault_id"] != "a" || got["retrieval_tries"] != "#1" {
		t.Errorf("the item is %v", got)
	}
}
