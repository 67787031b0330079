package web

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

	"github.com/gas-restore/gas/pkg/events"
)

// person is whom the provider vouches for.
type person struct {
	user  events.UserID
	name  string
	email string
	// sid is the provider's session, if it tells; idToken what it signed, and at when, by
	// the provider's clock; zero if it does not tell.
	sid     string
	idToken string
	at      time.Time
}

const (
	// maxSID and maxHint bound what is kept of the provider's with a session, in
	// bytes. A larger ID token does not fit into an address either.
	maxSID  = 256
	maxHint = 4096
	// maxKept bounds the ID token that is kept with a login for another try.
	maxKept = 16 << 10
	// clockLeeway is how far the provider's clock may be from ours: tokens live for a
	// minute at some providers.
	clockLeeway = 2 * time.Minute
	// redeemTimeout bounds the exchange of a code, so that time is left to say that it did
	// not succeed; userInfoTimeout what the sign-in does without.
	redeemTimeout, userInfoTimeout = 5 * time.Second, 2 * time.Second
)

var (
	// errNonce means that the ID token answers another sign-in than ours.
	errNonce = errors.New("the nonce of the ID token is not the one asked for")
	// errSpent means that the provider took a code for used when we had shown the secret in
	// another place than it wants.
	errSpent = errors.New("the code was spent before the client was authenticated")
	// errUnreadable means that something is not a signed token at all.
	errUnreadable = errors.New("it is no signed token")
	// errSignature means that no key of the provider's has signed a token.
	errSignature = errors.New("none of the provider's keys, asked for anew, has signed it by an algorithm that the provider announces")
)

// signed is what the provider has signed, verified.
type signed struct {
	*oidc.IDToken
	// typ is the header of that name, all are the claims.
	typ string
	all fields
}

// verify returns what raw says if the provider has signed it, for us, and it is of now.
// That the provider could not be asked for its keys is a refusal; errUnreadable,
// errSignature, [oidc.TokenExpiredError] and others are not.
func (p *provider) verify(ctx context.Context, d *discovered, raw string) (signed, error) {
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
		// It may be an algorithm that the provider would announce.
		return signed{}, d.stale
	}
	if !ok {
		return signed{}, errSignature
	}
	s := signed{}
	if err := json.Unmarshal(payload, &s.all); err != nil {
		return signed{}, fmt.Errorf("read the claims: %w", err)
	}
	// The library refuses tokens for claims that nobody needs, if these are of a wrong
	// type: it sees what it is to check.
	few, err := s.all.only("iss", "sub", "aud", "exp", "nbf", "nonce")
	if err != nil {
		return signed{}, fmt.Errorf("read the claims: %w", err)
	}
	var algorithms []string
	for _, a := range asymmetric() {
		algorithms = append(algorithms, string(a))
	}
	s.IDToken, err = oidc.NewVerifier(p.cfg.Issuer, proven(few), &oidc.Config{
		ClientID: p.cfg.ClientID, SupportedSigningAlgs: algorithms,
		// For exp. What is valid from later on has five minutes of the library's own.
		Now: func() time.Time { return p.cfg.Now().Add(-clockLeeway) },
	}).Verify(ctx, raw)
	if err != nil {
		return signed{}, err
	}
	s.typ, _ = jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	return s, nil
}

// checkParty refuses an ID token that another client asked for, or that is for several
// and does not say who did (OpenID Connect Core 1.0, 3.1.3.7). A logout token is nothing
// that somebody asks for.
func (p *provider) checkParty(s signed) error {
	_, named := s.all["azp"]
	switch by := s.all.text("azp"); {
	case named && by != p.cfg.ClientID:
		return fmt.Errorf("another client asked for the token: azp is %q, want %q", clip(by, 200), p.cfg.ClientID)
	case !named && len(s.Audience) > 1:
		return fmt.Errorf("the token is for %d clients, and has no azp", len(s.Audience))
	}
	return nil
}

