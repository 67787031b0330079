package sim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/fault"
	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

// people are all who may sign in.
var people = []events.UserID{"ada", "user0", "user1", "user2", "undecided", "fickle"}

// openProvider makes the sign-in provider, and configures the site with it.
func (w *world) openProvider() {
	c := &w.cfg
	c.WebBaseURL, c.OIDCIssuer, c.OIDCClientID, c.OIDCSecret = "http://localhost:8080", "http://localhost:8082", "gas", config.NewSecret("secret")
	// A short key is quickly made, and nobody attacks.
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := localidp.Config{Issuer: c.OIDCIssuer, Key: key, Clients: []localidp.Client{{
		ID: c.OIDCClientID, Secret: c.OIDCSecret.Reveal(), RedirectURIs: []string{c.WebBaseURL + web.CallbackPath},
	}}}
	for _, id := range people {
		cfg.People = append(cfg.People, localidp.Person{Subject: string(id), Name: string(id), Email: string(id) + "@example.org"})
	}
	p, err := localidp.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.idp = direct{p}
}

// direct calls a handler without a network.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	rec := httptest.NewRecorder()
	d.h.ServeHTTP(rec, in)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

// door is where the replicas of a service listen. A connection goes to each in turn.
type door struct {
	sites []*site
	turn  int // which of them is next
}

// site is where one replica listens: at pipes, on which a bubble's time can wait.
type site struct {
	p    *process
	at   *door
	in   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (p *process) listen(at *door) *site {
	s := &site{p: p, at: at, in: make(chan net.Conn), done: make(chan struct{})}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	at.sites = append(at.sites, s)
	return s
}

func (s *site) Accept() (net.Conn, error) {
	select {
	case c := <-s.in:
		s.p.hold(c) // or it is closed
		return c, nil
	case <-s.done:
	case <-s.p.ctx.Done():
	}
	return nil, net.ErrClosed
}

func (s *site) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.p.w.mu.Lock()
		defer s.p.w.mu.Unlock()
		s.at.sites = slices.DeleteFunc(s.at.sites, func(o *site) bool { return o == s })
	})
	return nil
}

func (s *site) Addr() net.Addr { return &net.UnixAddr{Name: "site", Net: "pipe"} }

// dial connects a browser to a web.
func (w *world) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return w.connect(ctx, &w.webs, "web")
}

func (w *world) connect(ctx context.Context, to *door, name string) (net.Conn, error) {
	w.mu.Lock()
	var s *site
	if n := len(to.sites); n > 0 {
		s = to.sites[to.turn%n]
		to.turn++
	}
	w.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("no %s listens", name)
	}
	ours, theirs := net.Pipe()
	select {
	case s.in <- theirs:
		return ours, nil
	case <-s.done:
	case <-s.p.ctx.Done():
	case <-ctx.Done():
	}
	return nil, fmt.Errorf("the %s does not listen any more", name)
}

// person is a user at a browser.
type person struct {
	w      *world
	id     events.UserID
	client *http.Client
}

// somebody returns the user at a browser that was not at the site yet. The caller closes
// it.
func (w *world) somebody(id events.UserID) person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	provider, err := url.Parse(w.cfg.OIDCIssuer)
	if err != nil {
		w.t.Fatal(err)
	}
	return person{w, id, &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &wayOut{
		Transport: &http.Transport{DialContext: w.dial}, provider: provider.Host, idp: w.idp,
	}}}
}

// wayOut leads a browser to the provider or to a web.
type wayOut struct {
	*http.Transport
	provider string
	idp      http.RoundTripper
}

func (o *wayOut) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == o.provider {
		return o.idp.RoundTrip(r)
	}
	return o.Transport.RoundTrip(r)
}

// page is what a browser shows.
type page struct {
	url  *url.URL
	text string
}

// refusal is an answer that is not the page.
type refusal struct {
	status int
	page   string
}

func (r refusal) Error() string { return fmt.Sprintf("%s answered %d", r.page, r.status) }

// open shows the page at link, or what comes of sending it a form.
func (p person) open(link string, form url.Values) (page, error) {
	var resp *http.Response
	req, err := http.NewRequestWithContext(p.w.t.Context(), http.MethodGet, link, nil)
	if err == nil && form != nil {
		req, err = http.NewRequestWithContext(p.w.t.Context(), http.MethodPost, link, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	if err == nil {
		resp, err = p.client.Do(req)
	}
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refusal{resp.StatusCode, resp.Request.URL.Path}
	}
	return page{resp.Request.URL, string(body)}, err
}

var (
	formOf  = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)".*?</form>`)
	inputOf = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
)

