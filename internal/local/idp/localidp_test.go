package localidp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gas-restore/gas/internal/test/testclock"
	"go.uber.org/goleak"
	"golang.org/x/net/html"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const callback = "http://127.0.0.1:9/callback"

// fixture is a running provider with a client of an application.
type fixture struct {
	t        *testing.T
	issuer   string
	clock    *testclock.Clock
	state    *state
	provider *Provider
	http     *http.Client
	oidc     *oidc.Provider
	oauth    oauth2.Config
	ctx      context.Context
}

func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fixture{t: t, issuer: "http://" + ln.Addr().String(), clock: testclock.At(time.Now())}
	cfg := Config{
		Issuer: b.issuer,
		Clients: []Client{{
			ID: "gas web", Secret: "s3cret/+ %", RedirectURIs: []string{callback},
			PostLogoutRedirectURIs: []string{"http://127.0.0.1:9/"},
		}},
		People: []Person{
			{Subject: "ada:1", Name: "Ada <Lovelace>", Email: "ada@example.org", Note: "Free"},
			{Subject: "bob", Name: "Bob"},
		},
		Now: b.clock.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.state, b.provider = p.state, p
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: p}}
	srv.Start()
	t.Cleanup(srv.Close)

	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b.http = &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	b.ctx = oidc.ClientContext(t.Context(), b.http)
	b.oidc, err = oidc.NewProvider(b.ctx, b.issuer)
	if err != nil {
		t.Fatal(err)
	}
	b.oauth = oauth2.Config{
		ClientID: "gas web", ClientSecret: "s3cret/+ %", RedirectURL: callback,
		Endpoint: b.oidc.Endpoint(), Scopes: []string{"openid", "profile", "email"},
	}
	b.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	return b
}

// signIn goes from the authorization request to the callback, as a browser
// would, and returns the callback's query.
func (b *fixture) signIn(subject, verifier, nonce string) url.Values {
	b.t.Helper()
	page := b.get(b.oauth.AuthCodeURL("st", oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)))
	form := b.form(page, subject)
	resp, err := b.http.PostForm(b.issuer+"/login", form)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		body, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("signing in as %q answers %s: %s", subject, resp.Status, body)
	}
	loc, err := resp.Location()
	if err != nil {
		b.t.Fatal(err)
	}
	return loc.Query()
}

func (b *fixture) get(u string) string {
	b.t.Helper()
	resp, err := b.http.Get(u)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b.t.Fatalf("GET %s answers %s: %s", u, resp.Status, body)
	}
	return string(body)
}

// form returns the fields of the form that has the wanted subject.
func (b *fixture) form(page, subject string) url.Values {
	b.t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		b.t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Data != "form" {
			continue
		}
		v := url.Values{}
		for in := range n.Descendants() {
			if in.Data == "input" {
				v.Set(attr(in, "name"), attr(in, "value"))
			}
		}
		if v.Get("subject") == subject {
			return v
		}
	}
	b.t.Fatalf("no form for %q in:\n%s", subject, page)
	return nil
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func TestSignInGivesVerifiableTokens(t *testing.T) {
	for _, alg := range []string{"RS256", "RS512"} {
		t.Run(alg, func(t *testing.T) {
			b := newFixture(t, func(c *Config) { c.Algorithm = alg })
			verifier := oauth2.GenerateVerifier()
			q := b.signIn("ada:1", verifier, "n1")
			if got := q.Get("state"); got != "st" {
				t.Errorf("state is %q, want st", got)
			}
			tok, err := b.oauth.Exchange(b.ctx, q.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := tok.Extra("id_token").(string)
			id, err := b.oidc.Verifier(&oidc.Config{ClientID: "gas web"}).Verify(b.ctx, raw)
			if err != nil {
				t.Fatal(err)
			}
			if id.Nonce != "n1" || id.Subject != "ada:1" {
				t.Errorf("nonce %q and subject %q, want n1 and ada:1", id.Nonce, id.Subject)
			}
			if err := id.VerifyAccessToken(tok.AccessToken); err != nil {
				t.Error(err)
			}
			var claims struct{ Name, Email string }
			if err := id.Claims(&claims); err != nil || claims.Name != "Ada <Lovelace>" || claims.Email != "ada@example.org" {
				t.Errorf("claims are %+v, %v", claims, err)
			}
			info, err := b.oidc.UserInfo(b.ctx, oauth2.StaticTokenSource(tok))
			if err != nil {
				t.Fatal(err)
			}
			if info.Subject != "ada:1" || info.Email != "ada@example.org" {
				t.Errorf("userinfo is %+v", info)
			}

			// The access token ends with the session.
			end := b.issuer + "/end_session?" + url.Values{
				"id_token_hint": {raw}, "post_logout_redirect_uri": {"http://127.0.0.1:9/"}, "state": {"bye"},
			}.Encode()
			b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, err := b.http.Get(end)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got, want := resp.Header.Get("Location"), "http://127.0.0.1:9/?state=bye"; got != want {
				t.Errorf("end_session leads to %q, want %q", got, want)
			}
			if _, err := b.oidc.UserInfo(b.ctx, oauth2.StaticTokenSource(tok)); err == nil {
				t.Error("the access token works after the end of the session")
			}
		})
	}
}

func TestACodeIsGoodOnce(t *testing.T) {
	b := newFixture(t)
	verifier := oauth2.GenerateVerifier()
	code := b.signIn("bob", verifier, "n").Get("code")
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := b.oauth.Exchange(b.ctx, code, oauth2.VerifierOption(verifier))
			results <- err
		}()
	}
	good := 0
	for range cap(results) {
		if err := <-results; err == nil {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d exchanges of one code were answered, want 1", good)
	}
}

