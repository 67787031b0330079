package signin

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/internal/test/testclock"
)

// signingKey is the first key of every provider here: to make one takes longer than most
// tests.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

const redirect = "http://site.example/callback"

// fixture is a Provider with the local provider behind it.
type fixture struct {
	*Provider
	t      *testing.T
	clock  *testclock.Clock
	issuer string
	// idp is the local provider.
	idp *localidp.Provider
}

// newFixture makes a fixture with a local provider that change may change.
func newFixture(t *testing.T, change ...func(*localidp.Config)) *fixture {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, clock: testclock.At(time.Now()), issuer: "http://" + ln.Addr().String()}
	cfg := localidp.Config{
		Issuer:  f.issuer,
		Clients: []localidp.Client{{ID: "gas", Secret: "secret", RedirectURIs: []string{redirect}}},
		People:  []localidp.Person{{Subject: "ada", Name: "Ada Lovelace", Email: "ada@example.org"}},
		// As Globus Auth does.
		Algorithm: "RS512", Key: signingKey(), Now: f.clock.Now,
	}
	for _, c := range change {
		c(&cfg)
	}
	if f.idp, err = localidp.New(cfg); err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: f.idp}}
	srv.Start()
	t.Cleanup(srv.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	f.Provider = New(Config{
		Issuer: f.issuer, ClientID: "gas", Secret: func() (string, error) { return "secret", nil }, Scopes: []string{"openid", "profile", "email"},
		Redirect: redirect, HTTPClient: &http.Client{Transport: transport, Timeout: 10 * time.Second},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: f.clock.Now,
	})
	return f
}

// claims changes the claims of an ID token; nil leaves one out.
func claims(change map[string]any) func(*localidp.Config) {
	return func(c *localidp.Config) {
		c.Claims = func(claims map[string]any) {
			for k, v := range change {
				if claims[k] = v; v == nil {
					delete(claims, k)
				}
			}
		}
	}
}

// signIn goes through the whole sign-in as ada.
func (f *fixture) signIn() (Person, error) {
	f.t.Helper()
	a := NewAttempt()
	to, err := f.AuthURL(f.t.Context(), "state", a)
	if err != nil {
		return Person{}, err
	}
	return f.Redeem(f.t.Context(), f.code(to), &a)
}

// code signs ada in at the provider, and returns the code that comes back.
func (f *fixture) code(to string) string {
	f.t.Helper()
	client := &http.Client{
		Transport: f.cfg.HTTPClient.Transport,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), redirect) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	page, err := client.Get(to)
	if err != nil {
		f.t.Fatal(err)
	}
	defer page.Body.Close()
	doc, err := html.Parse(page.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	form := url.Values{}
	for n := range doc.Descendants() { // there is one person, so one form
		if n.Data == "input" {
			form.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	resp, err := client.PostForm(f.issuer+"/login", form)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		body, _ := io.ReadAll(resp.Body)
		f.t.Fatalf("%s answers %s: %s", resp.Request.URL, resp.Status, body)
	}
	if !strings.HasPrefix(back.String(), redirect+"?") {
		f.t.Fatalf("led to %s", back)
	}
	return back.Query().Get("code")
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// rotate gives the local provider another key and algorithm.
func (f *fixture) rotate(algorithm string, keep bool) {
	f.t.Helper()
	if err := f.idp.Rotate(algorithm, keep); err != nil {
		f.t.Error(err)
	}
}

var tokenID atomic.Int64

// logoutToken is a token that ends all of ada's sessions.
func (f *fixture) logoutToken() string {
	f.t.Helper()
	now := f.clock.Now()
	raw, err := f.idp.Sign("logout+jwt", map[string]any{
		"iss": f.issuer, "aud": "gas", "sub": "ada", "jti": fmt.Sprint(tokenID.Add(1)), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}
