package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// TestACrashInTheUpgradeIsHealed ends the site at each place between the change of role and
// the announcement. Nobody presses the button again.
func TestACrashInTheUpgradeIsHealed(t *testing.T) {
	sns := fault.New(fault.Transient, errors.New("sns is away"))
	crash := func(b *fixture) {
		b.ports.archived("ada", "j1", time.Now())
		b.ports.change(func() {
			at := b.clock.Now().UTC().Truncate(time.Millisecond)
			b.ports.accounts["ada"] = archive.Account{ID: "ada", Role: archive.Premium, RoleChangedAt: at, AnnounceDue: at}
		})
	}
	healed := func(t *testing.T, b *fixture, times int) {
		t.Helper()
		b.ports.change(func() {
			if len(b.ports.announced) != times || !b.ports.accounts["ada"].AnnounceDue.IsZero() {
				t.Errorf("announced %v, due %s; want %d times and nothing due", b.ports.announced, b.ports.accounts["ada"].AnnounceDue, times)
			}
			for _, since := range b.ports.since {
				if changed := b.ports.accounts["ada"].RoleChangedAt; !since.Equal(changed) {
					t.Errorf("announced as of %s, the role changed at %s", since, changed)
				}
			}
		})
	}
	t.Run("by whoever looks next", func(t *testing.T) {
		b := newFixture(t)
		crash(b)
		ada := b.signedIn("ada", "")
		ada.get("/")
		b.ports.change(func() {
			if len(b.ports.announced) != 0 {
				t.Error("announced while the one who changed the role may be at it")
			}
		})
		b.clock.Add(healAfter + time.Second)
		b.ports.change(func() { b.ports.faults["AnnounceUpgrade"] = sns })
		ada.wants(ada.get("/"), 200)
		ada.wants(ada.get("/"), 200)
		healed(t, b, 1)
	})
	t.Run("by the sweep", func(t *testing.T) {
		b := newFixture(t)
		crash(b)
		b.clock.Add(healAfter + time.Second)
		b.site.healOnce(t.Context())
		b.site.healOnce(t.Context())
		healed(t, b, 1)
	})
	t.Run("after the announcement, before the note", func(t *testing.T) {
		b := newFixture(t)
		b.ports.archived("ada", "j1", time.Now())
		ada := b.signedIn("ada", "")
		form := ada.get("/subscribe").form(t, "/subscribe", nil)
		b.ports.change(func() { b.ports.faults["Announced"] = errors.New("dynamodb is away") })
		ada.post("/subscribe", form)
		b.clock.Add(healAfter + time.Second)
		b.site.healOnce(t.Context())
		healed(t, b, 2)
	})
	t.Run("not once the user is Free again", func(t *testing.T) {
		b := newFixture(t)
		crash(b)
		ada := b.signedIn("ada", "")
		ada.post("/account/free", ada.get("/account").form(t, "/account/free", nil))
		b.clock.Add(healAfter + time.Second)
		b.site.healOnce(t.Context())
		healed(t, b, 0)
	})
}

func TestADowngradeLeavesWhatWasNotAskedFor(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	b.ports.archived("ada", "j2", time.Now())
	b.ports.requested("j2", archive.Standard, time.Now())
	ada := b.browser()
	ada.signIn("ada", "/subscribe")
	ada.post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
	ada.wants(ada.get("/annotation/j1"), 200, "The restore of this file is planned")
	ada.wants(ada.post("/account/free", nil), 403)
	form := ada.get("/account").form(t, "/account/free", nil)
	ada.wants(ada.post("/account/free", form), 200, "Free")
	ada.wants(ada.post("/account/free", form), 200, "Free")
	ada.wants(ada.get("/annotation/j1"), 200, "Archived")
	ada.wants(ada.get("/annotation/j2"), 200, archive.Restoring)
	if n := strings.Count(b.log.String(), "msg=\"plan changed\""); n != 2 {
		t.Errorf("the audit has %d changes of plan, want 2", n)
	}
	// The same over the API.
	csrf := form.Get("csrf")
	req := func(method string) answer {
		r, _ := http.NewRequest(method, b.url+"/api/v1/subscription", nil)
		r.Header.Set(csrfHeader, csrf)
		return ada.do(r)
	}
	for _, c := range []struct{ method, plan string }{{"POST", "premium"}, {"DELETE", "free"}, {"DELETE", "free"}} {
		if a := req(c.method); a.StatusCode != 200 || !strings.Contains(a.body, `"`+c.plan+`"`) {
			t.Errorf("%s answers %s %s", c.method, a.Status, a.body)
		}
	}
}

