// Package sitetest says what the site relies on at its ports. The real adapters pass it, and
// so does the fixture of the site's own tests: so a test that passes with the fixture says
// something about the product.
package sitetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

// Ports are the ports of a site, and the ways to change what is behind them.
type Ports struct {
	Accounts  web.Accounts
	Jobs      web.Jobs
	Downloads web.Downloads
	Statuses  web.Statuses
	Sessions  web.SessionStore
	// Bucket is a bucket that is there.
	Bucket string
	// AddJob adds a job to the catalog.
	AddJob func(archive.Job)
	// PutObject stores body at the object.
	PutObject func(o archive.Object, body string)
	// Get asks for the URL of a download.
	Get func(url string) (*http.Response, error)
	// Report adds a change to the stream of statuses.
	Report func(events.StatusChanged)
	// Remake deletes the stream of statuses and makes it anew.
	Remake func()
}

// begin is when everything here begins, in milliseconds, as the catalog stores times.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Run runs the suite. It asks for new ports for each part.
func Run(t *testing.T, ports func(*testing.T) Ports) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Ports)
	}{
		{"an account is made once", accountIsMadeOnce},
		{"an account belongs to its issuer", accountBelongsToItsIssuer},
		{"the role changes with the plan", roleChangesWithPlan},
		{"an announcement is due until it was made", announcementIsDue},
		{"a plan is opened once", planIsOpenedOnce},
		{"a job is read with the account", jobIsReadWithAccount},
		{"pages add up to the list", pagesAddUp},
		{"a page in front is full", pageInFrontIsFull},
		{"a cursor leads to nobody else's jobs", cursorIsForOneUser},
		{"what is in the vault", archived},
		{"a download has its parameters", download},
		{"statuses are followed and looked up", statuses},
		{"a stream that was made anew is another one", remade},
		{"a store forgets what is over", stored},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, ports(t)) })
	}
}

// wantKind holds err to a kind.
func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v, want an error of kind %s", what, err, kind)
	}
}

