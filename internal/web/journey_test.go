package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

func TestAUserGetsTheirFilesBack(t *testing.T) {
	b := newFixture(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b.ports.archived("ada", "j1", at)
	b.ports.archived("ada", "j2", at.Add(time.Hour))
	ada := b.browser()

	ada.wants(ada.get("/"), 200, "Sign in")
	list := ada.signIn("ada", "/annotations")
	if list.Request.URL.Path != "/annotations" {
		t.Fatalf("sign-in led to %s", list.Request.URL)
	}
	ada.wants(list, 200, "sample-j1.vcf", "sample-j2.vcf", "Archived", "1 Mar 2026, 12:00 UTC")
	if acct := b.ports.accounts["ada"]; acct.Role != archive.Free || acct.Name != "Ada Lovelace" || acct.Email != "ada@example.org" {
		t.Errorf("the account is %+v", acct)
	}
	detail := ada.get("/annotation/j1")
	ada.wants(detail, 200, "Upgrade to Premium", "Archived")
	if strings.Contains(detail.body, archive.Restoring) {
		t.Error("an archived file is said to be restored")
	}
	ada.wants(ada.get("/annotation/j1/download"), 409, "in the archive")

	form := ada.get("/subscribe").form(t, "/subscribe", nil)
	done := ada.still().post("/subscribe", form)
	if done.StatusCode != http.StatusSeeOther || done.Header.Get("Location") != "/annotations?changed=premium" {
		t.Fatalf("subscribe answers %s to %q", done.Status, done.Header.Get("Location"))
	}
	if got := b.ports.announced; len(got) != 1 || got[0] != "ada" {
		t.Fatalf("announced %v, want ada once", got)
	}
	if got, changed := b.ports.since[0], b.ports.accounts["ada"].RoleChangedAt; !got.Equal(changed) {
		t.Errorf("announced as of %s, the role changed at %s", got, changed)
	}
	if b.ports.accounts["ada"].Role != archive.Premium || b.ports.accounts["ada"].RoleChangedAt.IsZero() {
		t.Errorf("the account is %+v", b.ports.accounts["ada"])
	}

	// From the second of the upgrade on, nothing is requested yet.
	ada.wants(ada.get("/annotations"), 200, "Being restored", "0 of 2 back")
	ada.wants(ada.get("/annotation/j1"), 200, "The restore of this file is planned.")
	ada.wants(ada.get("/annotation/j1/download"), 409, "planned")

	b.ports.requested("j1", archive.Expedited, at)
	detail = ada.get("/annotation/j1")
	ada.wants(detail, 200, archive.Restoring, "Expedited", "should have handed the file over by 1 Mar 2026, 12:05 UTC")
	if n := strings.Count(detail.body, archive.Restoring); n != 1 {
		t.Errorf("the sentence stands %d times", n)
	}
	if strings.Contains(detail.body, "Download the result") {
		t.Error("a file that is being restored is offered")
	}
	ada.wants(ada.get("/annotation/j1/download"), 409, archive.Restoring)

	b.ports.restored("j1", "the bytes")
	detail = ada.get("/annotation/j1")
	ada.wants(detail, 200, "Download the result")
	if strings.Contains(detail.body, archive.Restoring) {
		t.Error("a file that is back is said to be restored")
	}
	got := ada.get("/annotation/j1/download")
	if got.body != "the bytes" {
		t.Errorf("downloaded %q", got.body)
	}
	if name := b.ports.names[0]; name != "sample.annot.vcf" {
		t.Errorf("the file is saved as %q, want sample.annot.vcf", name)
	}
	for _, line := range []string{"signed in", "plan changed", "upgrade announced", "msg=download"} {
		if !strings.Contains(b.log.String(), line) {
			t.Errorf("the log has no %q", line)
		}
	}

	out := ada.post("/logout", ada.get("/").form(t, "/logout", nil))
	ada.wants(out, 200, "Sign in")
	if a := ada.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the list after sign-out answers %s", a.Status)
	}
}

