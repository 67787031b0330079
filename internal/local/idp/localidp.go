// Package localidp is an OpenID Connect provider for development. On its sign-in page, a
// person picks one of a few people, and is signed in as that one. The provider speaks the
// authorization code flow with PKCE like a real one. So local runs and tests sign in over
// the same code path as production.
package localidp

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Config says who may sign in, and to which applications.
type Config struct {
	// Issuer is the provider's URL. http is allowed only on a loopback host.
	Issuer  string
	Clients []Client
	People  []Person
	// Algorithm signs the ID tokens: RS256 (the default), RS384, RS512, which Globus Auth
	// uses, or ES256.
	Algorithm string
	// Key signs with RS algorithms; nil means a fresh one. Tests that start many
	// providers share one.
	Key *rsa.PrivateKey
	// Claims changes the claims of an ID token before it is signed; nil changes nothing. Real
	// providers differ in their claims.
	Claims func(claims map[string]any)
	// Now is the clock of codes and requests; nil means [time.Now].
	Now func() time.Time
}

// Client is an application to which people sign in.
type Client struct {
	ID           string
	Secret       string
	RedirectURIs []string
	// PostLogoutRedirectURIs are the addresses to which end_session may lead.
	PostLogoutRedirectURIs []string
	// Post says that the client's secret must be in the form (client_secret_post). Otherwise
	// it must be in the header (client_secret_basic). Discovery always announces basic. It
	// also announces post as soon as one client has it. Providers do so if each client's
	// registration decides.
	Post bool
	// Spend says that a request spends the code even if it does not authenticate the client as
	// registered. A right provider does not do this, but some do.
	Spend bool
	// Audience are further audiences of the client's ID tokens.
	Audience []string
}

// Person is a person that the sign-in page offers.
type Person struct {
	// Subject is the person's id, the sub claim.
	Subject string
	Name    string
	Email   string
	// Note tells the reader of the sign-in page who this is, "Free, 12 archived
	// files" for example.
	Note string
}

// Provider is the OpenID provider; make one with [New]. It is safe for
// concurrent use.
type Provider struct {
	op      op.OpenIDProvider
	state   *state
	page    *page
	handler http.Handler
	moods   moods
	claims  func(map[string]any)
}

// maxBody bounds the body of a request, in bytes. No form of the protocol needs so much.
const maxBody = 64 << 10

// New returns a provider. Its error names every mistake in cfg.
func New(cfg Config) (*Provider, error) {
	if cfg.Algorithm == "" {
		cfg.Algorithm = string(jose.RS256)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("local provider: %w", err)
	}
	key, err := newKey(cfg.Algorithm, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("local provider: %w", err)
	}
	st := newState(cfg, key)

	conf := &op.Config{
		CodeMethodS256: true, SupportedScopes: []string{"openid", "profile", "email"},
		AuthMethodPost: slices.ContainsFunc(cfg.Clients, func(c Client) bool { return c.Post }),
	}
	if _, err := rand.Read(conf.CryptoKey[:]); err != nil {
		return nil, fmt.Errorf("local provider: make the code key: %w", err)
	}
	// No page of another origin needs the provider, so there is no CORS.
	opts := []op.Option{
		op.WithCORSOptions(nil),
		op.WithAccessTokenVerifierOpts(op.WithSupportedAccessTokenSigningAlgorithms(algorithms...)),
		op.WithIDTokenHintVerifierOpts(op.WithSupportedIDTokenHintSigningAlgorithms(algorithms...)),
	}
	if strings.HasPrefix(cfg.Issuer, "http://") {
		opts = append(opts, op.WithAllowInsecure())
	}
	prov, err := op.NewProvider(conf, st, op.StaticIssuer(cfg.Issuer), opts...)
	if err != nil {
		return nil, fmt.Errorf("local provider: %w", err)
	}
	p := &Provider{op: prov, state: st, page: newPage(cfg), claims: cfg.Claims}
	p.handler = p.routes()
	return p, nil
}

// ServeHTTP implements [http.Handler].
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

