package web

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/pkg/events"
)

// announcing is a provider that signs whatever a test wants.
type announcing struct {
	srv *httptest.Server
	key *rsa.PrivateKey
}

func newAnnouncing(t *testing.T, n *network, algorithm string) *announcing {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	idp := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: algorithm}}, Algorithms: []string{algorithm}}
	a := &announcing{&httptest.Server{Listener: n.listen(t), Config: &http.Server{Handler: idp}}, key}
	a.srv.Start()
	idp.SetIssuer(a.srv.URL)
	t.Cleanup(a.srv.Close)
	return a
}

func (a *announcing) sign(t *testing.T, algorithm string, claims map[string]any) string {
	t.Helper()
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.SignIDToken(a.key, "k", algorithm, string(data))
}

// signedIn returns a browser with a session. sid is the provider's session.
func (b *fixture) signedIn(user events.UserID, sid string) *browser {
	b.t.Helper()
	if err := b.ports.SignIn(b.t.Context(), archive.Account{ID: user, Issuer: b.site.cfg.Issuer, Role: archive.Free}, nil); err != nil {
		b.t.Fatal(err)
	}
	sess, err := b.site.sessions.start(b.t.Context(), signin.Person{User: user, SID: sid}, "Firefox on Linux")
	if err != nil {
		b.t.Fatal(err)
	}
	br := b.browser()
	u, _ := url.Parse(b.url)
	br.jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: sess.token, Path: "/"}})
	return br
}

func TestTheProviderEndsSessions(t *testing.T) {
	for _, algorithm := range []string{"RS256", "RS512"} {
		t.Run(algorithm, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network) {
				idp := newAnnouncing(t, n, algorithm)
				b := newFixtureOn(t, n, nil, func(c *Config, _ *Deps) { c.Issuer = idp.srv.URL })
				tokens := 0
				good := func() map[string]any {
					tokens++
					return map[string]any{
						"iss": idp.srv.URL, "aud": "gas", "sub": "ada", "jti": fmt.Sprint(tokens), "sid": "s1",
						"iat": b.clock.Now().Unix(), "exp": b.clock.Now().Add(time.Minute).Unix(),
						"events": map[string]any{logoutEvent: map[string]any{}},
					}
				}
				one, two, bob := b.signedIn("ada", "s1"), b.signedIn("ada", "s2"), b.signedIn("bob", "s3")
				in := func(br *browser) bool { return br.still().get("/annotations").StatusCode == http.StatusOK }
				send := func(token string) int {
					return b.browser().post(backChannelPath, url.Values{"logout_token": {token}}).StatusCode
				}
				with := func(change map[string]any) string {
					c := good()
					for k, v := range change {
						if v == nil {
							delete(c, k)
						} else {
							c[k] = v
						}
					}
					return idp.sign(t, algorithm, c)
				}
				forged := newAnnouncing(t, n, algorithm).sign(t, algorithm, good())
				for name, token := range map[string]string{
					"nothing":          "",
					"no token":         "x.y.z",
					"another's key":    forged,
					"another audience": with(map[string]any{"aud": "another"}),
					"another issuer":   with(map[string]any{"iss": "https://evil.example"}),
					"an ID token":      with(map[string]any{"events": nil, "nonce": "n"}),
					"with a nonce":     with(map[string]any{"nonce": "n"}),
					"no event":         with(map[string]any{"events": map[string]any{"x": map[string]any{}}}),
					"no member":        with(map[string]any{"events": map[string]any{logoutEvent: "x"}}),
					"no id":            with(map[string]any{"jti": nil}),
					"nobody":           with(map[string]any{"sub": nil, "sid": nil}),
					"expired":          with(map[string]any{"exp": b.clock.Now().Add(-time.Hour).Unix()}),
					"old":              with(map[string]any{"iat": b.clock.Now().Add(-time.Hour).Unix()}),
					"too long":         strings.Repeat("x", 4097),
				} {
					if got := send(token); got != http.StatusBadRequest {
						t.Errorf("%s: answers %d, want 400", name, got)
					}
				}
				if !in(one) || !in(two) || !in(bob) {
					t.Fatal("a refused token ended a session")
				}
				stream := one.stream("/events")
				if got := send(idp.sign(t, algorithm, good())); got != http.StatusOK {
					t.Fatalf("the token answers %d", got)
				}
				for ok := true; ok; {
					_, ok = stream.next()
				}
				if in(one) || !in(two) || !in(bob) {
					t.Errorf("after s1 ended: s1 %v, s2 %v, bob %v", in(one), in(two), in(bob))
				}
				// A token may name the provider's session alone.
				third := b.signedIn("ada", "s4")
				if got := send(with(map[string]any{"sub": nil, "sid": "s4"})); got != http.StatusOK {
					t.Fatalf("the token without a subject answers %d", got)
				}
				if in(third) || !in(two) || !in(bob) {
					t.Errorf("after s4 ended: s4 %v, s2 %v, bob %v", in(third), in(two), in(bob))
				}
				all := good()
				delete(all, "sid")
				for range 2 {
					if got := send(idp.sign(t, algorithm, maps.Clone(all))); got != http.StatusOK {
						t.Fatalf("the token for all answers %d", got)
					}
				}
				if in(two) || !in(bob) {
					t.Errorf("after all of ada's ended: s2 %v, bob %v", in(two), in(bob))
				}
			})
		})
	}
}

func TestSignOutGoesOnAtTheProvider(t *testing.T) {
	b := newFixture(t)
	ada := b.browser()
	ada.signIn("ada", "/")
	form := ada.get("/").form(t, "/logout", nil)
	a := ada.still().post("/logout", form)
	to, err := a.Location()
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	if !strings.HasPrefix(to.String(), b.idp+"/") || q.Get("id_token_hint") == "" || q.Get("client_id") != "gas" || q.Get("post_logout_redirect_uri") != b.url+"/" {
		t.Errorf("sign-out leads to %s", to)
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' "+b.idp) {
		t.Errorf("a browser would not follow: %s", csp)
	}
	ada.wants(ada.get(to.String()), 200, "Sign in")
	if strings.Contains(b.log.String(), q.Get("id_token_hint")) {
		t.Error("the ID token is in the log")
	}
}

// TestGlobusSignsIn signs in at a provider that works like Globus Auth: it signs with RS512,
// and takes the client's secret only in the header.
func TestGlobusSignsIn(t *testing.T) {
	b := newFixture(t)
	ada := b.browser()
	ada.wants(ada.signIn("ada", "/annotations"), 200, "Your annotations")
	sess, err := b.site.sessions.find(t.Context(), ada.cookie(sessionCookie), false)
	if err != nil || sess == nil {
		t.Fatalf("no session: %v", err)
	}
	head, _, _ := strings.Cut(sess.IDToken, ".")
	data, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || !strings.Contains(string(data), `"RS512"`) {
		t.Errorf("the ID token's head is %s, %v; want RS512", data, err)
	}
}
