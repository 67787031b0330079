package web

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

// script asks the API with an access token, as curl does.
func (b *fixture) script(t *testing.T, method, path, token string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.browser().still().do(req)
}

func TestAScriptUsesTheAPIWithAnAccessToken(t *testing.T) {
	b := newFixture(t, func(c *Config, _ *Deps) { c.APIAudience, c.APIScope = "gas-api", "gas" })
	b.restoredJob("j1", "j1~a.vcf", "the bytes")
	b.ports.archived("bob", "j2", b.clock.Now())
	b.ports.archived("ada", "j3", b.clock.Now())
	claims := map[string]any{"iss": b.idp, "sub": "ada", "aud": "gas-api", "exp": b.clock.Now().Add(time.Hour).Unix(), "scope": "gas"}
	token := func(change map[string]any) string {
		c := maps.Clone(claims)
		maps.Copy(c, change)
		raw, err := b.provider.Sign("at+jwt", c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ada := token(nil)
	if a := b.script(t, "GET", apiPath+"/jobs", ada); a.StatusCode != 403 || !strings.Contains(a.body, "Sign in at the site once") {
		t.Errorf("without an account the API answers %s %s", a.Status, a.body)
	}
	b.signedIn("ada", "")
	if a := b.script(t, "GET", apiPath+"/account", ada); a.StatusCode != 200 || strings.Contains(a.body, "csrf") || !strings.Contains(a.body, `"id":"ada"`) {
		t.Errorf("the account is %s %s", a.Status, a.body)
	}
	if a := b.script(t, "GET", apiPath+"/jobs", ada); a.StatusCode != 200 || !strings.Contains(a.body, `"j1"`) || strings.Contains(a.body, `"j2"`) {
		t.Errorf("the jobs are %s %s", a.Status, a.body)
	}
	if a := b.script(t, "GET", apiPath+"/jobs/j2", ada); a.StatusCode != 404 {
		t.Errorf("somebody else's job answers %s %s", a.Status, a.body)
	}
	to := b.script(t, "GET", apiPath+"/jobs/j1/download", ada)
	if to.StatusCode != 302 || !strings.HasPrefix(to.Header.Get("Location"), b.ports.store.URL) {
		t.Errorf("the download answers %s %v", to.Status, to.Header)
	}
	if a := b.script(t, "GET", manifestPath, ada); a.StatusCode != 200 || !strings.Contains(a.body, `"complete":true`) {
		t.Errorf("the manifest answers %s %s", a.Status, a.body)
	}
	// A token is no cookie: a change needs no other proof.
	if a := b.script(t, "POST", apiPath+"/subscription", ada); a.StatusCode != 200 || b.ports.accounts["ada"].Role != archive.Premium {
		t.Errorf("the upgrade answers %s %s", a.Status, a.body)
	}
	if a := b.script(t, "DELETE", apiPath+"/subscription", ada); a.StatusCode != 200 || b.ports.accounts["ada"].Role != archive.Free {
		t.Errorf("the downgrade answers %s %s", a.Status, a.body)
	}

	for name, c := range map[string]struct {
		token     string
		status    int
		challenge string
	}{
		"none":                    {"", 401, "Bearer"},
		"an opaque one":           {"opaque", 401, "invalid_token"},
		"one of another audience": {token(map[string]any{"aud": "gas"}), 401, "invalid_token"},
		"an expired one":          {token(map[string]any{"exp": b.clock.Now().Add(-time.Hour).Unix()}), 401, "invalid_token"},
		"one without the scope":   {token(map[string]any{"scope": "openid"}), 403, "insufficient_scope"},
	} {
		for _, method := range []string{"GET", "POST"} {
			path := map[string]string{"GET": apiPath + "/jobs", "POST": apiPath + "/subscription"}[method]
			a := b.script(t, method, path, c.token)
			if a.StatusCode != c.status || !strings.Contains(a.Header.Get("WWW-Authenticate"), c.challenge) || a.Header.Get("Content-Type") != mimeProblem {
				t.Errorf("%s with %s answers %s %v, want %d and %s", method, name, a.Status, a.Header, c.status, c.challenge)
			}
		}
	}
	// Pages take no tokens.
	if a := b.script(t, "GET", "/annotations", ada); a.StatusCode != 303 {
		t.Errorf("a page answers %s to a token", a.Status)
	}
	// An account belongs to its issuer.
	b.ports.change(func() {
		a := b.ports.accounts["ada"]
		a.Issuer = "https://another.example"
		b.ports.accounts["ada"] = a
	})
	if a := b.script(t, "GET", apiPath+"/jobs", ada); a.StatusCode != 403 {
		t.Errorf("for an account of another issuer the API answers %s", a.Status)
	}
	if strings.Contains(b.log.String(), ada) {
		t.Error("the token is in the log")
	}
	// A site without an audience takes none.
	off := newFixture(t)
	if a := off.script(t, "GET", apiPath+"/jobs", ada); a.StatusCode != 401 || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("a site without an audience answers %s %v", a.Status, a.Header)
	}
}

// TestAStreamOfAnAccessTokenEndsWithIt opens a live stream with a token that ends soon.
func TestAStreamOfAnAccessTokenEndsWithIt(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		b := newFixtureOn(t, n, nil, func(c *Config, _ *Deps) { c.APIAudience, c.APIScope = "gas-api", "gas" })
		b.signedIn("ada", "")
		raw, err := b.provider.Sign("at+jwt", map[string]any{"iss": b.idp, "sub": "ada", "aud": "gas-api", "exp": b.clock.Now().Add(1500 * time.Millisecond).Unix(), "scope": "gas"})
		if err != nil {
			t.Fatal(err)
		}
		// The whole stream is read, so it ended.
		if a := b.script(t, "GET", apiPath+eventsPath, raw); a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("the stream answers %s %s", a.Status, a.body)
		}
	})
}
