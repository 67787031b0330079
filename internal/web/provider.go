package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// provider is the OpenID provider, looked up when it is first needed, when what was
// found has become old, and when something was signed in a way that is not known yet.
type provider struct {
	cfg      Config
	redirect string
	// leaves is the origin that the sign-out form leads to in the end; nil if
	// that is here.
	leaves atomic.Pointer[string]
	found  atomic.Pointer[discovered]
	// style is the last way of authenticating that the token endpoint took where it had
	// refused the first; zero is none.
	style atomic.Int32

	// gate holds a token for whoever looks the provider up, so that a crowd makes one
	// lookup at a time and has the same answer. It guards the fields below.
	gate   chan struct{}
	tried  time.Time
	reason error
}

// discovered is what the provider said of itself, and its keys. It does not change.
type discovered struct {
	at         time.Time
	keysAt     time.Time
	oauth      oauth2.Config
	methods    []string
	algorithms []jose.SignatureAlgorithm
	keys       []jose.JSONWebKey
	keysURL    string
	userInfo   string
	// stale is why all but the keys is from before; nil if it is not.
	stale error
	// endSession is where sign-out at the provider is; empty if it offers none.
	endSession string
}

const (
	// lookupTimeout bounds a lookup of the provider, and describeTimeout what it may take
	// of that to describe itself.
	lookupTimeout, describeTimeout = 5 * time.Second, 3 * time.Second
	// lookupPause is the time between two lookups of which the first failed, or was made
	// a moment ago for a signature that nobody knew: whoever has tokens, or makes some
	// up, must not have us ask the provider for each.
	lookupPause = time.Second
	// lookupAge is for how long what was found is not looked up again, so that a key that
	// was revoked is soon believed no more, and agedPause the time between two attempts at
	// that. keysAge is for how long keys are believed while the provider cannot be asked.
	lookupAge, agedPause, keysAge = 10 * time.Minute, 30 * time.Second, time.Hour
	// maxAnswer bounds what is read of an answer of the provider.
	maxAnswer = 1 << 20
)

func newProvider(cfg Config, redirect string) *provider {
	return &provider{cfg: cfg, redirect: redirect, gate: make(chan struct{}, 1)}
}

// discover returns the provider as it was found a while ago at most; what is older if
// it cannot be asked now. The error is a refusal.
func (p *provider) discover(ctx context.Context) (*discovered, error) {
	d := p.found.Load()
	if d != nil && p.age(d.at) < lookupAge {
		return d, nil
	}
	if d != nil {
		// Nobody waits for what is not needed at once.
		select {
		case p.gate <- struct{}{}:
		default:
			return d, nil
		}
	} else if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	if now := p.found.Load(); now != d {
		return now, nil
	}
	if d != nil && time.Since(p.tried) < agedPause {
		return d, nil
	}
	if p.reason != nil && time.Since(p.tried) < lookupPause {
		return nil, p.reason
	}
	fresh, err := p.lookUp(ctx)
	if err != nil && d != nil {
		p.cfg.Logger.Warn("the provider is not looked up anew", "error", clip(err.Error(), maxLogged))
		return d, nil
	}
	return fresh, err
}

// renew returns the provider as it was found after old, which did not know how to verify
// a signature. The error is a refusal.
func (p *provider) renew(ctx context.Context, old *discovered) (*discovered, error) {
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	if now := p.found.Load(); now != old {
		return now, nil
	}
	if wait := lookupPause - time.Since(p.tried); wait > 0 {
		if p.reason != nil {
			return nil, p.reason
		}
		pause := time.NewTimer(wait)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, away(fmt.Errorf("look up the provider %s: %w", p.cfg.Issuer, ctx.Err()), 0)
		}
	}
	return p.lookUp(ctx)
}

func (p *provider) enter(ctx context.Context) error {
	select {
	case p.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return away(fmt.Errorf("wait for the lookup of the provider %s: %w", p.cfg.Issuer, ctx.Err()), 0)
	}
}