// account reads an account that is there.
func account(t *testing.T, p Ports, user events.UserID) archive.Account {
	t.Helper()
	a, err := p.Accounts.Account(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// signIn makes an account.
func signIn(t *testing.T, p Ports, a archive.Account, former ...string) {
	t.Helper()
	if err := p.Accounts.SignIn(t.Context(), a, former); err != nil {
		t.Fatal(err)
	}
}

func accountIsMadeOnce(t *testing.T, p Ports) {
	_, err := p.Accounts.Account(t.Context(), "ada")
	wantKind(t, "an account that is not there", err, fault.NotFound)
	ada := archive.Account{ID: "ada", Name: "Ada", Email: "ada@example.org", Issuer: "https://idp.example", Role: archive.Free}
	for range 2 {
		signIn(t, p, ada)
		if got := account(t, p, "ada"); got != ada {
			t.Errorf("the account is %+v, want %+v", got, ada)
		}
	}
	if _, err := p.Accounts.SetRole(t.Context(), "ada", archive.Premium, begin); err != nil {
		t.Fatal(err)
	}
	before := account(t, p, "ada")
	ada.Name, ada.Email = "Ada King", ""
	signIn(t, p, ada)
	got := account(t, p, "ada")
	if got.Name != "Ada King" || got.Email != "ada@example.org" {
		t.Errorf("the account has %q and %q, want the new name and the address that is known", got.Name, got.Email)
	}
	if got.Role != archive.Premium || !got.RoleChangedAt.Equal(begin) || got.Plan == nil || got.Plan.ID != before.Plan.ID {
		t.Errorf("a sign-in changed the role or the plan: %+v, was %+v", got, before)
	}
}

func accountBelongsToItsIssuer(t *testing.T, p Ports) {
	of := func(issuer string) archive.Account {
		return archive.Account{ID: "ada", Issuer: issuer, Role: archive.Free}
	}
	signIn(t, p, of("https://old.example"))
	if err := p.Accounts.SignIn(t.Context(), of("https://new.example"), nil); !errors.Is(err, archive.ErrIssuer) {
		t.Errorf("from another issuer: got %v, want %v", err, archive.ErrIssuer)
	}
	if got := account(t, p, "ada").Issuer; got != "https://old.example" {
		t.Errorf("a refused sign-in made the issuer %q", got)
	}
	signIn(t, p, of("https://new.example"), "https://old.example")
	if got := account(t, p, "ada").Issuer; got != "https://new.example" {
		t.Errorf("the issuer is %q, want the new one", got)
	}
}

func roleChangesWithPlan(t *testing.T, p Ports) {
	_, err := p.Accounts.SetRole(t.Context(), "ada", archive.Premium, begin)
	wantKind(t, "the role of nobody", err, fault.NotFound)
	signIn(t, p, archive.Account{ID: "ada", Role: archive.Free})
	set := func(role archive.Role, at time.Time, want bool) archive.Account {
		t.Helper()
		changed, err := p.Accounts.SetRole(t.Context(), "ada", role, at)
		if err != nil || changed != want {
			t.Errorf("%s at %s: changed %v, %v; want %v", role, at, changed, err, want)
		}
		return account(t, p, "ada")
	}
	if got := set(archive.Free, begin, false); !got.RoleChangedAt.IsZero() {
		t.Errorf("what did not change, changed at %s", got.RoleChangedAt)
	}
	first := set(archive.Premium, begin, true)
	if plan := first.Plan; plan == nil || plan.ID == "" || plan.State != archive.PlanOpen || plan.Why != archive.Upgrade || !plan.UpgradedAt.Equal(begin) || !plan.OpenedAt.Equal(begin) {
		t.Fatalf("the plan is %+v, want an open one since %s", plan, begin)
	}
	if first.Role != archive.Premium || !first.RoleChangedAt.Equal(begin) || !first.AnnounceDue.Equal(begin) {
		t.Errorf("the account is %+v, want Premium since %s, and the announcement due", first, begin)
	}
	again := set(archive.Premium, begin.Add(time.Hour), false)
	if again.Plan == nil || again.Plan.ID != first.Plan.ID || !again.RoleChangedAt.Equal(begin) || !again.AnnounceDue.Equal(begin) {
		t.Errorf("the second time changed %+v to %+v", first, again)
	}
	free := set(archive.Free, begin.Add(2*time.Hour), true)
	if free.Plan != nil || !free.AnnounceDue.IsZero() || !free.RoleChangedAt.Equal(begin.Add(2*time.Hour)) {
		t.Errorf("the Free account is %+v, want no plan and nothing to announce", free)
	}
	if second := set(archive.Premium, begin.Add(3*time.Hour), true); second.Plan == nil || second.Plan.ID == first.Plan.ID {
		t.Errorf("the second upgrade has the plan %+v, want another than %s", second.Plan, first.Plan.ID)
	}
}

func announcementIsDue(t *testing.T, p Ports) {
	due := func() []events.UserID {
		t.Helper()
		var all []events.UserID
		for a, err := range p.Accounts.Unannounced(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if a.Plan == nil || a.Role != archive.Premium {
				t.Errorf("the account comes as %+v, want its role and its plan", a)
			}
			all = append(all, a.ID)
		}
		slices.Sort(all)
		return all
	}
	for _, user := range []events.UserID{"ada", "bob", "eve"} {
		signIn(t, p, archive.Account{ID: user, Role: archive.Free})
	}
	for _, user := range []events.UserID{"ada", "bob"} {
		if _, err := p.Accounts.SetRole(t.Context(), user, archive.Premium, begin); err != nil {
			t.Fatal(err)
		}
	}
	announced := func(user events.UserID, at time.Time) {
		t.Helper()
		if err := p.Accounts.Announced(t.Context(), user, at); err != nil {
			t.Error(err)
		}
	}
	announced("ada", begin.Add(-time.Second)) // an earlier upgrade
	if got := due(); !slices.Equal(got, []events.UserID{"ada", "bob"}) {
		t.Errorf("due are %v, want ada and bob", got)
	}
	announced("ada", begin)
	announced("ada", begin)
	announced("eve", begin)
	if got := due(); !slices.Equal(got, []events.UserID{"bob"}) {
		t.Errorf("due are %v, want bob", got)
	}
	if got := account(t, p, "ada"); got.Plan == nil || !got.AnnounceDue.IsZero() {
		t.Errorf("the announced account is %+v, want its plan and nothing to announce", got)
	}
}

func planIsOpenedOnce(t *testing.T, p Ports) {
	plan := func(id string) archive.Plan {
		return archive.Plan{ID: id, UpgradedAt: begin, Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: begin, Due: begin}
	}
	open := func(a archive.Account, id string) error { return p.Accounts.OpenPlan(t.Context(), a, plan(id)) }
	wantKind(t, "a plan of nobody", open(archive.Account{ID: "nobody", Role: archive.Premium}, "x"), fault.Conflict)
	signIn(t, p, archive.Account{ID: "ada", Role: archive.Premium}) // as another system makes it: without a plan
	was := account(t, p, "ada")
	stale := was
	stale.Role = archive.Free
	wantKind(t, "with another role", open(stale, "one"), fault.Conflict)
	stale = was
	stale.RoleChangedAt = begin
	wantKind(t, "with another change of role", open(stale, "one"), fault.Conflict)
	if err := open(was, "one"); err != nil {
		t.Fatal(err)
	}
	got := account(t, p, "ada")
	if got.Plan == nil || got.Plan.ID != "one" || !got.Plan.UpgradedAt.Equal(begin) || got.Plan.State != archive.PlanOpen {
		t.Errorf("the plan is %+v, want the one that was opened", got.Plan)
	}
	wantKind(t, "a second plan", open(got, "two"), fault.Conflict)
	stale = got
	stale.PlansOpened = 0
	wantKind(t, "with what was read before", open(stale, "two"), fault.Conflict)

	// Without a plan, the count alone tells that another one was opened and is over.
	if _, err := p.Accounts.SetRole(t.Context(), "ada", archive.Free, begin); err != nil {
		t.Fatal(err)
	}
	stale = account(t, p, "ada")
	if stale.PlansOpened != 1 {
		t.Errorf("the account counts %d opened plans, want 1", stale.PlansOpened)
	}
	stale.PlansOpened = 0
	wantKind(t, "with an older count", open(stale, "two"), fault.Conflict)
}

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

func download(t *testing.T, p Ports) {
	o := archive.Object{Bucket: p.Bucket, Key: "gas/ada/a1~é +&?#%2f.vcf"}
	if there, err := p.Downloads.Exists(t.Context(), o); err != nil || there {
		t.Errorf("before it was put: there %v, %v", there, err)
	}
	p.PutObject(o, "the result")
	if there, err := p.Downloads.Exists(t.Context(), o); err != nil || !there {
		t.Errorf("after it was put: there %v, %v", there, err)
	}
	for _, name := range []string{"out.vcf", "пример é (1).vcf"} {
		to, err := p.Downloads.PresignGet(t.Context(), o, name)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			t.Fatalf("the link is %q, %v", to, err)
		}
		q := u.Query()
		if kind, params, err := mime.ParseMediaType(q.Get("response-content-disposition")); err != nil || kind != "attachment" || params["filename"] != name {
			t.Errorf("the link saves as %q, %v; want %q", q.Get("response-content-disposition"), err, name)
		}
		if q.Get("X-Amz-Expires") != "300" || q.Get("X-Amz-Signature") == "" {
			t.Errorf("the link has the parameters %v, want five minutes and a signature", q)
		}
		resp, err := p.Get(to)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100)
		n, _ := resp.Body.Read(body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(body[:n]) != "the result" {
			t.Errorf("the link answers %s and %q", resp.Status, body[:n])
		}
		if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err != nil || params["filename"] != name {
			t.Errorf("the answer saves as %q, want %q", resp.Header.Get("Content-Disposition"), name)
		}
	}
	none, err := p.Downloads.PresignGet(t.Context(), archive.Object{Bucket: p.Bucket, Key: "none"}, "none")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.Get(none)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a link to nothing answers %s, want 404", resp.Status)
	}
}

