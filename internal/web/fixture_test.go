package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/internal/test/testclock"
)

func TestMain(m *testing.M) {
	// The clock of fasthttp's Date header is one for the whole process. In a bubble, it would
	// never end.
	new(fasthttp.ResponseHeader).Header()
	goleak.VerifyTestMain(m,
		// The HTTP server updates its Date header until the process ends.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// The worker pool checks for idle workers every ten seconds. It does not see
		// a stop before its next check.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// logBook is a log that a test reads.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// signingKey is the key of all providers here: to make one takes longer than most tests.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

const clientSecret = "a-secret-of-the-client"

// fixture is the site, with a real listener, and a provider beside it.
type fixture struct {
	t   *testing.T
	net *network
	url string
	idp string
	// provider is the provider at idp.
	provider *localidp.Provider
	ports    *fixturePorts
	site     *Server
	clock    *testclock.Clock
	log      *logBook
	// stop ends the site and returns the error of Serve.
	stop func() error
}

func newFixture(t *testing.T, change ...func(*Config, *Deps)) *fixture {
	t.Helper()
	return newFixtureOn(t, nil, nil, change...)
}

// newFixtureWith is newFixture, and changes the provider too.
func newFixtureWith(t *testing.T, provider func(*localidp.Config), change ...func(*Config, *Deps)) *fixture {
	t.Helper()
	return newFixtureOn(t, nil, provider, change...)
}

// newFixtureOn is newFixtureWith on a network, which may be that of [inBubble]. It changes the
// provider only if there is a function for that.
func newFixtureOn(t *testing.T, n *network, provider func(*localidp.Config), change ...func(*Config, *Deps)) *fixture {
	t.Helper()
	b := &fixture{t: t, net: n, ports: newFixturePorts(t, n), clock: testclock.At(time.Now()), log: &logBook{}}
	siteLn, idpLn := n.listen(t), n.listen(t)
	b.url, b.idp = "http://"+siteLn.Addr().String(), "http://"+idpLn.Addr().String()

	idpCfg := localidp.Config{
		Issuer:  b.idp,
		Clients: []localidp.Client{{ID: "gas", Secret: clientSecret, RedirectURIs: []string{b.url + CallbackPath}, PostLogoutRedirectURIs: []string{b.url + "/"}}},
		People: []localidp.Person{
			{Subject: "ada", Name: "Ada Lovelace", Email: "ada@example.org"},
			{Subject: "bob", Name: "Bob", Email: "bob@example.org"},
		},
		// As Globus Auth does; internal/local/stack signs with RS256.
		Algorithm: "RS512",
		Key:       signingKey(),
		Now:       b.clock.Now,
	}
	if provider != nil {
		provider(&idpCfg)
	}
	idp, err := localidp.New(idpCfg)
	if err != nil {
		t.Fatal(err)
	}
	b.provider = idp
	idpSrv := &httptest.Server{Listener: idpLn, Config: &http.Server{Handler: idp}}
	idpSrv.Start()
	t.Cleanup(idpSrv.Close)

	cfg := Config{
		BaseURL: b.url, Issuer: b.idp, ClientID: "gas", ClientSecret: clientSecret,
		HTTPClient: &http.Client{Transport: n.transport(t), Timeout: 10 * time.Second},
		Logger:     slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:        b.clock.Now, PageSize: 3,
	}
	deps := Deps{Accounts: b.ports, Jobs: b.ports, Announcer: b.ports, Lane: b.ports, Downloads: b.ports, Statuses: b.ports, Switches: b.ports, Letters: b.ports}
	for _, f := range change {
		f(&cfg, &deps)
	}
	b.site, err = New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	healed := make(chan struct{})
	b.ports.healed = sync.OnceFunc(func() { close(healed) })
	if n == nil {
		siteLn = prompt{siteLn, b.site.app.Server().GetOpenConnectionsCount}
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.site.Serve(ctx, siteLn) }()
	b.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("stop the site: %v", err)
		}
		if strings.Contains(b.log.String(), clientSecret) {
			t.Error("the client secret is in the log")
		}
	})
	<-healed
	return b
}

