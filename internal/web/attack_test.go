package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

func jobID(s string) events.JobID { return events.JobID(s) }

func TestACallbackIsRefused(t *testing.T) {
	with := func(raw, key, value string) string {
		u, _ := url.Parse(raw)
		q := u.Query()
		if value == "" {
			q.Del(key)
		} else {
			q.Set(key, value)
		}
		u.RawQuery = q.Encode()
		return u.String()
	}
	tests := map[string]func(b *fixture, victim *browser) answer{
		"with a forged state": func(_ *fixture, v *browser) answer { return v.get(with(v.callback("ada"), "state", "FORGED")) },
		"without a state":     func(_ *fixture, v *browser) answer { return v.get(with(v.callback("ada"), "state", "")) },
		"with a long state": func(_ *fixture, v *browser) answer {
			return v.get(with(v.callback("ada"), "state", strings.Repeat("x", 4096)))
		},
		"with a forged code": func(_ *fixture, v *browser) answer { return v.get(with(v.callback("ada"), "code", "FORGED")) },
		"without a code":     func(_ *fixture, v *browser) answer { return v.get(with(v.callback("ada"), "code", "")) },
		"from another issuer": func(_ *fixture, v *browser) answer {
			return v.get(with(v.callback("ada"), "iss", "https://evil.example"))
		},
		"from another browser": func(b *fixture, v *browser) answer {
			return v.get(b.browser().callback("bob"))
		},
		"from another browser, though this one signs in too": func(b *fixture, v *browser) answer {
			v.get("/login")
			return v.get(b.browser().callback("bob"))
		},
		"too late": func(b *fixture, v *browser) answer {
			cb := v.callback("ada")
			b.clock.Add(loginLifetime + time.Second)
			return v.get(cb)
		},
		"with another sign-in's code": func(b *fixture, v *browser) answer {
			// The attacker's own code in the victim's sign-in: PKCE and nonce.
			other, _ := url.Parse(b.browser().callback("bob"))
			return v.get(with(v.callback("ada"), "code", other.Query().Get("code")))
		},
	}
	for name, attack := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t)
			victim := b.browser()
			a := attack(b, victim)
			victim.wants(a, http.StatusBadRequest, "Sign-in stopped")
			if victim.cookie(sessionCookie) != "" {
				t.Error("a session was started")
			}
			if a := victim.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
				t.Errorf("the list answers %s", a.Status)
			}
		})
	}
}

func TestACallbackIsGoodOnce(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	cb := v.callback("ada")
	v.wants(v.get(cb), 200)
	first := v.cookie(sessionCookie)
	v.wants(v.get(cb), 400, "Sign-in stopped")
	if v.cookie(sessionCookie) != first {
		t.Error("the replay touched the session")
	}
	v.wants(v.get("/annotations"), 200)
}

// TestAWrongNonceIsRefused lets the provider answer with a token that has another nonce. A
// stolen token has another nonce, too.
func TestAWrongNonceIsRefused(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	start := v.still().get("/login")
	to, err := start.Location()
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	q.Set("nonce", "another")
	to.RawQuery = q.Encode()
	people := v.get(to.String())
	form := people.form(t, "/login", func(v url.Values) bool { return v.Get("subject") == "ada" })
	v.wants(v.post(b.idp+"/login", form), 400, "Sign-in stopped")
	if !strings.Contains(b.log.String(), "nonce") {
		t.Error("the log does not say why")
	}
}

func TestADeniedSignInIsToldSo(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	start := v.still().get("/login")
	to, _ := start.Location()
	v.wants(v.get("/callback?error=access_denied&state="+to.Query().Get("state")), 403, "not signed in")
	v.wants(v.get("/callback?error=access_denied&state=forged"), 400)
}

func TestTwoTabsCanBothSignIn(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	one, two := v.callback("ada"), ""
	// The second tab begins before the first ends.
	two = v.callback("bob")
	v.wants(v.get(one), 200)
	v.wants(v.get(two), 200)
	v.wants(v.get("/"), 200, "Bob")
}

func TestASessionIsNewAtSignIn(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	u, _ := url.Parse(b.url)
	v.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: "FIXED-BY-AN-ATTACKER"}})
	v.signIn("ada", "/")
	first := v.cookie(sessionCookie)
	if first == "" || first == "FIXED-BY-AN-ATTACKER" {
		t.Fatalf("the session is %q", first)
	}
	// A second sign-in ends the first session.
	one := v.callback2("bob")
	v.wants(v.get(one), 200)
	if v.cookie(sessionCookie) == first {
		t.Error("the session survived a sign-in")
	}
	old := b.browser()
	old.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: first}})
	if a := old.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the old session answers %s", a.Status)
	}
	old.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: "FIXED-BY-AN-ATTACKER"}})
	if a := old.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the planted session answers %s", a.Status)
	}
}