func (p *Provider) routes() http.Handler {
	issuer := op.NewIssuerInterceptor(p.op.IssuerFromRequest)
	mux := http.NewServeMux()
	mux.Handle("/", p.op)
	mux.HandleFunc("GET /{$}", p.page.about)
	mux.HandleFunc("GET /login", p.showPeople)
	mux.Handle("POST /login", issuer.HandlerFunc(p.signIn))
	mux.HandleFunc("POST /"+p.op.TokenEndpoint().Relative()[1:], p.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if !p.moods.answer(w, r) {
			mux.ServeHTTP(w, r)
		}
	})
}

// token refuses a client that does not authenticate as registered: a client that works here
// must also work with a strict provider. The code stays good.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	id, _, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
	} else {
		id = r.Form.Get("client_id")
	}
	c := p.state.clients[id]
	wrong := ""
	switch {
	case c != nil && c.Post && basic:
		wrong = "send the client secret in the form"
	case (c == nil || !c.Post) && r.Form.Has("client_secret"):
		wrong = "send the client secret with HTTP basic authentication"
	}
	switch {
	case wrong != "":
		if c != nil && c.Spend {
			_, _ = p.state.redeem(r.Form.Get("code"))
		}
		invalidClient(w, wrong)
	case p.claims == nil:
		p.op.ServeHTTP(w, r)
	default:
		p.changed(w, r)
	}
}

func invalidClient(w http.ResponseWriter, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, description)
}

// showPeople is the page to which an application's authorization request leads.
func (p *Provider) showPeople(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	req, err := p.state.request(id)
	if err != nil {
		p.page.fault(w, http.StatusBadRequest, expired)
		return
	}
	p.page.people(w, id, req.GetClientID())
}

const expired = "This sign-in has expired or was used already. Go back to the application and sign in again."

func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.page.fault(w, http.StatusBadRequest, "The form cannot be read.")
		return
	}
	id := r.PostForm.Get("id")
	err := p.state.signIn(id, r.PostForm.Get("subject"))
	switch {
	case errors.Is(err, errNobody):
		p.page.fault(w, http.StatusBadRequest, "There is no such person here.")
	case err != nil:
		p.page.fault(w, http.StatusBadRequest, expired)
	default:
		http.Redirect(w, r, op.AuthCallbackURL(p.op)(r.Context(), id), http.StatusSeeOther)
	}
}

func (c Config) check() error {
	var errs []error
	if err := checkIssuer(c.Issuer); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains(algorithms, c.Algorithm) {
		errs = append(errs, fmt.Errorf("algorithm is %q, want one of %s", c.Algorithm, strings.Join(algorithms, ", ")))
	}
	if len(c.Clients) == 0 {
		errs = append(errs, errors.New("no client"))
	}
	seen := map[string]bool{}
	for _, cl := range c.Clients {
		if cl.ID == "" || cl.Secret == "" || len(cl.RedirectURIs) == 0 {
			errs = append(errs, fmt.Errorf("client %q needs an id, a secret and a redirect URI", cl.ID))
		}
		if seen["client "+cl.ID] {
			errs = append(errs, fmt.Errorf("client %q stands twice", cl.ID))
		}
		seen["client "+cl.ID] = true
		for _, uri := range slices.Concat(cl.RedirectURIs, cl.PostLogoutRedirectURIs) {
			if u, err := url.Parse(uri); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				errs = append(errs, fmt.Errorf("client %q: redirect URI %q is no http(s) URL", cl.ID, uri))
			}
		}
	}
	if len(c.People) == 0 {
		errs = append(errs, errors.New("no people"))
	}
	for _, pe := range c.People {
		if pe.Subject == "" || pe.Name == "" {
			errs = append(errs, fmt.Errorf("person %q needs a subject and a name", pe.Name))
		}
		if seen["person "+pe.Subject] {
			errs = append(errs, fmt.Errorf("person %q stands twice", pe.Subject))
		}
		seen["person "+pe.Subject] = true
	}
	return errors.Join(errs...)
}

// checkIssuer makes sure that nobody reaches a provider without passwords in clear text
// over a network.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("issuer %q is no URL of a provider", issuer)
	case u.Path != "":
		return fmt.Errorf("issuer %q has a path: want scheme and host alone", issuer)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return fmt.Errorf("issuer %q: want https, or http on a loopback host", issuer)
}