func TestThePlanPageTellsWhatComesBack(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) {
		c.Tiers, c.PremiumPrice = archive.DefaultTiers(), "$9 a month"
	})
	for i := range 3 {
		b.ports.archived("ada", events.JobID(fmt.Sprint("j", i)), time.Now())
	}
	ada := b.browser()
	by := b.clock.Now().Add(5 * time.Hour)
	ada.wants(ada.signIn("ada", "/subscribe"), 200, "3 files", "3.7 MB", "$9 a month", "by "+utc(by))
	ada.post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
	ada.wants(ada.get("/annotations"), 200, "0 of 3 back, 0 B of 3.7 MB", "Usually all back between "+utc(b.clock.Now().Add(time.Minute)))
	ada.wants(ada.get("/annotation/j1"), 200, "The restore of this file is planned", "between "+utc(b.clock.Now().Add(time.Minute))+" and "+utc(by))
	for i := range 3 {
		b.ports.requested(events.JobID(fmt.Sprint("j", i)), archive.Standard, b.clock.Now())
		b.ports.change(func() {
			j := b.ports.jobs[events.JobID(fmt.Sprint("j", i))]
			j.BilledTier = archive.Standard
			b.ports.jobs[j.ID] = j
		})
		b.ports.restored(events.JobID(fmt.Sprint("j", i)), "x")
	}
	b.moves("ada")
	b.clock.Add(2 * overviewAge)
	ada.wants(ada.get("/annotations"), 200, "All 3 of your files are back", "Ready")
	if a := ada.get("/api/v1/archive"); !strings.Contains(a.body, `"files":0`) {
		t.Errorf("the API says %s", a.body)
	}
}

// moves lets the pipeline do something for the user. It returns when the site has the
// change.
func (b *fixture) moves(user events.UserID) {
	b.t.Helper()
	l, err := b.site.hub.listen(b.t.Context(), user, func() {})
	if err != nil {
		b.t.Fatal(err)
	}
	defer b.site.hub.leave(l)
	b.ports.tell(status(user, "any", archive.Restored))
	select {
	case <-l.changes:
	case <-b.t.Context().Done():
		b.t.Fatal("the site did not get the change")
	}
}

// TestWhatIsInTheArchiveIsCountedAgainWhenItMoves keeps a count for a minute while nothing
// happens, and for moments while something does. It never takes the count for another plan.
func TestWhatIsInTheArchiveIsCountedAgainWhenItMoves(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j0", time.Now())
	b.ports.archived("bob", "b0", time.Now())
	ada, bob := b.browser(), b.browser()
	ada.signIn("ada", "/")
	bob.signIn("bob", "/")
	n := 0
	more := func() { n++; b.ports.archived("ada", events.JobID(fmt.Sprint("j", n)), time.Now()) }
	files := func(who *browser, want int, when string) {
		t.Helper()
		if a := who.get("/api/v1/archive"); !strings.Contains(a.body, fmt.Sprintf(`"files":%d,`, want)) {
			t.Errorf("%s: %s, want %d files", when, a.body, want)
		}
	}
	files(ada, 1, "at first")
	more()
	b.clock.Add(overviewQuiet - time.Second)
	files(ada, 1, "within a minute in which nothing moved")
	b.clock.Add(time.Second)
	files(ada, 2, "a minute later")
	files(bob, 1, "another user")

	more()
	b.moves("ada")
	b.clock.Add(overviewAge - time.Second)
	files(ada, 2, "right after a change")
	b.clock.Add(time.Second)
	files(ada, 3, "moments later")
	// The index may not have had the change yet.
	more()
	b.clock.Add(overviewAge)
	files(ada, 4, "while the index may be behind")
	b.clock.Add(overviewSettles)
	files(ada, 4, "when it is not")
	more()
	b.clock.Add(overviewQuiet - time.Second)
	files(ada, 4, "when it is quiet again")

	// If there are more users than the site remembers, files of all users may have moved.
	for i := range maxOverviews + 1 {
		b.site.archived.move(events.UserID(fmt.Sprint("user-", i)))
	}
	b.clock.Add(time.Second)
	files(ada, 5, "when it is not known who moved")

	more()
	ada.post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
	files(ada, 6, "with another plan")
}