func TestAnExchangeIsRefused(t *testing.T) {
	tests := map[string]func(b *fixture, code, verifier string) error{
		"with a wrong verifier": func(b *fixture, code, _ string) error {
			_, err := b.oauth.Exchange(b.ctx, code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
			return err
		},
		"without a verifier": func(b *fixture, code, _ string) error {
			_, err := b.oauth.Exchange(b.ctx, code)
			return err
		},
		"with a wrong secret": func(b *fixture, code, verifier string) error {
			b.oauth.ClientSecret = "guess"
			_, err := b.oauth.Exchange(b.ctx, code, oauth2.VerifierOption(verifier))
			return err
		},
		"with the secret in the form": func(b *fixture, code, verifier string) error {
			b.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInParams
			_, err := b.oauth.Exchange(b.ctx, code, oauth2.VerifierOption(verifier))
			return err
		},
		"with another redirect URI": func(b *fixture, code, verifier string) error {
			b.oauth.RedirectURL = callback + "2"
			_, err := b.oauth.Exchange(b.ctx, code, oauth2.VerifierOption(verifier))
			return err
		},
		"after the code's lifetime": func(b *fixture, code, verifier string) error {
			b.clock.Add(codeLifetime + time.Second)
			_, err := b.oauth.Exchange(b.ctx, code, oauth2.VerifierOption(verifier))
			return err
		},
	}
	for name, exchange := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t)
			verifier := oauth2.GenerateVerifier()
			if err := exchange(b, b.signIn("bob", verifier, "n").Get("code"), verifier); err == nil {
				t.Error("the code was exchanged")
			}
		})
	}
}

func TestAnAuthorizationRequestIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(url.Values)
		// leads says whether the answer may redirect to the application.
		leads bool
	}{
		{"without PKCE", func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }, true},
		{"with plain PKCE", func(v url.Values) { v.Set("code_challenge_method", "plain") }, true},
		{"with an implied plain PKCE", func(v url.Values) { v.Del("code_challenge_method") }, true},
		{"without openid", func(v url.Values) { v.Set("scope", "email") }, true},
		{"with prompt=none", func(v url.Values) { v.Set("prompt", "none") }, true},
		{"for an implicit token", func(v url.Values) { v.Set("response_type", "id_token") }, false},
		{"from an unknown client", func(v url.Values) { v.Set("client_id", "nobody") }, false},
		{"to an unknown place", func(v url.Values) { v.Set("redirect_uri", "https://evil.example/") }, false},
		{"to a longer path", func(v url.Values) { v.Set("redirect_uri", callback+"/x") }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newFixture(t)
			u, _ := url.Parse(b.oauth.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
			q := u.Query()
			tt.change(q)
			u.RawQuery = q.Encode()
			b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, err := b.http.Get(u.String())
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			loc := resp.Header.Get("Location")
			if tt.leads {
				if !strings.HasPrefix(loc, callback) || !strings.Contains(loc, "error=") {
					t.Errorf("answers %s to %q, want an error at the application", resp.Status, loc)
				}
			} else if resp.StatusCode != http.StatusBadRequest || loc != "" {
				t.Errorf("answers %s to %q, want 400 and no redirect", resp.Status, loc)
			}
		})
	}
}