// exchange redeems code, if l has nothing that it was redeemed for, and verifies the ID
// token that comes back, the nonce too, which the verifier leaves to us. What cannot be
// redeemed again is kept in l. The error is a refusal.
func (p *provider) exchange(ctx context.Context, code string, l *login) (person, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return person{}, err
	}
	raw, access, kept := l.IDToken, "", l.IDToken != ""
	if !kept {
		if raw, access, err = p.redeem(ctx, d, code, l.Verifier); err != nil {
			return person{}, err
		}
		if len(raw) <= maxKept {
			l.IDToken = raw
		}
	}
	id, err := p.verify(ctx, d, raw)
	if err == nil {
		err = p.checkParty(id)
	}
	if err != nil {
		return person{}, ofIDToken(err, kept)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(l.Nonce)) != 1 {
		return person{}, stale(errNonce)
	}
	if err := events.CheckID("sub", id.Subject); err != nil {
		return person{}, wrongSetUp(fmt.Errorf("verify the ID token: %w", err))
	}
	who := person{user: events.UserID(id.Subject), name: id.all.text("name"), email: id.all.text("email"), at: id.all.time("iat")}
	if sid := id.all.text("sid"); len(sid) <= maxSID {
		who.sid = sid
	}
	if len(raw) <= maxHint {
		who.idToken = raw
	}
	if access != "" && (who.name == "" || who.email == "") {
		p.complete(ctx, d, access, &who)
	}
	who.name, who.email = clip(who.name, 200), clip(who.email, 320)
	return who, nil
}

// ofIDToken returns err, of verifying an ID token, with whose fault it is.
func ofIDToken(err error, kept bool) error {
	doingIt := fmt.Errorf("verify the ID token: %w", err)
	_, refused := errors.AsType[*refusal](err)
	_, expired := errors.AsType[*oidc.TokenExpiredError](err)
	switch {
	case refused:
		return whoseFault(err, "verify the ID token")
	case errors.Is(err, errUnreadable), errors.Is(err, errSignature):
		return nonsense(doingIt)
	case expired && kept:
		return stale(doingIt)
	}
	// It came from the token endpoint itself: what it says is what was agreed upon there,
	// or by another clock.
	return wrongSetUp(doingIt)
}

// redeem exchanges code for an ID token and an access token. The error is a refusal.
func (p *provider) redeem(ctx context.Context, d *discovered, code, verifier string) (raw, access string, err error) {
	const doing = "redeem the code"
	if code == "" {
		return "", "", stale(errors.New("the callback has no code"))
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
		return "", "", wrongSetUp(errors.New(doing + ": the answer has no ID token"))
	}
	return raw, tok.AccessToken, nil
}

// authenticated calls the token endpoint with the client's secret where the provider
// takes it. Many announce the header and the form, and leave it to the client's
// registration which it is: where the first is refused the other is tried, and remembered
// if that was it. The library's own probing tries a second time after errors that have
// spent the code, too.
func (p *provider) authenticated(d *discovered, call func(oauth2.Config) (*oauth2.Token, error)) (*oauth2.Token, error) {
	secret, err := p.secret()
	if err != nil {
		return nil, wrongSetUp(fmt.Errorf("read the client secret: %w", err))
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
			p.cfg.Logger.Info("the provider takes the client's secret in the second way that it announces", "style", int(style))
		}
		if spent {
			return nil, away(fmt.Errorf("%w: %w", errSpent, err), 0)
		}
		return tok, err
	}
	return nil, first
}

// secret returns the client's secret as it is now.
func (p *provider) secret() (string, error) {
	if p.cfg.SecretFrom != nil {
		return p.cfg.SecretFrom()
	}
	return string(p.cfg.ClientSecret), nil
}

// unauthenticated reports whether err says that the client's secret is wrong, or in the
// wrong place.
func unauthenticated(err error) bool {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	return ok && (refused.ErrorCode == "invalid_client" || refused.Response.StatusCode == http.StatusUnauthorized)
}

// styles returns the ways of authenticating to try, in order. client_secret_basic is what
// is meant when nothing is announced.
func (p *provider) styles(d *discovered) []oauth2.AuthStyle {
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

// complete asks the provider for what the ID token left out. Nothing depends on
// the answer, so an error only leaves it out too.
func (p *provider) complete(ctx context.Context, d *discovered, access string, who *person) {
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
	// OpenID Connect Core 5.3.2: another subject's answer must not be used.
	if json.Unmarshal(body, &info) != nil || info.text("sub") != string(who.user) {
		return
	}
	if who.name == "" {
		who.name = info.text("name")
	}
	if who.email == "" {
		who.email = info.text("email")
	}
}