// callback2 is callback for a browser that is signed in: the sign-in began
// before, in another tab.
func (b *browser) callback2(subject string) string {
	b.t.Helper()
	u, _ := url.Parse(b.url)
	keep := b.cookie(sessionCookie)
	b.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: "x"}})
	cb := b.callback(subject)
	b.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: keep}})
	return cb
}

func TestSessionsEnd(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		b := newFixture(t)
		v := b.browser()
		v.signIn("ada", "/")
		for range 5 {
			b.clock.Add(50 * time.Minute)
			v.wants(v.get("/annotations"), 200)
		}
		b.clock.Add(time.Hour + time.Minute)
		if a := v.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("an idle session answers %s", a.Status)
		}
	})
	t.Run("absolutely", func(t *testing.T) {
		b := newFixture(t)
		v := b.browser()
		v.signIn("ada", "/")
		for range 14 {
			b.clock.Add(50 * time.Minute)
			v.wants(v.get("/annotations"), 200)
		}
		b.clock.Add(25 * time.Minute)
		if a := v.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("a session of more than 12 hours answers %s", a.Status)
		}
	})
	t.Run("with the account", func(t *testing.T) {
		b := newFixture(t)
		v := b.browser()
		v.signIn("ada", "/")
		b.ports.change(func() { delete(b.ports.accounts, "ada") })
		if a := v.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("a session without an account answers %s", a.Status)
		}
	})
	t.Run("at sign-out, for every tab", func(t *testing.T) {
		b := newFixture(t)
		v := b.browser()
		v.signIn("ada", "/")
		token := v.cookie(sessionCookie)
		v.post("/logout", v.get("/").form(t, "/logout", nil))
		other := b.browser()
		u, _ := url.Parse(b.url)
		other.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: token}})
		if a := other.still().get("/annotations"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("the ended session answers %s", a.Status)
		}
	})
}

func TestAForgedFormIsRefused(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	ada, bob := b.browser(), b.browser()
	ada.signIn("ada", "/")
	bob.signIn("bob", "/")
	good := ada.get("/subscribe").form(t, "/subscribe", nil)
	others := bob.get("/subscribe").form(t, "/subscribe", nil)
	for name, a := range map[string]answer{
		"no token":         ada.post("/subscribe", nil),
		"an empty token":   ada.post("/subscribe", url.Values{"csrf": {""}}),
		"a guessed token":  ada.post("/subscribe", url.Values{"csrf": {"AAAA"}}),
		"another's token":  ada.post("/subscribe", others),
		"a foreign origin": ada.post("/subscribe", good, "Origin", "https://evil.example"),
		"a null origin":    ada.post("/subscribe", good, "Origin", "null"),
		"a foreign site":   ada.post("/subscribe", good, "Sec-Fetch-Site", "cross-site"),
		"a sister site":    ada.post("/subscribe", good, "Sec-Fetch-Site", "same-site"),
		"a token in query": ada.post("/subscribe?csrf="+good.Get("csrf")+"x", nil),
		"a forged logout":  ada.post("/logout", nil),
	} {
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: answers %s, want 403", name, a.Status)
		}
	}
	if len(b.ports.announced) != 0 || b.ports.accounts["ada"].Role != archive.Free {
		t.Error("a forged form changed the plan")
	}
	nobody := b.browser()
	nobody.wants(nobody.post("/subscribe", good), 401, "signed out")
	a := ada.still().post("/subscribe", good, "Origin", b.url, "Sec-Fetch-Site", "same-origin")
	if a.StatusCode != http.StatusSeeOther {
		t.Errorf("the real form answers %s", a.Status)
	}
}

// The test uses a bare connection. The site answers without reading the rest, and closes.
// Then the client's writes may fail, and Go's client may report that failure and not the
// answer.
func TestOversizeIsRefused(t *testing.T) {
	b := newFixture(t)
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"a large body":   {fmt.Sprintf("POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", maxBody+1, strings.Repeat("x", maxBody+1)), http.StatusRequestEntityTooLarge},
		"a large header": {"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write([]byte(c.request)) // as much as the site takes
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s answers %s, want %d", name, res.Status, c.want)
		}
	}
}

// TestASlowRequestIsCut sends headers, and then a body, very slowly, until the site ends
// the connection.
func TestASlowRequestIsCut(t *testing.T) {
	for name, begin := range map[string]string{
		"headers": "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body":    "POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t, func(c *Config, _ *Deps) { c.ReadTimeout = 200 * time.Millisecond })
			conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, begin)
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}()
			drip := time.NewTicker(10 * time.Millisecond)
			defer drip.Stop()
			patience := time.After(10 * time.Second)
			for {
				select {
				case <-drip.C:
					fmt.Fprint(conn, "x")
				case <-ended:
					return
				case <-patience:
					t.Fatal("the site still reads after 50 times its limit")
				}
			}
		})
	}
}

