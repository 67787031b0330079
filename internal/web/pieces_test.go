package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// raw asks for a path without unpacking the answer.
func (b *browser) raw(path string, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip, br")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.do(req)
}

func TestAnAnswerIsCompressedIfNoOtherSiteCausedIt(t *testing.T) {
	b := newFixture(t)
	for i := range 3 {
		b.ports.archived("ada", jobID(string(rune('a'+i))), b.clock.Now())
	}
	ada := b.signedIn("ada", "")
	for _, c := range []struct {
		path   string
		from   string
		who    *browser
		packed bool
	}{
		{"/annotations", "same-origin", ada, true}, {"/annotations", "none", ada, true}, {"/api/v1/openapi.json", "same-origin", ada, true}, {b.site.views.names["gas.css"], "same-origin", ada, true},
		// Somebody else's page caused it, or nobody knows who.
		{"/annotations?q=guess", "cross-site", ada, false}, {"/annotations?q=guess", "same-site", ada, false}, {"/annotations?q=guess", "", ada, false},
		// There is no secret of anybody.
		{"/", "cross-site", b.browser(), true}, {"/help", "", b.browser(), true},
		// It is small, and the icon is packed already.
		{"/api/v1/archive", "same-origin", ada, false}, {"/favicon.ico", "same-origin", ada, false},
	} {
		a := c.who.raw(c.path, "Sec-Fetch-Site", c.from)
		if a.StatusCode != 200 || (a.Header.Get("Content-Encoding") == "gzip") != c.packed {
			t.Errorf("%s from %q answers %s with the encoding %q, want packed %v", c.path, c.from, a.Status, a.Header.Get("Content-Encoding"), c.packed)
			continue
		}
		if !c.packed {
			continue
		}
		if !strings.Contains(a.Header.Get("Vary"), "Accept-Encoding") {
			t.Errorf("%s varies with %q", c.path, a.Header.Get("Vary"))
		}
		z, err := gzip.NewReader(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil || len(plain) <= len(a.body) {
			t.Errorf("%s has %d bytes, %d unpacked, %v", c.path, len(a.body), len(plain), err)
		}
		if want := c.who.get(c.path); c.path != "/annotations" && !bytes.Equal(plain, []byte(want.body)) {
			t.Errorf("%s is another page when it is unpacked", c.path)
		}
	}
	if a := ada.raw("/annotations", "Sec-Fetch-Site", "none", "Accept-Encoding", "br"); a.Header.Get("Content-Encoding") != "" {
		t.Errorf("a browser without gzip gets %q", a.Header.Get("Content-Encoding"))
	}
}

// TestNoPageRepeatsAToken reads pages twice: a token that is the same text twice could be read out
// of the sizes of compressed pages.
func TestNoPageRepeatsAToken(t *testing.T) {
	b := newFixture(t)
	ada := b.signedIn("ada", "")
	sess := ada.cookie(sessionCookie)
	found, err := b.site.sessions.find(t.Context(), sess, false)
	if err != nil || found == nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 3 {
		for _, path := range []string{"/", "/annotations", "/subscribe", "/account", "/api/v1/account"} {
			a := ada.get(path)
			if strings.Contains(a.body, found.CSRF) || strings.Contains(a.body, sess) {
				t.Errorf("%s has a secret as it is", path)
			}
			for _, part := range strings.FieldsFunc(a.body, func(r rune) bool { return strings.ContainsRune("\"<> =", r) }) {
				if isMasked(part, found.CSRF) {
					if seen[part] {
						t.Errorf("%s repeats a token", path)
					}
					seen[part] = true
				}
			}
		}
	}
	if len(seen) < 3*5 {
		t.Errorf("%d tokens were found, want one in each page", len(seen))
	}
	for text, right := range map[string]bool{masked("abc"): true, "": false, "abc": false, masked("abd"): false, masked("abcd"): false, masked(""): false} {
		if isMasked(text, "abc") != right {
			t.Errorf("%q is the token: %v", text, !right)
		}
	}
}

func TestTheExpectedPiecesAreThere(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) {
		c.Support, c.SecurityContact, c.Tiers = "help@gas.example.org", "https://gas.example.org/security", archive.DefaultTiers()
	})
	v := b.browser()
	icon := v.get("/favicon.ico")
	if icon.StatusCode != 200 || icon.Header.Get("Content-Type") != "image/x-icon" || !strings.HasPrefix(icon.body, "\x00\x00\x01\x00\x01\x00") {
		t.Errorf("the icon answers %s %v", icon.Status, icon.Header)
	}
	security := v.get("/.well-known/security.txt")
	expires := b.clock.Now().UTC().Truncate(24 * time.Hour).Add(securityLifetime).Format(time.RFC3339)
	for _, line := range []string{"Contact: https://gas.example.org/security\n", "Expires: " + expires + "\n", "Canonical: " + b.url + "/.well-known/security.txt\n"} {
		if !strings.Contains(security.body, line) || !strings.HasPrefix(security.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("security.txt has no %q: %s", line, security.body)
		}
	}
	help := v.get("/help")
	v.wants(help, 200, "1 minute to 5 hours", "Waiting for approval", "Needs attention", "hashlib", "help@gas.example.org", "tell us")
	if !strings.Contains(help.body, `href="mailto:help@gas.example.org"`) || !strings.Contains(help.body, `<meta name="description"`) {
		t.Errorf("the help page has no link to the contact, or no description: %s", help.body)
	}
	if strings.Contains(help.text(t), "Bearer") {
		t.Error("the help page promises tokens that the site does not take")
	}
	// Without the settings nothing is promised.
	b = newFixture(t)
	v = b.browser()
	v.wants(v.get("/.well-known/security.txt"), 404)
	if page := v.get("/help"); strings.Contains(page.body, "mailto:") || strings.Contains(page.body, "#contact") {
		t.Errorf("without a contact the help page has %s", page.body)
	}
	ada := b.signedIn("ada", "")
	for _, path := range []string{"/", "/subscribe", "/help", "/annotations"} {
		page := ada.get(path)
		for _, never := range []string{"Annotate your variants", "Once you submit", "it goes on without you", "$"} {
			if strings.Contains(strings.ReplaceAll(page.text(t), "$TOKEN", ""), never) {
				t.Errorf("%s says %q", path, never)
			}
		}
		if page.StatusCode != 200 || strings.Count(page.body, `action="/logout"`) != 1 {
			t.Errorf("%s has no sign-out, or several", path)
		}
	}
	for _, wrong := range []string{"call us", "http://gas.example.org", "Team <a@b.example>", "https://"} {
		if _, err := contactOf(wrong); err == nil {
			t.Errorf("the contact %q is taken", wrong)
		}
	}
}