func TestAPageTellsHowFarTheCopyIs(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	b.ports.tell(status("ada", "j1", archive.Copying)) // of an earlier retrieval
	b.ports.requested("j1", archive.Standard, time.Now().Add(time.Second))
	ada := b.browser()
	ada.signIn("ada", "/")
	a := ada.get("/annotation/j1")
	ada.wants(a, 200, "Being restored")
	if strings.Contains(a.body, "<progress") {
		t.Error("a bar is shown while nothing moves")
	}
	later := func(st archive.State) {
		e := status("ada", "j1", st)
		e.At = time.Now().Add(time.Minute)
		b.ports.tell(e)
	}
	later(archive.Copying)
	a = ada.get("/annotation/j1")
	ada.wants(a, 200, archive.Restoring, "5 B of 10 B")
	if !strings.Contains(a.body, `<progress max="10" value="5"`) {
		t.Error("no bar is shown while bytes move")
	}
	later(archive.Verifying)
	a = ada.get("/annotation/j1")
	ada.wants(a, 200, "Checking")
	if strings.Contains(a.body, "<progress") {
		t.Error("a bar is shown after the bytes have moved")
	}
	b.ports.change(func() { b.ports.faults["Last"] = errors.New("nats is away") })
	ada.wants(ada.get("/annotation/j1"), 200, "Being restored")
}