func (p *provider) leave() { <-p.gate }

func (p *provider) age(at time.Time) time.Duration { return p.cfg.Now().Sub(at).Abs() }

// lookUp asks the provider, for all who wait. The caller has the gate.
func (p *provider) lookUp(ctx context.Context) (*discovered, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
	defer cancel()
	d, err := p.describe(ctx)
	if old := p.found.Load(); err != nil && old != nil {
		// The keys may be had though the description is not.
		p.cfg.Logger.Warn("the provider does not describe itself anew", "error", clip(err.Error(), maxLogged))
		again := *old
		again.stale = whoseFault(err, "look up the provider "+p.cfg.Issuer)
		d = &again
	} else if err != nil {
		return nil, p.failed(whoseFault(err, "look up the provider "+p.cfg.Issuer))
	}
	keys, err := p.fetchKeys(ctx, d.keysURL)
	if err != nil {
		return nil, p.failed(whoseFault(err, "look up the keys of the provider "+p.cfg.Issuer))
	}
	d.keys, d.keysAt = keys, p.cfg.Now()
	p.leaves.Store(originOf(d.endSession))
	p.tried, p.reason = time.Now(), nil
	p.found.Store(d)
	return d, nil
}

// originOf returns the origin of address; nil if that is empty.
func originOf(address string) *string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil
	}
	origin := u.Scheme + "://" + u.Host
	return &origin
}

func (p *provider) failed(err error) error {
	p.tried, p.reason = time.Now(), err
	return err
}

// describe reads the discovery document (OpenID Connect Discovery 1.0, section 4).
func (p *provider) describe(ctx context.Context) (*discovered, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	meta, err := p.getJSON(ctx, strings.TrimSuffix(p.cfg.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	if issuer := meta.text("issuer"); issuer != p.cfg.Issuer {
		return nil, wrongSetUp(fmt.Errorf("the issuer calls itself %q: is GAS_OIDC_ISSUER right, to the last slash?", clip(issuer, 200)))
	}
	d := &discovered{
		at: p.cfg.Now(),
		oauth: oauth2.Config{
			ClientID:    p.cfg.ClientID,
			Endpoint:    oauth2.Endpoint{AuthURL: meta.text("authorization_endpoint"), TokenURL: meta.text("token_endpoint")},
			RedirectURL: p.redirect,
			Scopes:      p.cfg.Scopes,
		},
		methods:    meta.texts("token_endpoint_auth_methods_supported"),
		algorithms: known(meta.texts("id_token_signing_alg_values_supported")),
		keysURL:    meta.text("jwks_uri"),
		userInfo:   meta.text("userinfo_endpoint"),
	}
	if d.oauth.Endpoint.AuthURL == "" || d.oauth.Endpoint.TokenURL == "" || d.keysURL == "" {
		return nil, errors.New("the description has no authorization_endpoint, token_endpoint or jwks_uri")
	}
	end := meta.text("end_session_endpoint")
	if u, err := url.Parse(end); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		d.endSession = end
	}
	return d, nil
}

// statusError is an answer with another status than 200.
type statusError struct {
	address string
	status  int
	after   time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answered %d", e.address, e.status) }

// getJSON reads the JSON object at address.
func (p *provider) getJSON(ctx context.Context, address string) (fields, error) {
	body, _, err := p.get(ctx, address, "")
	if err != nil {
		return nil, err
	}
	var f fields
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	return f, nil
}

// get reads what is at address, as the bearer of token if that is not empty, and returns
// its media type too. Another status than 200 is a statusError.
func (p *provider) get(ctx context.Context, address, token string) (body []byte, kind string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Accept", "application/json, application/jwt")
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.cfg.HTTPClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", &statusError{address, resp.StatusCode, retryAfter(resp.Header)}
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", address, err)
	}
	kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return body, kind, nil
}
