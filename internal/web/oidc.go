package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gofiber/fiber/v3"
	"golang.org/x/oauth2"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// provider is the OpenID provider, looked up when it is first needed and then
// kept. A lookup that did not succeed is tried again by the next sign-in.
type provider struct {
	cfg      Config
	redirect string
	// leaves is the origin that the sign-out form leads to in the end; nil if
	// that is here.
	leaves atomic.Pointer[string]

	// mu guards the fields below. It is held during a lookup, so that a crowd
	// before a provider that is down makes one lookup at a time.
	mu     sync.Mutex
	found  *discovered
	tried  time.Time
	reason error
}

type discovered struct {
	oidc     *oidc.Provider
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	// endSession is where sign-out at the provider is; empty if it offers none.
	endSession string
}

const (
	// lookupTimeout bounds a lookup of the provider.
	lookupTimeout = 5 * time.Second
	// lookupPause is the time between two lookups.
	lookupPause = time.Second
)

func (p *provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	if p.reason != nil && time.Since(p.tried) < lookupPause {
		return nil, p.reason
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.cfg.HTTPClient), lookupTimeout)
	defer cancel()
	prov, err := oidc.NewProvider(ctx, p.cfg.Issuer)
	p.tried = time.Now()
	if err != nil {
		p.reason = fault.Errorf(fault.Transient, "look up the provider %s: %w", p.cfg.Issuer, err)
		return nil, p.reason
	}
	var meta struct {
		Methods    []string `json:"token_endpoint_auth_methods_supported"`
		EndSession string   `json:"end_session_endpoint"`
	}
	if err := prov.Claims(&meta); err != nil {
		p.reason = fault.Errorf(fault.Transient, "read what the provider %s offers: %w", p.cfg.Issuer, err)
		return nil, p.reason
	}
	d := &discovered{
		oidc: prov,
		oauth: oauth2.Config{
			ClientID:     p.cfg.ClientID,
			ClientSecret: string(p.cfg.ClientSecret),
			Endpoint:     prov.Endpoint(),
			RedirectURL:  p.redirect,
			Scopes:       p.cfg.Scopes,
		},
		// The verifier takes the algorithms that the provider announces; Globus
		// Auth's is RS512.
		verifier: prov.Verifier(&oidc.Config{ClientID: p.cfg.ClientID, Now: p.cfg.Now}),
	}
	// Trying both styles, as oauth2 does by default, would spend a code that is
	// good once. client_secret_basic is what is meant when nothing is said.
	d.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if meta.Methods != nil && !slices.Contains(meta.Methods, "client_secret_basic") {
		d.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	if u, err := url.Parse(meta.EndSession); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		d.endSession = meta.EndSession
		origin := u.Scheme + "://" + u.Host
		p.leaves.Store(&origin)
	}
	p.found = d
	return d, nil
}

// person is whom the provider vouches for.
type person struct {
	user  events.UserID
	name  string
	email string
	// sid is the provider's session, if it tells; idToken what it signed.
	sid     string
	idToken string
}

const (
	// maxSID and maxHint bound what is kept of the provider's with a session, in
	// bytes. A larger ID token does not fit into an address either.
	maxSID  = 256
	maxHint = 4096
)

// errNonce means that the ID token answers another sign-in than ours.
var errNonce = errors.New("the nonce of the ID token is not the one asked for")