// TestTheStartPageLeadsOn shows what goes on to somebody who is signed in.
func TestTheStartPageLeadsOn(t *testing.T) {
	b := newFixture(t)
	ada := upgraded(t, b, "j1", "j2")
	b.back("j1", b.clock.Now())
	ada.wants(ada.get("/"), 200, "1 of 2 back", "Show the files that are being restored")
	b.ports.archived("bob", "j3", b.clock.Now())
	bob := b.signedIn("bob", "")
	bob.wants(bob.get("/"), 200, "1 result is in the archive", "See Premium")
}

func TestAnAnswerThatIsKnownIsNotSentAgain(t *testing.T) {
	b := newFixture(t)
	b.restoredJob("j1", "j1~a.vcf", "x")
	ada := b.signedIn("ada", "")
	ask := func(path, known string) answer {
		req, err := http.NewRequest(http.MethodGet, b.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", known)
		return ada.do(req)
	}
	for _, path := range []string{"/openapi.json", "/account", "/jobs", "/jobs/j1", "/archive"} {
		first := ask(apiPath+path, "")
		name := first.Header.Get("ETag")
		if first.StatusCode != 200 || name == "" || first.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s answers %s %v", path, first.Status, first.Header)
		}
		for known, status := range map[string]int{name: 304, `"x", ` + name: 304, strings.TrimPrefix(name, "W/"): 304, "*": 304, `"x"`: 200, "x": 200} {
			if a := ask(apiPath+path, known); a.StatusCode != status || status == 304 && (a.body != "" || a.Header.Get("ETag") != name) {
				t.Errorf("%s with %s answers %s %q", path, known, a.Status, a.body)
			}
		}
	}
	was := ask(apiPath+"/jobs/j1", "").Header.Get("ETag")
	b.ports.change(func() {
		j := b.ports.jobs["j1"]
		j.InputFileName = "another.vcf"
		b.ports.jobs["j1"] = j
	})
	if a := ask(apiPath+"/jobs/j1", was); a.StatusCode != 200 {
		t.Errorf("after a change the API answers %s", a.Status)
	}
	if a := ada.get("/annotations"); a.Header.Get("ETag") != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a page has %v", a.Header)
	}
}

// TestTheAPIsListSaysWhatThePageSays has a file without its object, and one with.
func TestTheAPIsListSaysWhatThePageSays(t *testing.T) {
	b := newFixture(t)
	b.restoredJob("here", "here.vcf", "bytes")
	j := b.restoredJob("gone", "gone.vcf", "bytes")
	b.ports.change(func() { delete(b.ports.objects, j.Result) })
	ada := b.signedIn("ada", "")
	var page struct{ Jobs []apiJob }
	ada.get(apiPath+"/jobs").into(t, &page)
	for _, j := range page.Jobs {
		var single apiJob
		ada.get(apiPath+"/jobs/"+string(j.ID)).into(t, &single)
		if j.Label != single.Label || j.Sentence != single.Sentence || j.Download != single.Download || j.Size != single.Size || !j.RestoredAt.Equal(single.RestoredAt) {
			t.Errorf("the list says %+v, the job says %+v", j, single)
		}
		if want := map[string]string{"here": "Ready", "gone": "Needs attention"}[string(j.ID)]; j.Label != want || (j.Download != "") != (want == "Ready") {
			t.Errorf("%s is %+v, want %s", j.ID, j, want)
		}
	}
	if len(page.Jobs) != 2 {
		t.Errorf("the list has %d jobs", len(page.Jobs))
	}
	b.ports.archived("ada", "more", b.clock.Now())
	b.ports.archived("ada", "andmore", b.clock.Now())
	var first, last struct {
		Jobs                    []apiJob
		First, Last, Next, Prev string
	}
	ada.get(apiPath+"/jobs").into(t, &first)
	ada.get(first.Last).into(t, &last)
	if len(first.Jobs) != 3 || first.First != "" || first.Next == "" || len(last.Jobs) != 3 || last.Last != "" || last.First != apiPath+"/jobs" || last.Prev == "" {
		t.Errorf("the first page is %+v and the last one %+v", first, last)
	}
}
