package signin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// maxSID and maxHint bound the provider's session and its ID token that a session of ours
	// keeps, in bytes. A larger ID token does not fit into an address either.
	maxSID  = 256
	maxHint = 4096
	// maxKept bounds the ID token that an attempt keeps for another try, in bytes.
	maxKept = 16 << 10
	// clockLeeway is how far the provider's clock may be from ours. At some providers tokens
	// live for only a minute.
	clockLeeway = 2 * time.Minute
	// redeemTimeout bounds the exchange of a code, so that time is left to report a failure.
	// userInfoTimeout bounds the call of userinfo, which a sign-in can do without.
	redeemTimeout, userInfoTimeout = 5 * time.Second, 2 * time.Second
)

var (
	// errNonce means that the ID token answers another sign-in.
	errNonce = errors.New("the ID token has another nonce")
	// ErrSpent means that the provider spent the code although it refused the client's secret
	// because of its place. The code is lost.
	ErrSpent = errors.New("the code was spent before the client was authenticated")
	// errUnreadable means that there is no signed token.
	errUnreadable = errors.New("it is no signed token")
	// errSignature means that none of the provider's keys has signed the token.
	errSignature = errors.New("none of the provider's current keys has signed it with an algorithm that the provider announces")
)

// signed is a verified token of the provider.
type signed struct {
	*oidc.IDToken
	// typ is the header typ, and all are the claims.
	typ string
	all fields
}

// verify returns the token in raw if the provider has signed it for us, and it is valid now.
// The error is a Refusal if the provider's keys could not be read. Otherwise it is
// errUnreadable, errSignature, [oidc.TokenExpiredError] or another one.
func (p *Provider) verify(ctx context.Context, d *discovered, raw string) (signed, error) {
	return p.verifyFor(ctx, d, raw, p.cfg.ClientID)
}

// verifyFor does so for a token of any audience.
func (p *Provider) verifyFor(ctx context.Context, d *discovered, raw, audience string) (signed, error) {
	jws, err := jose.ParseSigned(raw, asymmetric())
	if err != nil {
		return signed{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	payload, ok := d.verified(jws)
	// Somebody else's renewal may have begun before the key was there.
	for try := 0; try < 2 && (!ok || p.age(d.keysAt) > keysAge); try++ {
		if d, err = p.renew(ctx, d); err != nil {
			return signed{}, err
		}
		payload, ok = d.verified(jws)
	}
	if !ok && d.stale != nil {
		// Perhaps the provider announces the algorithm in the description that we could not read.
		return signed{}, d.stale
	}
	if !ok {
		return signed{}, errSignature
	}
	s := signed{}
	if err := json.Unmarshal(payload, &s.all); err != nil {
		return signed{}, fmt.Errorf("read the claims: %w", err)
	}
	// The library refuses a token if a claim that nobody needs has a wrong type. So it sees
	// only the claims that it has to check.
	few, err := s.all.only("iss", "sub", "aud", "exp", "nbf", "nonce")
	if err != nil {
		return signed{}, fmt.Errorf("read the claims: %w", err)
	}
	var algorithms []string
	for _, a := range asymmetric() {
		algorithms = append(algorithms, string(a))
	}
	s.IDToken, err = oidc.NewVerifier(p.cfg.Issuer, proven(few), &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: algorithms,
		// This is for exp. For nbf the library has five minutes of its own.
		Now: func() time.Time { return p.cfg.Now().Add(-clockLeeway) },
	}).Verify(ctx, raw)
	if err != nil {
		return signed{}, err
	}
	s.typ, _ = jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	return s, nil
}

// checkParty refuses an ID token that another client asked for. It also refuses one that is
// for several clients and does not say which of them asked (OpenID Connect Core 1.0,
// 3.1.3.7). Nobody asks for a logout token, so this is not for those.
func (p *Provider) checkParty(s signed) error {
	_, named := s.all["azp"]
	switch by := s.all.text("azp"); {
	case named && by != p.cfg.ClientID:
		return fmt.Errorf("another client asked for the token: azp is %q, want %q", text.Clip(by, 200), p.cfg.ClientID)
	case !named && len(s.Audience) > 1:
		return fmt.Errorf("the token is for %d clients, and has no azp", len(s.Audience))
	}
	return nil
}

// Redeem redeems code, unless a has an ID token already. It verifies the ID token with its
// nonce, and returns the person. It keeps the ID token in a, because a code cannot be
// redeemed again. The error is a [Refusal].
func (p *Provider) Redeem(ctx context.Context, code string, a *Attempt) (Person, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	raw, access, kept := a.IDToken, "", a.IDToken != ""
	if !kept {
		if raw, access, err = p.redeem(ctx, d, code, a.Verifier); err != nil {
			return Person{}, err
		}
		if len(raw) <= maxKept {
			a.IDToken = raw
		}
	}
	id, err := p.verify(ctx, d, raw)
	if err == nil {
		err = p.checkParty(id)
	}
	if err != nil {
		return Person{}, ofIDToken(err, kept)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return Person{}, Stale(errNonce)
	}
	if err := events.CheckID("sub", id.Subject); err != nil {
		return Person{}, WrongSetUp(fmt.Errorf("verify the ID token: %w", err))
	}
	who := Person{User: events.UserID(id.Subject), Name: id.all.text("name"), Email: id.all.text("email"), At: id.all.time("iat")}
	if sid := id.all.text("sid"); len(sid) <= maxSID {
		who.SID = sid
	}
	if len(raw) <= maxHint {
		who.IDToken = raw
	}
	if access != "" && (who.Name == "" || who.Email == "") {
		p.complete(ctx, d, access, &who)
	}
	who.Name, who.Email = text.Clip(who.Name, 200), text.Clip(who.Email, 320)
	return who, nil
}

// ofIDToken returns the error of verifying an ID token as a Refusal. kept says that the token
// was kept from an earlier try.
func ofIDToken(err error, kept bool) error {
	doingIt := fmt.Errorf("verify the ID token: %w", err)
	_, refused := errors.AsType[*Refusal](err)
	_, expired := errors.AsType[*oidc.TokenExpiredError](err)
	switch {
	case refused:
		return whoseFault(err, "verify the ID token")
	case errors.Is(err, errUnreadable), errors.Is(err, errSignature):
		return nonsense(doingIt)
	case expired && kept:
		return Stale(doingIt)
	}
	// The token endpoint itself sent the token. So the two sides are set up for different
	// things, or their clocks differ.
	return WrongSetUp(doingIt)
}

// redeem exchanges code for an ID token and an access token. The error is a Refusal.
func (p *Provider) redeem(ctx context.Context, d *discovered, code, verifier string) (raw, access string, err error) {
	const doing = "redeem the code"
	if code == "" {
		return "", "", Stale(errors.New("the callback has no code"))
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.cfg.HTTPClient), redeemTimeout)
	defer cancel()
	tok, err := p.authenticated(d, func(conf oauth2.Config) (*oauth2.Token, error) {
		return conf.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	})
	if err != nil {
		return "", "", whoseFault(err, doing)
	}
	if raw, _ = tok.Extra("id_token").(string); raw == "" {
		return "", "", WrongSetUp(errors.New(doing + ": the answer has no ID token"))
	}
	return raw, tok.AccessToken, nil
}