func TestTheSignInPageIsSafe(t *testing.T) {
	b := newFixture(t)
	page := b.get(b.oauth.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if strings.Contains(page, "<Lovelace>") || !strings.Contains(page, "Ada &lt;Lovelace&gt;") {
		t.Error("a name is not escaped")
	}
	if !strings.Contains(page, "Development provider") {
		t.Error("the page does not say what it is")
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "ZgotmplZ") {
		t.Errorf("the page has a script or an unsafe value:\n%s", page)
	}
	for _, form := range []url.Values{
		{"id": {"nope"}, "subject": {"bob"}},
		{"id": {b.form(page, "bob").Get("id")}, "subject": {"mallory"}},
		{},
	} {
		resp, err := b.http.PostForm(b.issuer+"/login", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("form %v answers %s, want 400", form, resp.Status)
		}
	}
	resp, err := b.http.Get(b.issuer + "/login?id=nope")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown request answers %s, want 400", resp.Status)
	}
}

func TestARequestIsGoodForOneCode(t *testing.T) {
	b := newFixture(t)
	page := b.get(b.oauth.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	form := b.form(page, "bob")
	for i, want := range []int{http.StatusFound, http.StatusBadRequest} {
		resp, err := b.http.PostForm(b.issuer+"/login", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("press %d answers %s, want %d", i+1, resp.Status, want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	e := newExpiring[int](3)
	now := time.Now()
	for i := range 10 {
		e.put(fmt.Sprint(i), i, now.Add(time.Minute))
	}
	if len(e.entries) != 3 || e.order.Len() != 3 {
		t.Fatalf("%d entries in order of %d, want 3", len(e.entries), e.order.Len())
	}
	if _, ok := e.get("6", now); ok {
		t.Error("an old entry is still there")
	}
	if v, ok := e.get("9", now); !ok || v != 9 {
		t.Errorf("the newest entry is %d, %v", v, ok)
	}
	if _, ok := e.get("9", now.Add(2*time.Minute)); ok {
		t.Error("an expired entry is still there")
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := func() Config {
		return Config{
			Issuer:  "http://127.0.0.1:8080",
			Clients: []Client{{ID: "a", Secret: "b", RedirectURIs: []string{callback}}},
			People:  []Person{{Subject: "s", Name: "n"}},
		}
	}
	for _, issuer := range []string{"http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://id.example.org"} {
		c := good()
		c.Issuer = issuer
		if _, err := New(c); err != nil {
			t.Errorf("issuer %s: %v", issuer, err)
		}
	}
	tests := map[string]func(*Config){
		"http on a network":  func(c *Config) { c.Issuer = "http://10.0.0.1:8080" },
		"a name like a loop": func(c *Config) { c.Issuer = "http://127.0.0.1.example.org" },
		"no issuer":          func(c *Config) { c.Issuer = "" },
		"a path":             func(c *Config) { c.Issuer = "http://127.0.0.1:1/x" },
		"no clients":         func(c *Config) { c.Clients = nil },
		"a client twice":     func(c *Config) { c.Clients = append(c.Clients, c.Clients[0]) },
		"no secret":          func(c *Config) { c.Clients[0].Secret = "" },
		"a strange redirect": func(c *Config) { c.Clients[0].RedirectURIs = []string{"javascript:alert(1)"} },
		"no people":          func(c *Config) { c.People = nil },
		"a person twice":     func(c *Config) { c.People = append(c.People, c.People[0]) },
		"a weak algorithm":   func(c *Config) { c.Algorithm = "none" },
	}
	for name, change := range tests {
		c := good()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDiscoveryAnnouncesWhatIsOffered(t *testing.T) {
	b := newFixture(t)
	var d struct {
		Methods  []string `json:"code_challenge_methods_supported"`
		Auth     []string `json:"token_endpoint_auth_methods_supported"`
		Algs     []string `json:"id_token_signing_alg_values_supported"`
		EndPoint string   `json:"end_session_endpoint"`
	}
	if err := json.Unmarshal([]byte(b.get(b.issuer+"/.well-known/openid-configuration")), &d); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(d.Methods) != "[S256]" || fmt.Sprint(d.Algs) != "[RS256]" || d.EndPoint == "" {
		t.Errorf("discovery is %+v", d)
	}
	for _, m := range d.Auth {
		if m == "client_secret_post" {
			t.Error("client_secret_post is announced")
		}
	}
}
