package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// raw sends bytes, and returns the first answer and whether the connection ended after it.
func (b *fixture) raw(request string) (status int, closed bool) {
	b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, request)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, true // ended without an answer
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_, err = r.ReadByte()
	return resp.StatusCode, errors.Is(err, io.EOF)
}

func TestARequestThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.ReadTimeout = 2 * time.Second })
	hidden := "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"a plain one":               {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
		"a chunked one":             {"POST /logout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 303},
		"two lengths":               {"POST /logout HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 400},
		"two lengths the other way": {"POST /logout HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + hidden, 400},
		"identity and a length":     {"POST /logout HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + hidden, 400},
		"chunks in HTTP/1.0":        {"POST /logout HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 400},
		"a folded header":           {"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n" + hidden, 400},
		"a folded length":           {"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tContent-Length: 40\r\n\r\n" + hidden, 400},
		"a bare line feed":          {"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n" + hidden, 400},
		"HTTP/3.9":                  {"GET / HTTP/3.9\r\nHost: x\r\n\r\n" + hidden, 505},
		"HTTP/1.9":                  {"GET / HTTP/1.9\r\nHost: x\r\n\r\n" + hidden, 505},
		"two hosts":                 {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + hidden, 400},
		"two other lengths":         {"POST /logout HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden, 400},
		"a space before the colon":  {"GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n" + hidden, 400},
	} {
		if status, closed := b.raw(c.request); status != c.want || !closed {
			t.Errorf("%s answers %d, connection closed %v; want %d and closed", name, status, closed, c.want)
		}
	}
}

func TestATokenInAnAddressIsNoToken(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	ada := b.signedIn("ada", "")
	csrf := url.QueryEscape(ada.get("/account").form(t, "/logout", nil).Get("csrf"))
	for _, path := range []string{"/subscribe", "/account/free", "/logout", "/api/v1/subscription"} {
		if a := ada.still().post(path+"?csrf="+csrf, nil); a.StatusCode != 403 {
			t.Errorf("%s takes a token in its query: %s", path, a.Status)
		}
	}
	if a := ada.post(backChannelPath+"?logout_token=x", nil); a.StatusCode != 400 {
		t.Errorf("the back channel answers %s", a.Status)
	}
	if b.ports.accounts["ada"].Role != archive.Free {
		t.Error("the plan changed")
	}
}

// TestAPageWithoutAPartKnowsWhoIsSignedIn takes the catalog and then the sessions away.
func TestAPageWithoutAPartKnowsWhoIsSignedIn(t *testing.T) {
	away := fault.New(fault.Transient, errors.New("dynamodb is away"))
	sessions := &ailing{SessionStore: newMemoryStore(100)}
	b := newFixture(t, func(_ *Config, d *Deps) { d.Sessions = sessions })
	ada := b.signedIn("ada", "")
	for what, fail := range map[string]func(){
		"the list":     func() { b.ports.change(func() { b.ports.faults["Select"] = away }) },
		"the account":  func() { b.ports.change(func() { b.ports.faults["Account"] = away }) },
		"the sessions": func() { sessions.away.Store(true) },
	} {
		fail()
		a := ada.get("/annotations?q=x")
		sessions.away.Store(false)
		ada.wants(a, 503, "One moment, please", "Try again")
		if !strings.Contains(a.body, `href="/account"`) || strings.Contains(a.body, ">Sign in<") || strings.Contains(a.body, "(Free)") && what != "the list" {
			t.Errorf("without %s the page has another header or footer: %s", what, a.body)
		}
		if !strings.Contains(a.body, `href="/annotations?q=x"`) || a.Header.Get("Retry-After") == "" {
			t.Errorf("without %s the page does not lead back", what)
		}
	}
	b.ports.change(func() { b.ports.faults["Account"] = away })
	if a := ada.post("/account/free", url.Values{"csrf": {"x"}}); !strings.Contains(a.body, `href="/account">Try again`) {
		t.Errorf("a form leads to %s", a.text(t))
	}
	nobody := b.browser()
	sessions.away.Store(true)
	nobody.wants(nobody.get("/"), 200)
	sessions.away.Store(false)
}

// TestAStaleFormLeadsBackToItsPage sends forms from before another sign-in, and follows the
// link on the answer.
func TestAStaleFormLeadsBackToItsPage(t *testing.T) {
	b := newFixture(t)
	b.ports.archived("ada", "j1", time.Now())
	ada := b.signedIn("ada", "")
	for action, want := range map[string]string{"/subscribe": "/subscribe", "/account/free": "/account", "/logout": "/"} {
		a := ada.post(action, url.Values{"csrf": {"of an earlier session"}})
		ada.wants(a, 403, "Nothing was changed")
		if !strings.Contains(a.body, `class="button" href="`+want+`"`) {
			t.Errorf("the stale form to %s does not lead to %s: %s", action, want, a.body)
		}
		ada.wants(ada.get(want), 200)
		// Somebody may reload the answer as a page.
		if a := ada.get(action); a.StatusCode != 200 || a.Request.URL.Path != want {
			t.Errorf("%s as a page answers %s at %s, want %s", action, a.Status, a.Request.URL.Path, want)
		}
	}
	nobody := b.browser()
	for _, action := range []string{"/subscribe", "/account/free"} {
		nobody.wants(nobody.post(action, nil), 401, "You are signed out")
		nobody.wants(nobody.get(action), 200)
	}
	nobody.wants(nobody.post("/logout", nil), 200, "Sign in")
}
