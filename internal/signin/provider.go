package signin

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
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/internal/wait"
)

// discovered is the provider's description of itself, and its keys. It does not change.
type discovered struct {
	at         time.Time
	keysAt     time.Time
	oauth      oauth2.Config
	methods    []string
	algorithms []jose.SignatureAlgorithm
	keys       []jose.JSONWebKey
	keysURL    string
	userInfo   string
	// stale is the reason why only the keys are fresh; nil if all is fresh.
	stale error
	// endSession is the address of sign-out at the provider; empty if it offers none.
	endSession string
}

const (
	// lookupTimeout bounds a lookup of the provider. describeTimeout bounds the first part of
	// the lookup, which reads the description.
	lookupTimeout, describeTimeout = 5 * time.Second, 3 * time.Second
	// lookupPause is the time between two lookups if the first one failed, or was made for a
	// signature that could not be verified. Somebody who makes tokens up must not make us
	// ask the provider for each.
	lookupPause = time.Second
	// lookupAge is the age after which the provider is looked up again, so that a revoked key
	// is soon refused. agedPause is the time between two attempts at that. keysAge is for how
	// long we believe keys while the provider cannot be asked.
	lookupAge, agedPause, keysAge = 10 * time.Minute, 30 * time.Second, time.Hour
	// maxAnswer bounds an answer of the provider, in bytes.
	maxAnswer = 1 << 20
	// maxLogged bounds the text of an error in the log, in bytes.
	maxLogged = 1000
)

// discover returns the provider as the last lookup found it. It looks the provider up if
// that is long ago, and returns the old findings if the provider cannot be asked now. The
// error is a Refusal.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	d := p.found.Load()
	if d != nil && p.age(d.at) < lookupAge {
		return d, nil
	}
	if d != nil {
		// The old findings will do: nobody waits for a lookup by somebody else.
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
	if d != nil && p.age(p.tried) < agedPause {
		return d, nil
	}
	if p.reason != nil && p.age(p.tried) < lookupPause {
		return nil, p.reason
	}
	fresh, err := p.lookUp(ctx)
	if err != nil && d != nil {
		p.cfg.Logger.Warn("the provider could not be looked up again", "err", text.Clip(err.Error(), maxLogged))
		return d, nil
	}
	return fresh, err
}

// renew returns the provider as a lookup after old found it. With old, a signature could not
// be verified. The error is a Refusal.
func (p *Provider) renew(ctx context.Context, old *discovered) (*discovered, error) {
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	if now := p.found.Load(); now != old {
		return now, nil
	}
	if left := lookupPause - p.age(p.tried); left > 0 {
		if p.reason != nil {
			return nil, p.reason
		}
		if err := wait.For(ctx, left); err != nil {
			return nil, away(fmt.Errorf("look up the provider %s: %w", p.cfg.Issuer, err), 0)
		}
	}
	return p.lookUp(ctx)
}

func (p *Provider) enter(ctx context.Context) error {
	select {
	case p.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return away(fmt.Errorf("wait for the lookup of the provider %s: %w", p.cfg.Issuer, ctx.Err()), 0)
	}
}

func (p *Provider) leave() { <-p.gate }

func (p *Provider) age(at time.Time) time.Duration { return p.cfg.Now().Sub(at).Abs() }

// lookUp asks the provider on behalf of all who wait. The caller has the gate.
func (p *Provider) lookUp(ctx context.Context) (*discovered, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
	defer cancel()
	d, err := p.describe(ctx)
	if old := p.found.Load(); err != nil && old != nil {
		// We may get the keys without the description.
		p.cfg.Logger.Warn("the provider's description could not be read again", "err", text.Clip(err.Error(), maxLogged))
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
	p.signOutOrigin.Store(originOf(d.endSession))
	p.tried, p.reason = p.cfg.Now(), nil
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

func (p *Provider) failed(err error) error {
	p.tried, p.reason = p.cfg.Now(), err
	return err
}

// describe reads the discovery document (OpenID Connect Discovery 1.0, section 4).
func (p *Provider) describe(ctx context.Context) (*discovered, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	meta, err := p.getJSON(ctx, strings.TrimSuffix(p.cfg.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	if issuer := meta.text("issuer"); issuer != p.cfg.Issuer {
		return nil, WrongSetUp(fmt.Errorf("the issuer calls itself %q: is GAS_OIDC_ISSUER right, to the last slash?", text.Clip(issuer, 200)))
	}
	d := &discovered{
		at: p.cfg.Now(),
		oauth: oauth2.Config{
			ClientID:    p.cfg.ClientID,
			Endpoint:    oauth2.Endpoint{AuthURL: meta.text("authorization_endpoint"), TokenURL: meta.text("token_endpoint")},
			RedirectURL: p.cfg.Redirect,
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

// statusError is an answer with any status but 200.
type statusError struct {
	address string
	status  int
	after   time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answered %d", e.address, e.status) }

// getJSON reads the JSON object at address.
func (p *Provider) getJSON(ctx context.Context, address string) (fields, error) {
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

// get reads the address, with token as the bearer token if there is one. It returns the body
// and its media type. Any status but 200 is a statusError.
func (p *Provider) get(ctx context.Context, address, token string) (body []byte, kind string, err error) {
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