// authenticated calls the token endpoint with the client's secret in the place where the
// provider takes it. Many providers announce both the header and the form, and the client's
// registration decides. If the first place is refused, we try the other one, and remember it
// if it was right. The library's own probing would try again even after errors that have
// spent the code.
func (p *Provider) authenticated(d *discovered, call func(oauth2.Config) (*oauth2.Token, error)) (*oauth2.Token, error) {
	secret, err := p.cfg.Secret()
	if err != nil {
		return nil, WrongSetUp(fmt.Errorf("read the client secret: %w", err))
	}
	var first error
	for _, style := range p.styles(d) {
		conf := d.oauth
		conf.ClientSecret = secret
		conf.Endpoint.AuthStyle = style
		tok, err := call(conf)
		if unauthenticated(err) {
			if first == nil {
				first = err
			}
			continue
		}
		if first == nil {
			return tok, err
		}
		refused, _ := errors.AsType[*oauth2.RetrieveError](err)
		spent := refused != nil && refused.ErrorCode == "invalid_grant"
		if err == nil || spent {
			p.style.Store(int32(style))
			p.cfg.Logger.Info("the provider takes the client's secret in the second place that it announces", "style", int(style))
		}
		if spent {
			return nil, away(fmt.Errorf("%w: %w", ErrSpent, err), 0)
		}
		return tok, err
	}
	return nil, first
}

// unauthenticated reports whether err says that the client's secret is wrong, or is in the
// wrong place.
func unauthenticated(err error) bool {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	return ok && (refused.ErrorCode == "invalid_client" || refused.Response.StatusCode == http.StatusUnauthorized)
}

// styles returns the ways of authenticating to try, in order. A provider that announces none
// means client_secret_basic.
func (p *Provider) styles(d *discovered) []oauth2.AuthStyle {
	basic := d.methods == nil || slices.Contains(d.methods, "client_secret_basic")
	post := d.methods == nil || slices.Contains(d.methods, "client_secret_post")
	switch {
	case !basic:
		return []oauth2.AuthStyle{oauth2.AuthStyleInParams}
	case !post:
		return []oauth2.AuthStyle{oauth2.AuthStyleInHeader}
	case oauth2.AuthStyle(p.style.Load()) == oauth2.AuthStyleInParams:
		return []oauth2.AuthStyle{oauth2.AuthStyleInParams, oauth2.AuthStyleInHeader}
	}
	return []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams}
}

// complete asks the provider for the name and the address if the ID token has none. Nothing
// depends on the answer, so complete ignores errors.
func (p *Provider) complete(ctx context.Context, d *discovered, access string, who *Person) {
	if d.userInfo == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, userInfoTimeout)
	defer cancel()
	body, kind, err := p.get(ctx, d.userInfo, access)
	if err != nil {
		return
	}
	if kind == "application/jwt" { // for clients that are registered so
		jws, err := jose.ParseSigned(string(body), asymmetric())
		if err != nil {
			return
		}
		body, _ = d.verified(jws)
	}
	var info fields
	// OpenID Connect Core 5.3.2: we must not use the answer for another subject.
	if json.Unmarshal(body, &info) != nil || info.text("sub") != string(who.User) {
		return
	}
	if who.Name == "" {
		who.Name = info.text("name")
	}
	if who.Email == "" {
		who.Email = info.text("email")
	}
}