// report adds changes to the stream, each of another job of the user.
func report(p Ports, user events.UserID, jobs ...string) {
	for _, id := range jobs {
		p.Report(events.StatusChanged{JobID: events.JobID(id), UserID: user, State: events.State(archive.Planned), At: begin})
	}
}

func position(t *testing.T, p Ports) events.Position {
	t.Helper()
	at, err := p.Statuses.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// follow begins to follow, and returns what comes next.
func follow(ctx context.Context, t *testing.T, p Ports, after events.Position) func() (web.Status, error, bool) {
	t.Helper()
	next, stop := iter.Pull2(p.Statuses.Follow(ctx, after))
	t.Cleanup(stop)
	return next
}

func kept(t *testing.T, p Ports, user events.UserID, after, upto events.Position) ([]string, error) {
	t.Helper()
	var got []string
	for st, err := range p.Statuses.Kept(t.Context(), user, after, upto) {
		if err != nil {
			return got, err
		}
		if st.UserID != user {
			t.Errorf("a change of %s is kept for %s", st.UserID, user)
		}
		got = append(got, fmt.Sprint(st.Position.Seq, " ", st.JobID))
	}
	return got, nil
}

func statuses(t *testing.T, p Ports) {
	start := position(t, p)
	if start.Incarnation == "" || start.Seq != 0 {
		t.Errorf("an empty stream is at %s, want its beginning", start)
	}
	report(p, "ada", "a1")
	report(p, "bob", "b1")
	report(p, "ada", "a2")
	at := func(seq uint64) events.Position { return events.Position{Incarnation: start.Incarnation, Seq: seq} }
	if now := position(t, p); now != at(3) {
		t.Errorf("the stream is at %s, want %s", now, at(3))
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	next := follow(ctx, t, p, at(1))
	for i, want := range []events.JobID{"b1", "a2"} {
		if st, err, ok := next(); err != nil || !ok || st.JobID != want || st.Position != at(uint64(i)+2) {
			t.Fatalf("got %+v, %v; want %s", st, err, want)
		}
	}
	report(p, "ada", "a3")
	if st, err, ok := next(); err != nil || !ok || st.JobID != "a3" || st.Position != at(4) || !st.At.Equal(begin) || st.State != events.State(archive.Planned) {
		t.Fatalf("got %+v, %v; want a3 as it comes", st, err)
	}
	stop()
	if st, err, ok := next(); ok {
		t.Errorf("after the end of its context it goes on with %+v, %v", st, err)
	}

	for _, c := range []struct {
		after, upto uint64
		want        []string
	}{
		{0, 4, []string{"1 a1", "3 a2", "4 a3"}}, {1, 3, []string{"3 a2"}}, {1, 2, nil}, {3, 9, []string{"4 a3"}}, {4, 4, nil}, {9, 4, nil},
	} {
		if got, err := kept(t, p, "ada", at(c.after), at(c.upto)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("after %d up to %d: got %v, %v; want %v", c.after, c.upto, got, err, c.want)
		}
	}

	p.Report(events.StatusChanged{JobID: "a1", UserID: "ada", State: events.State(archive.Requested), At: begin.Add(time.Hour)})
	if e, ok, err := p.Statuses.Last(t.Context(), "ada", "a1"); err != nil || !ok || e.State != events.State(archive.Requested) {
		t.Errorf("the last of a1 is %+v, %v, %v", e, ok, err)
	}
	for _, none := range [][2]string{{"bob", "a1"}, {"ada", "none"}} {
		if e, ok, err := p.Statuses.Last(t.Context(), events.UserID(none[0]), events.JobID(none[1])); err != nil || ok {
			t.Errorf("the last of %v is %+v, %v", none, e, err)
		}
	}
}

func remade(t *testing.T, p Ports) {
	report(p, "ada", "a1", "a2", "a3")
	old := position(t, p)
	next := follow(t.Context(), t, p, events.Position{Incarnation: old.Incarnation, Seq: old.Seq - 1})
	if st, err, ok := next(); err != nil || !ok || st.JobID != "a3" {
		t.Fatalf("got %+v, %v", st, err)
	}
	p.Remake()
	begun := time.Now()
	if st, err, ok := next(); !ok || err == nil {
		t.Errorf("a follower gets %+v after the stream was made anew, want an error", st)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("whoever follows learns it after %s, want seconds", took)
	}
	now := position(t, p)
	if now.Incarnation == old.Incarnation || now.Seq != 0 {
		t.Errorf("the new stream is at %s, the old one was at %s", now, old)
	}
	report(p, "ada", "b1")
	if got, err := kept(t, p, "ada", events.Position{Incarnation: old.Incarnation}, old); err == nil {
		t.Errorf("kept of the old stream are %v, want an error", got)
	}
	for _, after := range []events.Position{old, {Incarnation: position(t, p).Incarnation, Seq: 9}} {
		for st, err := range p.Statuses.Follow(t.Context(), after) {
			if err == nil {
				t.Errorf("after %s comes %+v, want an error", after, st)
			}
			break
		}
	}
	if e, ok, err := p.Statuses.Last(t.Context(), "ada", "a1"); err != nil || ok {
		t.Errorf("the new stream has a last change of a1: %+v, %v", e, err)
	}
	if got, err := kept(t, p, "ada", now, position(t, p)); err != nil || !slices.Equal(got, []string{"1 b1"}) {
		t.Errorf("kept of the new stream are %v, %v; want b1", got, err)
	}
}

func stored(t *testing.T, p Ports) {
	get := func(key, want string) {
		t.Helper()
		if got, err := p.Sessions.Get(t.Context(), key); err != nil || string(got) != want || want == "" && got != nil {
			t.Errorf("at %s is %q, %v; want %q", key, got, err, want)
		}
	}
	set := func(key, value string, ttl time.Duration) {
		t.Helper()
		if err := p.Sessions.Set(t.Context(), key, []byte(value), ttl); err != nil {
			t.Error(err)
		}
	}
	get("session.aa", "")
	set("session.aa", "one", time.Hour)
	set("session.aa", "two", time.Hour)
	get("session.aa", "two")
	set("session.over", "x", time.Nanosecond)
	get("session.over", "")
	set("session.none", "", time.Hour)
	get("session.none", "")
	get("not a key!", "") // a browser's cookie may be anything
	for range 2 {
		if err := p.Sessions.Delete(t.Context(), "session.aa"); err != nil {
			t.Error(err)
		}
		get("session.aa", "")
	}
	for _, key := range []string{"user.aa.1", "user.aa.2", "user.ab.3", "user.aa"} {
		set(key, "x", time.Hour)
	}
	for prefix, want := range map[string][]string{"user.aa.": {"user.aa.1", "user.aa.2"}, "none.": nil} {
		got, err := p.Sessions.Keys(t.Context(), prefix)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("under %s are %v, %v; want %v", prefix, got, err, want)
		}
	}
}