// prompt is a listener for fasthttp, which looks only every 100 ms whether all connections are
// gone at a stop. Its first look comes right after it closes the listener, before they can be
// gone. So Close waits for them. A connection that stays open does not hold Close up for long.
type prompt struct {
	net.Listener
	open func() int32
}

func (p prompt) Close() error {
	err := p.Listener.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for looks := 20; looks > 0 && p.open() > 0; looks-- {
		<-tick.C
	}
	return err
}

// browser is a client with cookies that follows redirects.
type browser struct {
	*fixture
	http *http.Client
	jar  http.CookieJar
}

func (b *fixture) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &browser{fixture: b, jar: jar, http: &http.Client{Transport: b.net.transport(b.t), Jar: jar, Timeout: 20 * time.Second}}
}

// answer is a response with its whole body.
type answer struct {
	*http.Response
	body string
}

// still returns a browser that does not follow redirects.
func (b *browser) still() *browser {
	c := *b.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{fixture: b.fixture, jar: b.jar, http: &c}
}

func (b *browser) do(req *http.Request) answer {
	b.t.Helper()
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.url + path
	}
	req, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) post(path string, form url.Values, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.url + path
	}
	req, err := http.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.do(req)
}

// form returns the fields of the first form with the action that match accepts.
func (a answer) form(t *testing.T, action string, match func(url.Values) bool) url.Values {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Data != "form" || attr(n, "action") != action {
			continue
		}
		v := url.Values{}
		for in := range n.Descendants() {
			if in.Data == "input" {
				v.Set(attr(in, "name"), attr(in, "value"))
			}
		}
		if match == nil || match(v) {
			return v
		}
	}
	t.Fatalf("no form to %s in:\n%s", action, a.body)
	return nil
}

// link returns the address of the link with that relation. It is empty if there is none.
func (a answer) link(t *testing.T, rel string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Data == "a" && attr(n, "rel") == rel {
			return attr(n, "href")
		}
	}
	return ""
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text returns the text in the page's main part.
func (a answer) text(t *testing.T) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "main" {
			for d := range n.Descendants() {
				if d.Type == html.TextNode {
					b.WriteString(d.Data + " ")
				}
			}
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// signIn signs in, and returns the page after sign-in.
func (b *browser) signIn(subject, back string) answer {
	b.t.Helper()
	people := b.get("/login?return=" + url.QueryEscape(back))
	form := people.form(b.t, "/login", func(v url.Values) bool { return v.Get("subject") == subject })
	a := b.post(b.idp+"/login", form)
	if a.StatusCode != http.StatusOK {
		b.t.Fatalf("signing in as %s answers %s at %s: %s", subject, a.Status, a.Request.URL, a.text(b.t))
	}
	return a
}

// callback signs in at the provider, and returns the address of the callback. It does not
// call the address.
func (b *browser) callback(subject string) string {
	b.t.Helper()
	people := b.get("/login")
	form := people.form(b.t, "/login", func(v url.Values) bool { return v.Get("subject") == subject })
	c := *b.http
	c.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if req.URL.Path == CallbackPath {
			return http.ErrUseLastResponse
		}
		return nil
	}
	a := (&browser{fixture: b.fixture, jar: b.jar, http: &c}).post(b.idp+"/login", form)
	loc, err := a.Location()
	if err != nil {
		b.t.Fatalf("no callback: %s %s", a.Status, a.body)
	}
	// It goes through the provider's own callback first.
	for loc.Path != CallbackPath {
		b.t.Fatalf("led to %s", loc)
	}
	return loc.String()
}

func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.url)
	for _, c := range b.jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) wants(a answer, status int, contains ...string) {
	b.t.Helper()
	if a.StatusCode != status {
		b.t.Errorf("%s %s answers %s, want %d: %s", a.Request.Method, a.Request.URL, a.Status, status, a.text(b.t))
	}
	for _, s := range contains {
		if !strings.Contains(a.text(b.t), s) {
			b.t.Errorf("%s %s does not say %q: %s", a.Request.Method, a.Request.URL, s, a.text(b.t))
		}
	}
}
