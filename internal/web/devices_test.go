package web

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

func TestAUserSeesAndEndsTheirSessions(t *testing.T) {
	b := newFixture(t)
	desk, phone, lab, bob := b.signedIn("ada", ""), b.signedIn("ada", ""), b.signedIn("ada", ""), b.signedIn("bob", "")
	b.clock.Add(10 * time.Minute)
	desk.get("/")
	page := desk.get("/account")
	desk.wants(page, 200, "Where you are signed in", "Firefox on Linux This one", "End all others")
	if got := strings.Count(page.text(t), "Firefox on Linux since"); got != 2 {
		t.Errorf("the page shows %d other sessions, want 2: %s", got, page.text(t))
	}
	form := page.form(t, "/account/sessions", func(v url.Values) bool { return v.Get("session") != "" })
	// Another user's name of a session ends nothing.
	theirs := bob.get("/account").form(t, "/logout", nil)
	theirs.Set("session", form.Get("session"))
	bob.post("/account/sessions", theirs)
	desk.wants(desk.post("/account/sessions", url.Values{"session": form["session"]}), 403)
	alive := func() (n int) {
		for _, who := range []*browser{desk, phone, lab} {
			if who.still().get("/account").StatusCode == 200 {
				n++
			}
		}
		return n
	}
	if got := alive(); got != 3 {
		t.Errorf("%d sessions are left before one was ended", got)
	}
	if a := desk.still().post("/account/sessions", form); a.StatusCode != 303 || a.Header.Get("Location") != "/account#sessions" {
		t.Errorf("to end a session answers %s %v", a.Status, a.Header)
	}
	if got := alive(); got != 2 {
		t.Errorf("after one was ended, %d are left", got)
	}
	desk.post("/account/sessions", desk.get("/account").form(t, "/logout", nil))
	if got := alive(); got != 1 || desk.still().get("/account").StatusCode != 200 {
		t.Errorf("after all others were ended, %d are left", got)
	}
	if bob.still().get("/account").StatusCode != 200 {
		t.Error("another user is signed out")
	}
	// An idle session is over, and is not shown.
	b.signedIn("ada", "")
	for range 3 {
		b.clock.Add(30 * time.Minute)
		desk.get("/")
	}
	if got := desk.get("/account").text(t); strings.Contains(got, "End all others") {
		t.Errorf("a session that is over is shown: %s", got)
	}
}

func TestABrowserIsNamed(t *testing.T) {
	for header, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0":                                                                 "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0":              "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15":                  "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/130.0 Mobile/15E148 Safari/604.1": "Chrome on iPhone",
		"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36":                           "Chrome on Android",
		"curl/8.0": "curl/8.0", "": "",
	} {
		if got := agentOf(header); got != want {
			t.Errorf("%q is called %q, want %q", header, got, want)
		}
	}
}

func TestAChangeOfPlanIsConfirmedOnce(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", b.clock.Now())
	ada := b.browser()
	ada.signIn("ada", "/subscribe")
	done := ada.post("/subscribe", ada.get("/subscribe").form(t, "/subscribe", nil))
	ada.wants(done, 200, "You are Premium now.", "We request your archived files")
	if got := ada.get("/annotations").text(t); strings.Contains(got, "Premium now") {
		t.Errorf("without the change the list says %s", got)
	}
	free := ada.post("/account/free", ada.get("/account").form(t, "/account/free", nil))
	ada.wants(free, 200, "You are back on the Free plan.")
	ada.wants(free, 200, "Changes of your plan Free ", "Premium ")
	if got := strings.Count(free.body, "<li><span><b>"); got < 3 {
		t.Errorf("the page shows %d changes and sessions, want two and one", got)
	}
	// The address alone confirms nothing.
	if got := ada.get("/annotations?changed=premium").text(t); strings.Contains(got, "Premium now") {
		t.Errorf("a Free user reads %s", got)
	}
	if b.ports.accounts["ada"].Role != archive.Free {
		t.Errorf("the account is %+v", b.ports.accounts["ada"])
	}
}