// form returns the form on the page that leads to action and has what the page says
// of field: anything if that is empty.
func (g page) form(action, field, value string) (url.Values, bool) {
	for _, f := range formOf.FindAllStringSubmatch(g.text, -1) {
		if html.UnescapeString(f[1]) != action {
			continue
		}
		values := url.Values{}
		for _, in := range inputOf.FindAllStringSubmatch(f[0], -1) {
			values.Set(html.UnescapeString(in[1]), html.UnescapeString(in[2]))
		}
		if values.Get(field) == value {
			return values, true
		}
	}
	return nil, false
}

// press opens a page of the site, signs in if necessary, and presses the button that
// leads to action, if the page has it. pressed reports whether it was sent.
func (p person) press(path, action string) (pressed bool, err error) {
	g, err := p.open(p.w.cfg.WebBaseURL+path, nil)
	if err != nil {
		return false, err
	}
	if who, ok := g.form("/login", "subject", string(p.id)); ok {
		if g, err = p.open(p.w.cfg.OIDCIssuer+"/login", who); err != nil {
			return false, err
		}
	}
	if g.url.Path != path {
		return false, fmt.Errorf("%s led to %s", path, g.url)
	}
	form, ok := g.form(action, "", "")
	if !ok {
		return false, nil
	}
	_, err = p.open(p.w.cfg.WebBaseURL+action, form)
	return true, err
}

// insist presses the button until the site does not fail, as people do. If they do
// not come back, they press once, whatever the site answers to that.
func (p person) insist(path, action string, back bool) {
	for try := 1; ; try++ {
		pressed, err := p.press(path, action)
		var no refusal
		unknown := pressed && err != nil && !(errors.As(err, &no) && no.status < 500)
		if err == nil || unknown && !back {
			return
		}
		p.w.log.Info("tries again", "user", p.id, "page", path, "err", err)
		if try == 300 {
			p.w.t.Errorf("%s pressed the button of %s %d times: %v", p.id, path, try, err)
			return
		}
		time.Sleep(time.Duration(1+try%20) * time.Second)
	}
}

// upgrade lets the user become Premium at the site. A user who does not come back after a
// request of unknown fate may have stayed Free: then nothing may be requested.
func (w *world) upgrade(user events.UserID, back bool) {
	p := w.somebody(user)
	defer p.client.CloseIdleConnections()
	p.insist("/subscribe", "/subscribe", back)
	if !back {
		time.Sleep(time.Minute) // whatever became of the request, it is over
	}
	premium := w.account(user).Role == archive.Premium
	if back && !premium {
		w.t.Errorf("the site told %s that all is well, and the role is Free", user)
	}
	w.stays[user] = !premium
}

// choose lets the user bring a file before the others, if its page offers that. The user tries a
// few times, and does without it then.
func (w *world) choose(user events.UserID, job events.JobID) {
	p := w.somebody(user)
	defer p.client.CloseIdleConnections()
	page := "/annotation/" + url.PathEscape(string(job))
	for range 10 {
		pressed, err := p.press(page, page+"/first")
		if pressed && err == nil {
			w.trouble(chosen, 1)
			return
		}
		w.log.Info("does not choose", "user", user, "job", job, "pressed", pressed, "err", err)
		time.Sleep(3 * time.Second)
	}
}

// files returns the user's jobs, in the order of their names.
func (w *world) files(user events.UserID) []events.JobID {
	var all []events.JobID
	for id := range w.bodies {
		if w.job(id).UserID == user {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// undo lets the user go back to Free.
func (w *world) undo(user events.UserID) {
	p := w.somebody(user)
	defer p.client.CloseIdleConnections()
	p.insist("/account", "/account/free", true)
	if role := w.account(user).Role; role != archive.Free {
		w.t.Errorf("the site told %s that all is well, and the role is %s", user, role)
	}
	w.stays[user] = true
}

// account returns the user's account, whatever AWS answers meanwhile; a Free one if
// there is none.
func (w *world) account(user events.UserID) archive.Account {
	for try := 1; ; try++ {
		a, err := w.Catalog.Account(w.t.Context(), user)
		switch {
		case err == nil:
			return a
		case fault.Is(err, fault.NotFound):
			return archive.Account{ID: user, Role: archive.Free}
		case try == 40:
			w.t.Fatal(err)
		}
	}
}