// TestAFileNameInjectsNoHeader downloads a result with a name that tries to inject one. The
// store signs the address for real.
func TestAFileNameInjectsNoHeader(t *testing.T) {
	b := newFixture(t)
	for i, name := range []string{"a\r\nSet-Cookie: x=y", "a\"; filename=\"evil.exe", "a%0d%0aLocation: //evil", "\u202egpj.exe", "../../etc/passwd", "a;b=c", "<svg onload=x>.vcf"} {
		id := jobID(fmt.Sprint("j", i))
		j := b.ports.archived("ada", id, time.Now())
		j.ArchiveID, j.Result.Key, j.InputFileName = "", "gas/ada/"+string(id)+"~"+name, name
		b.ports.change(func() { b.ports.jobs[id], b.ports.objects[j.Result] = j, "x" })
		ada := b.signedIn("ada", "")
		a := ada.still().get("/annotation/" + string(id) + "/download")
		if a.StatusCode != http.StatusFound || len(a.Header.Values("Set-Cookie")) != 0 || !strings.HasPrefix(a.Header.Get("Location"), b.ports.store.URL+"/gas-results/gas/ada/") {
			t.Errorf("%q answers %s %v", name, a.Status, a.Header)
		}
		saved := b.ports.names[len(b.ports.names)-1]
		if strings.ContainsAny(saved, "\r\n\"/\\;<>%\u202e") {
			t.Errorf("%q is saved as %q", name, saved)
		}
		if page := ada.get("/annotation/" + string(id)); strings.Contains(page.body, "<svg onload") || page.Header.Get("Set-Cookie") != "" {
			t.Errorf("the page of %q runs it", name)
		}
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	v.signIn("ada", "/")
	for _, path := range []string{"/", "/annotations", "/subscribe", "/nowhere", b.site.views.names["gas.css"]} {
		h := v.get(path).Header
		for key, want := range map[string]string{
			"X-Content-Type-Options":     "nosniff",
			"X-Frame-Options":            "DENY",
			"Referrer-Policy":            "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := h.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got, want)
			}
		}
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		if h.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", path)
		}
		want := "no-store"
		if strings.HasPrefix(path, "/assets/") {
			want = "public, max-age=31536000, immutable"
		}
		if got := h.Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control is %q, want %q", path, got, want)
		}
	}
}

func TestCookiesAreHostOnlyAndHidden(t *testing.T) {
	b := newFixture(t)
	v := b.browser()
	check := func(c *http.Cookie, secure bool) {
		t.Helper()
		if c.Path != "/" || c.Domain != "" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != secure {
			t.Errorf("cookie %s is %+v", c.Name, c)
		}
		if strings.HasPrefix(c.Name, "__Host-") != secure {
			t.Errorf("cookie is called %s, secure %v", c.Name, secure)
		}
	}
	for _, c := range v.still().get("/login").Cookies() {
		check(c, false)
	}
	for _, c := range v.still().get(v.callback("ada")).Cookies() {
		check(c, false)
	}

	// The same over https: the provider gets the https callback.
	secure := newFixture(t, func(c *Config, _ *Deps) { c.BaseURL = "https://gas.example.org/" })
	v = secure.browser()
	a := v.still().get("/login")
	if len(a.Cookies()) != 1 {
		t.Fatalf("cookies are %v", a.Cookies())
	}
	check(a.Cookies()[0], true)
	loc, _ := a.Location()
	if got := loc.Query().Get("redirect_uri"); got != "https://gas.example.org/callback" {
		t.Errorf("redirect_uri is %q", got)
	}
	if a.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS over https")
	}
}

func TestSignInWaitsForTheProvider(t *testing.T) {
	ln := (*network)(nil).listen(t)
	issuer := "http://" + ln.Addr().String()
	ln.Close()
	b := newFixture(t, func(c *Config, _ *Deps) { c.Issuer = issuer })
	v := b.browser()
	v.wants(v.get("/"), 200)
	a := v.get("/login")
	v.wants(a, 503, "Sign-in is not available")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestSignInLeadsBackOrNowhereElse(t *testing.T) {
	b := newFixture(t)
	for back, want := range map[string]string{
		"/subscribe":                   "/subscribe",
		"/annotations?after=cursor-j2": "/annotations?after=cursor-j2",
		"//evil.example":               "/annotations",
		"https://evil.example":         "/annotations",
		`/\evil.example`:               "/annotations",
		"/logout":                      "/annotations",
	} {
		v := b.browser()
		people := v.get("/login?return=" + url.QueryEscape(back))
		form := people.form(t, "/login", func(v url.Values) bool { return v.Get("subject") == "ada" })
		a := v.post(b.idp+"/login", form)
		if got := a.Request.URL.RequestURI(); got != want || a.Request.URL.Host != strings.TrimPrefix(b.url, "http://") {
			t.Errorf("return %q led to %s, want %s", back, a.Request.URL, want)
		}
		// The same holds for a user who is signed in already.
		a = v.still().get("/login?return=" + url.QueryEscape(back))
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("return %q leads to %q when signed in, want %q", back, got, want)
		}
	}
}