func TestTheListIsNarrowedAndTurned(t *testing.T) {
	b := newFixture(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 8 {
		b.ports.archived("ada", events.JobID(fmt.Sprint("j", i)), at.Add(time.Duration(i)*time.Hour))
	}
	b.ports.requested("j1", archive.Standard, at)
	b.ports.restored("j2", "x")
	ada := b.browser()
	ada.signIn("ada", "/")
	names := func(a answer) (got []string) {
		for _, part := range strings.Split(a.body, `data-job="`)[1:] {
			id, _, _ := strings.Cut(part, `"`)
			got = append(got, id)
		}
		return got
	}
	for path, want := range map[string]string{
		"/annotations":                                "[j7 j6 j5]",
		"/annotations?sort=oldest":                    "[j0 j1 j2]",
		"/annotations?state=coming":                   "[j1]",
		"/annotations?state=ready":                    "[j2]",
		"/annotations?state=archived":                 "[j7 j6 j5]",
		"/annotations?state=running":                  "[]",
		"/annotations?q=SAMPLE-J3":                    "[j3]",
		"/annotations?q=sample&sort=oldest":           "[j0 j1 j2]",
		"/annotations?q=sample&state=coming":          "[j1]",
		"/annotations?q=%22%3E%3Cscript%3Ex":          "[]",
		"/annotations?q=sample&after=cursor-j5":       "[j4 j3 j2]",
		"/annotations?sort=oldest&after=cursor-j5":    "[j6 j7]",
		"/annotations?state=archived&after=cursor-j3": "[j0]",
	} {
		a := ada.get(path)
		if got := fmt.Sprint(names(a)); a.StatusCode != 200 || got != want {
			t.Errorf("%s answers %s with %s, want %s", path, a.Status, got, want)
		}
		if strings.Contains(a.body, "<script>x") {
			t.Errorf("%s runs what was searched for", path)
		}
	}
	// In an order that the catalog does not have, through its pages and back.
	for sort, want := range map[string][]string{
		"name":  {"[j0 j1 j2]", "[j3 j4 j5]", "[j6 j7]"},
		"size":  {"[j7 j5 j6]", "[j0 j1 j2]", "[j3 j4]"},
		"state": {"[j0 j3 j4]", "[j5 j6 j7]", "[j1 j2]"},
	} {
		b.ports.change(func() {
			for i, id := range []events.JobID{"j6", "j5", "j7"} {
				j := b.ports.jobs[id]
				j.ArchiveSize = 1_240_000 + 10_000*int64(i)
				b.ports.jobs[id] = j
			}
		})
		path, before := "/annotations?sort="+sort, ""
		for i, w := range want {
			a := ada.get(path)
			if got := fmt.Sprint(names(a)); got != w {
				t.Errorf("by %s, page %d has %s, want %s", sort, i, got, w)
			}
			before = a.link(t, "prev")
			if path = a.link(t, "next"); (path == "") != (i == 2) || (before == "") != (i == 0) {
				t.Errorf("by %s, page %d leads to %q and back to %q", sort, i, path, before)
			}
		}
		if got := fmt.Sprint(names(ada.get(before))); got != want[1] {
			t.Errorf("by %s, the page in front of the last has %s, want %s", sort, got, want[1])
		}
	}
	ada.wants(ada.get("/annotations?sort=name"), 200, "1 to 3 of 8")
	ada.wants(ada.get("/annotations?sort=size&after=e30"), 400)
	// The links keep the filter.
	next := ada.get("/annotations?q=sample&state=archived&sort=oldest")
	if !strings.Contains(next.body, "after=cursor-j4&amp;q=sample&amp;sort=oldest&amp;state=archived") {
		t.Errorf("the next page forgets the filter:\n%s", next.body)
	}
	for _, bad := range []string{"?state=x", "?sort=x", "?q=" + strings.Repeat("x", maxSearch+1), "?q=%ff", "?q=a%00", "?after=" + strings.Repeat("x", maxCursor+1)} {
		ada.wants(ada.get("/annotations"+bad), 400)
		if a := ada.get("/api/v1/jobs" + bad); a.StatusCode != 400 {
			t.Errorf("the API answers %s to %s", a.Status, bad)
		}
	}
}

func TestMoreThanCanBeSortedAreListedByDate(t *testing.T) {
	b := newFixture(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range maxSorted {
		b.ports.archived("ada", events.JobID(fmt.Sprintf("j%05d", i)), at.Add(time.Duration(i)*time.Second))
	}
	ada := b.browser()
	ada.signIn("ada", "/")
	ada.wants(ada.get("/annotations?sort=name"), 200, "sample-j00000.vcf", "1 to 3 of 10 000")
	b.ports.archived("ada", "one-more", at.Add(time.Hour*24))
	b.clock.Add(overviewQuiet)
	a := ada.get("/annotations?sort=name")
	ada.wants(a, 200, "sample-one-more.vcf", "you can sort them by date only", "3 here, and more")
	if got := a.link(t, "next"); strings.Contains(got, "sort=") {
		t.Errorf("the next page is %s, want one by date", got)
	}
	if a := ada.get("/api/v1/jobs?sort=name"); a.StatusCode != 400 || !strings.Contains(a.body, "sorted by date only") {
		t.Errorf("the API answers %s %s", a.Status, a.body)
	}
}

func TestAListTellsHowFarTheCopiesAre(t *testing.T) {
	b := newFixture(t)
	at := time.Now()
	b.ports.archived("ada", "j1", at)
	b.ports.archived("ada", "j2", at)
	b.ports.requested("j1", archive.Standard, at)
	b.ports.requested("j2", archive.Standard, at)
	b.ports.tell(events.StatusChanged{UserID: "ada", JobID: "j1", State: archive.Copying, Bytes: 1, Size: 2, At: at.Add(time.Minute)})
	ada := b.browser()
	a := ada.signIn("ada", "/annotations")
	ada.wants(a, 200, "Being restored")
	if !strings.Contains(a.body, `data-job="j1" data-state="copying"`) {
		t.Errorf("the row has not the stage that the stream goes on from:\n%s", a.body)
	}
}

func TestTooMuchInAShortTimeIsRefused(t *testing.T) {
	t.Run("requests", func(t *testing.T) {
		b := newFixture(t, func(c *Config, _ *Deps) { c.Rate = 1 })
		v := b.browser()
		refused := 0
		for range 15 {
			if a := v.get("/"); a.StatusCode == http.StatusTooManyRequests {
				refused++
				if a.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
		}
		if refused < 4 {
			t.Errorf("%d of 15 were refused, want those beyond 10", refused)
		}
	})
	t.Run("changes", func(t *testing.T) {
		b := newFixture(t)
		ada, bob := b.signedIn("ada", ""), b.signedIn("bob", "")
		last := 0
		for range burstChanges + 2 {
			last = ada.post("/subscribe", url.Values{"csrf": {"guess"}}).StatusCode
		}
		if last != http.StatusTooManyRequests {
			t.Errorf("the last of many guesses answers %d", last)
		}
		bob.wants(bob.post("/subscribe", nil), 403)
	})
	t.Run("an address is the proxy's word from the proxy alone", func(t *testing.T) {
		for proxy, refused := range map[string]bool{"127.0.0.1": false, "10.0.0.1": true} {
			b := newFixture(t, func(c *Config, _ *Deps) { c.Rate, c.TrustProxy = 1, []string{proxy} })
			v, any := b.browser(), false
			for i := range 15 {
				req, _ := http.NewRequest(http.MethodGet, b.url+"/", nil)
				req.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
				any = any || v.do(req).StatusCode == http.StatusTooManyRequests
			}
			if any != refused {
				t.Errorf("with the proxy %s, 15 addresses: refused %v, want %v", proxy, any, refused)
			}
		}
	})
}

// If somebody at the service has to act first, every page tells the user so. The user need
// not ask again.
func TestEachPageSaysWhatWaitsForTheService(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	ada := b.signedIn("ada", "")
	says := func(path string) string {
		t.Helper()
		page := ada.get(path)
		ada.wants(page, 200)
		_, rest, waits := strings.Cut(page.body, `data-tone="cold" role="status"`)
		if !waits {
			return ""
		}
		sentence, _, _ := strings.Cut(rest, "</p>")
		return sentence
	}
	hold := archive.Hold{Reason: "the vault is <moved>", At: time.Now()}
	b.ports.change(func() { b.ports.stops.All = &hold })
	if got := says("/annotations"); got != "" {
		t.Errorf("a Free user without a plan is told %q", got)
	}
	at := b.clock.Now().UTC()
	if _, err := b.ports.SetRole(t.Context(), "ada", archive.Premium, at); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/annotations", "/subscribe", "/account", "/annotation/j1"} {
		if got := says(path); !strings.Contains(got, "paused bringing files back: the vault is &lt;moved&gt;.") || !strings.Contains(got, "do not need to ask again") {
			t.Errorf("%s says %q while everything is paused", path, got)
		}
	}
	b.ports.change(func() {
		b.ports.stops = archive.Switches{}
		b.ports.accounts["ada"].Plan.State = archive.PlanHeld
	})
	if got := says("/annotations"); !strings.Contains(got, "waits for approval") {
		t.Errorf("the list says %q while the plan is held", got)
	}
	b.ports.change(func() { b.ports.faults["Switches"] = errors.New("dynamodb is away") })
	ada.wants(ada.get("/annotations"), 200)
	b.ports.change(func() { b.ports.accounts["ada"].Plan.State = archive.PlanOpen })
	if got := says("/annotations"); got != "" {
		t.Errorf("the list says %q while nothing waits", got)
	}
}