func TestSubscribeHealsWhatACrashLeft(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	ada := b.browser()
	ada.signIn("ada", "/subscribe")
	press := func() answer {
		return ada.still().post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
	}

	b.ports.change(func() { b.ports.faults["AnnounceUpgrade"] = fault.New(fault.Transient, errors.New("sns is away")) })
	ada.wants(press(), 503, "We try again automatically")
	if b.ports.accounts["ada"].Role != archive.Premium {
		t.Fatal("the role did not change")
	}
	if a := press(); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the second press answers %s", a.Status)
	}
	if len(b.ports.announced) != 1 {
		t.Fatalf("announced %v, want once", b.ports.announced)
	}

	// With everything on its way, pressing announces nothing.
	form := ada.get("/subscribe").form(t, "/subscribe", nil)
	b.ports.requested("j1", archive.Standard, time.Now())
	if a := ada.still().post("/subscribe", form); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the third press answers %s", a.Status)
	}
	if len(b.ports.announced) != 1 {
		t.Errorf("announced %v, want once", b.ports.announced)
	}
	ada.wants(ada.get("/subscribe"), 200, "You are Premium", "on its way")
}

func TestTheListIsPaged(t *testing.T) {
	b := newFixture(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, id := range []string{"j1", "j2", "j3", "j4"} {
		b.ports.archived("ada", jobID(id), at.Add(time.Duration(i)*time.Hour))
	}
	ada := b.browser()
	first := ada.signIn("ada", "/annotations")
	ada.wants(first, 200, "sample-j4.vcf", "sample-j2.vcf", "1 to 3 of 4", "Next")
	if strings.Contains(first.body, "sample-j1.vcf") {
		t.Error("the first page has four jobs")
	}
	second := ada.get("/annotations?after=cursor-j2")
	ada.wants(second, 200, "sample-j1.vcf", "First", "Previous", "4 to 4 of 4")
	if strings.Contains(second.body, "sample-j2.vcf") || strings.Contains(second.text(t), "Next") {
		t.Error("the second page repeats or goes on")
	}
	back := ada.get("/annotations?before=cursor-j1")
	ada.wants(back, 200, "sample-j4.vcf", "sample-j2.vcf")
	if strings.Contains(back.text(t), "Previous") {
		t.Error("the first page has one in front")
	}
	ada.wants(ada.get("/annotations?after=made-up"), 400)
	ada.wants(ada.get("/annotations?before=made-up"), 400)
	ada.wants(ada.get("/annotations?after="+strings.Repeat("x", maxCursor+1)), 400)
	bob := b.browser()
	bob.wants(bob.signIn("bob", "/annotations"), 200, "No annotations yet")
}

func TestOtherPeoplesJobsAreNotFound(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	b.ports.restored("j1", "private")
	bob := b.browser()
	bob.signIn("bob", "/")
	paths := []string{"/annotation/j1", "/annotation/j1/download", "/api/v1/jobs/j1"}
	for _, p := range paths {
		got := bob.get(p)
		never := bob.get(strings.Replace(p, "j1", "j0", 1))
		if strings.HasPrefix(p, "/api") {
			if got.StatusCode != 404 || strings.Contains(got.body, "ada") || strings.Contains(got.body, "sample") {
				t.Errorf("%s answers %s %s", p, got.Status, got.body)
			}
			continue
		}
		bob.wants(got, 404)
		if got.text(t) != never.text(t) {
			t.Errorf("%s: another's job reads %q, one that never was %q", p, got.text(t), never.text(t))
		}
	}
	for _, id := range []string{"%00", "%FF", "a%0Ab", strings.Repeat("x", 513), "..%2F..", "%E2%80%AE"} {
		if a := bob.get("/annotation/" + id); a.StatusCode != 404 && a.StatusCode != 400 {
			t.Errorf("id %q answers %s", id, a.Status)
		}
	}
	if len(b.ports.names) != 0 {
		t.Errorf("presigned %v", b.ports.names)
	}
	// If the address names another user, the answer is still the viewer's own list and stream.
	for _, p := range []string{"/annotations?user=ada", "/annotations?user_id=ada&q=j1", "/api/v1/jobs?user=ada"} {
		if a := bob.get(p); a.StatusCode != 200 || strings.Contains(a.body, "sample-j1") {
			t.Errorf("%s answers %s %s", p, a.Status, a.body)
		}
	}
	b.ports.tell(status("ada", "j1", archive.Restored))
	b.ports.tell(status("bob", "j9", archive.Planned))
	for _, p := range []string{"/events?after=0&user=ada&job=j1", "/api/v1/events?after=0&user=ada"} {
		if id, c := bob.stream(p).change(); id != "s-2" || c.Job != "j9" {
			t.Errorf("%s streams %s %+v first, want bob's own", p, id, c)
		}
	}
}

func TestAJobIDOfAnyBytesHasItsPage(t *testing.T) {
	b := newFixture(t)
	ada := b.browser()
	ada.signIn("ada", "/")
	for _, id := range []string{"a/b", "a b", "é☃", "a?b#c", "100%", `<script>"x"`, "a+b;c"} {
		b.ports.archived("ada", jobID(id), time.Now())
		ada.wants(ada.get("/annotation/"+url.PathEscape(id)), 200, "Archived")
	}
	list := ada.get("/annotations")
	if strings.Contains(list.body, "<script>\"") {
		t.Error("an id is not escaped")
	}
}

func TestAMissingObjectIsNotOffered(t *testing.T) {
	b := newFixture(t)
	j := b.ports.archived("ada", "j1", time.Now())
	b.ports.restored("j1", "x")
	b.ports.change(func() { delete(b.ports.objects, j.Result) })
	ada := b.browser()
	ada.signIn("ada", "/")
	a := ada.get("/annotation/j1")
	ada.wants(a, 200, "cannot be found")
	if strings.Contains(a.body, "Download the result") {
		t.Error("a missing file is offered")
	}
	ada.wants(ada.get("/annotation/j1/download"), 409, "cannot be found")
}

func TestTroubleIsToldInASentence(t *testing.T) {
	b := newFixture(t)
	ada := b.browser()
	ada.signIn("ada", "/")
	b.ports.change(func() { b.ports.faults["Select"] = errors.New("dynamodb: secret internals") })
	a := ada.get("/annotations")
	ada.wants(a, 500, "Something went wrong", a.Header.Get("X-Request-Id"))
	if strings.Contains(a.body, "internals") {
		t.Error("the user reads the operator's chain")
	}
	if !strings.Contains(b.log.String(), "internals") || !strings.Contains(b.log.String(), a.Header.Get("X-Request-Id")) {
		t.Error("the operator does not")
	}
	b.ports.change(func() { b.ports.faults["Select"] = fault.New(fault.Throttled, errors.New("slow down")) })
	a = ada.get("/annotations")
	ada.wants(a, 503)
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// The list is shown even without the overview beside it.
	b.ports.change(func() { b.ports.faults["ArchivedPage"] = errors.New("dynamodb is slow") })
	ada.wants(ada.get("/annotations"), 200, "No annotations yet")
	a = ada.get("/nowhere")
	ada.wants(a, 404, "no such page")
	if !strings.Contains(a.body, "Ada Lovelace") {
		t.Error("the page does not know who is signed in")
	}
	ada.wants(ada.post("/annotations", nil), 405)
}

func TestAPageSaysWhichTiersWereFull(t *testing.T) {
	for _, tt := range []struct {
		tiers archive.Tiers
		tier  archive.Tier
		want  string
	}{
		{archive.DefaultTiers(), archive.Expedited, ""},
		{archive.DefaultTiers(), archive.Standard, "Expedited was full, Standard is used."},
		{archive.Tiers{archive.Expedited, archive.Standard, archive.Bulk}, archive.Bulk, "Expedited and Standard were full, Bulk is used."},
		{archive.Tiers{archive.Standard}, archive.Standard, ""},
		{archive.Tiers{archive.Standard}, archive.Bulk, ""},
		{nil, archive.Standard, ""},
	} {
		b := newFixture(t, func(c *Config, _ *Deps) { c.Tiers = tt.tiers })
		b.ports.archived("ada", "j1", b.clock.Now())
		ada := b.browser()
		ada.signIn("ada", "/")
		ada.post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
		b.ports.requested("j1", tt.tier, b.clock.Now())
		page := ada.get("/annotation/j1").text(t)
		if tt.want == "" && strings.Contains(page, " full, ") || !strings.Contains(page, tt.want) {
			t.Errorf("%s of %v: the page says %q, want %q in it", tt.tier, tt.tiers, page, tt.want)
		}
		var j apiJob
		if ada.get("/api/v1/jobs/j1").into(t, &j); j.Fallback != tt.want {
			t.Errorf("%s of %v: the API says %q, want %q", tt.tier, tt.tiers, j.Fallback, tt.want)
		}
		// The stream says the same.
		e := status("ada", "j1", archive.Requested)
		e.Tier = tt.tier.Told()
		b.ports.tell(e)
		if _, c := ada.stream("/events?after=0").change(); c.Fallback != tt.want {
			t.Errorf("%s of %v: the stream says %q, want %q", tt.tier, tt.tiers, c.Fallback, tt.want)
		}
		// Nothing is full for a file that is back.
		b.ports.restored("j1", "x")
		if strings.Contains(ada.get("/annotation/j1").text(t), " full, ") {
			t.Error("a restored file still tells of the tier")
		}
	}
}