// exchange redeems code and verifies the ID token that comes back, the nonce
// too, which the verifier leaves to us.
func (p *provider) exchange(ctx context.Context, code string, l login) (person, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return person{}, err
	}
	ctx = oidc.ClientContext(ctx, p.cfg.HTTPClient)
	tok, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(l.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response.StatusCode < 500 {
		return person{}, fmt.Errorf("redeem the code: %w", err)
	}
	if err != nil {
		return person{}, fault.Errorf(fault.Transient, "redeem the code: %w", err)
	}
	raw, _ := tok.Extra("id_token").(string)
	if raw == "" {
		return person{}, errors.New("redeem the code: the answer has no ID token")
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return person{}, fmt.Errorf("verify the ID token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(l.Nonce)) != 1 {
		return person{}, errNonce
	}
	if err := events.CheckID("sub", id.Subject); err != nil {
		return person{}, fmt.Errorf("verify the ID token: %w", err)
	}
	var claims struct {
		Name  string `json:"name"`
		Email string `json:"email"`
		SID   string `json:"sid"`
	}
	if err := id.Claims(&claims); err != nil {
		return person{}, fmt.Errorf("read the ID token: %w", err)
	}
	who := person{user: events.UserID(id.Subject), name: claims.Name, email: claims.Email}
	if len(claims.SID) <= maxSID {
		who.sid = claims.SID
	}
	if len(raw) <= maxHint {
		who.idToken = raw
	}
	if who.name == "" || who.email == "" {
		p.complete(ctx, d, tok, &who)
	}
	who.name, who.email = clip(who.name, 200), clip(who.email, 320)
	return who, nil
}

// complete asks the provider for what the ID token left out. Nothing depends on
// the answer, so an error only leaves it out too.
func (p *provider) complete(ctx context.Context, d *discovered, tok *oauth2.Token, who *person) {
	info, err := d.oidc.UserInfo(ctx, oauth2.StaticTokenSource(tok))
	// OpenID Connect Core 5.3.2: another subject's answer must not be used.
	if err != nil || info.Subject != string(who.user) {
		return
	}
	var claims struct {
		Name string `json:"name"`
	}
	if err := info.Claims(&claims); err == nil && who.name == "" {
		who.name = claims.Name
	}
	if who.email == "" {
		who.email = info.Email
	}
}

// login is a sign-in under way.
type login struct {
	// Browser is the key of the browser that began it: a callback from another
	// is somebody else's sign-in pushed on a victim.
	Browser  string `json:"browser"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	// Return is where to lead afterwards, checked already.
	Return    string    `json:"return"`
	ExpiresAt time.Time `json:"expires_at"`
}

// loginLifetime is how long somebody may take to sign in.
const loginLifetime = 10 * time.Minute

// logins keeps the sign-ins under way by the hash of their state.
type logins struct {
	store fiber.Storage
	now   func() time.Time

	// mu makes taking a login one step within the process. Between replicas it
	// is the provider's one-use code that tells the second apart.
	mu sync.Mutex
}

// begin keeps a new login and returns it with its state.
func (l *logins) begin(ctx context.Context, browser, back string) (login, string, error) {
	lg := login{
		Browser:   hashKey("browser", browser),
		Nonce:     rand.Text(),
		Verifier:  oauth2.GenerateVerifier(),
		Return:    back,
		ExpiresAt: l.now().Add(loginLifetime),
	}
	data, err := json.Marshal(lg)
	if err != nil {
		return login{}, "", fmt.Errorf("begin a sign-in: %w", err)
	}
	state := rand.Text()
	if err := l.store.SetWithContext(ctx, hashKey("login", state), data, loginLifetime); err != nil {
		return login{}, "", fmt.Errorf("begin a sign-in: %w", err)
	}
	return lg, state, nil
}

// errLogin means that a callback's state is unknown, used, expired or another
// browser's. Which one is nobody's business.
var errLogin = errors.New("no such sign-in is under way in this browser")

// take returns the login of state and forgets it. Another browser's is left
// alone, or a stranger could end it.
func (l *logins) take(ctx context.Context, state, browser string) (login, error) {
	if state == "" || len(state) > 128 || browser == "" {
		return login{}, errLogin
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := hashKey("login", state)
	data, err := l.store.GetWithContext(ctx, key)
	if err != nil {
		return login{}, fmt.Errorf("read the sign-in: %w", err)
	}
	if data == nil {
		return login{}, errLogin
	}
	var lg login
	if err := json.Unmarshal(data, &lg); err != nil {
		return login{}, fmt.Errorf("decode the sign-in: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(lg.Browser), []byte(hashKey("browser", browser))) != 1 {
		return login{}, errLogin
	}
	if err := l.store.DeleteWithContext(ctx, key); err != nil {
		return login{}, fmt.Errorf("forget the sign-in: %w", err)
	}
	if !l.now().Before(lg.ExpiresAt) {
		return login{}, errLogin
	}
	return lg, nil
}
