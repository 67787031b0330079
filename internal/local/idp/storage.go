package localidp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// This file implements the storage that the op package needs, on state.

var _ op.Storage = (*state)(nil)

func newID() string { return rand.Text() }

// CreateAuthRequest implements [op.Storage]. It refuses two kinds of requests that op would
// accept: a request without PKCE S256, and a request with prompt=none, because this provider
// must always ask who the person is.
func (s *state) CreateAuthRequest(_ context.Context, ar *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if ar.CodeChallenge == "" || ar.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with code_challenge_method S256 is required")
	}
	if !slices.Contains(ar.Scopes, oidc.ScopeOpenID) {
		return nil, oidc.ErrInvalidScope().WithDescription("scope openid is required")
	}
	if slices.Contains(ar.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired().WithDescription("nobody stays signed in to this provider")
	}
	r := &request{AuthRequest: *ar, id: newID(), audience: []string{ar.ClientID}}
	if c := s.clients[ar.ClientID]; c != nil {
		r.audience = append(r.audience, c.Audience...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.put(r.id, r, s.now().Add(requestLifetime))
	copied := *r
	return &copied, nil
}

// AuthRequestByID implements [op.Storage].
func (s *state) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	return s.request(id)
}

// AuthRequestByCode implements [op.Storage]. It uses the code up.
func (s *state) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	return s.redeem(code)
}

// SaveAuthCode implements [op.Storage].
func (s *state) SaveAuthCode(_ context.Context, id, code string) error { return s.saveCode(id, code) }

// DeleteAuthRequest implements [op.Storage]. The request is gone already, with its code.
func (s *state) DeleteAuthRequest(context.Context, string) error { return nil }

// CreateAccessToken implements [op.Storage].
func (s *state) CreateAccessToken(_ context.Context, req op.TokenRequest) (string, time.Time, error) {
	t := token{subject: req.GetSubject(), scopes: req.GetScopes(), expires: s.now().Add(tokenLifetime)}
	if r, ok := req.(op.AuthRequest); ok {
		t.client = r.GetClientID()
	}
	id := newID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.put(id, t, t.expires)
	return id, t.expires, nil
}

var errNoRefresh = errors.New("refresh tokens are not offered")

// CreateAccessAndRefreshTokens implements [op.Storage].
func (s *state) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNoRefresh
}

// TokenRequestByRefreshToken implements [op.Storage].
func (s *state) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNoRefresh
}

// GetRefreshTokenInfo implements [op.Storage].
func (s *state) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// TerminateSession implements [op.Storage]. Nobody stays signed in here, so it ends the
// access tokens.
func (s *state) TerminateSession(_ context.Context, subject, clientID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for el := s.tokens.order.Front(); el != nil; {
		en := el.Value.(entry[token])
		el = el.Next()
		if subject != "" && en.value.subject == subject && en.value.client == clientID {
			s.tokens.remove(en.key)
		}
	}
	return nil
}

// RevokeToken implements [op.Storage].
func (s *state) RevokeToken(_ context.Context, id, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tokens.get(id, s.now()); ok {
		if t.client != clientID {
			return oidc.ErrInvalidClient().WithDescription("the token belongs to another client")
		}
		s.tokens.remove(id)
	}
	return nil
}

// SigningKey implements [op.Storage].
func (s *state) SigningKey(context.Context) (op.SigningKey, error) { return s.signing(), nil }

// SignatureAlgorithms implements [op.Storage].
func (s *state) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	var all []jose.SignatureAlgorithm
	for _, k := range s.published() {
		if !slices.Contains(all, k.algorithm) {
			all = append(all, k.algorithm)
		}
	}
	return all, nil
}

// KeySet implements [op.Storage].
func (s *state) KeySet(context.Context) ([]op.Key, error) {
	var keys []op.Key
	for _, k := range s.published() {
		keys = append(keys, publicKey{k})
	}
	return keys, nil
}

// GetClientByClientID implements [op.Storage].
func (s *state) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errors.New("no such client")
	}
	return c, nil
}

// AuthorizeClientIDSecret implements [op.Storage].
func (s *state) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.clients[id]
	if !ok || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) != 1 {
		return errors.New("wrong client or secret")
	}
	return nil
}

// SetUserinfoFromScopes implements [op.Storage]. It adds to the ID token the claims that
// Globus Auth puts there, too.
func (s *state) SetUserinfoFromScopes(_ context.Context, info *oidc.UserInfo, subject, _ string, scopes []string) error {
	return s.describe(info, subject, scopes)
}

// SetUserinfoFromToken implements [op.Storage].
func (s *state) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, _, _ string) error {
	s.mu.Lock()
	t, ok := s.tokens.get(id, s.now())
	s.mu.Unlock()
	if !ok {
		return oidc.ErrInvalidGrant().WithDescription("the token is unknown, revoked or expired")
	}
	return s.describe(info, t.subject, t.scopes)
}

// SetIntrospectionFromToken implements [op.Storage].
func (s *state) SetIntrospectionFromToken(_ context.Context, resp *oidc.IntrospectionResponse, id, _, clientID string) error {
	s.mu.Lock()
	t, ok := s.tokens.get(id, s.now())
	s.mu.Unlock()
	if !ok || t.client != clientID {
		return errUnknown
	}
	resp.Active = true
	resp.Subject = t.subject
	resp.ClientID = t.client
	resp.Scope = t.scopes
	resp.Expiration = oidc.FromTime(t.expires)
	return nil
}

func (s *state) describe(info *oidc.UserInfo, subject string, scopes []string) error {
	p, ok := s.persons[subject]
	if !ok {
		return errNobody
	}
	info.Subject = p.Subject
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name = p.Name
		info.PreferredUsername = p.Email
	}
	if slices.Contains(scopes, oidc.ScopeEmail) && p.Email != "" {
		info.Email = p.Email
		info.EmailVerified = true
	}
	return nil
}

// GetPrivateClaimsFromScopes implements [op.Storage].
func (s *state) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// GetKeyByIDAndClientID implements [op.Storage]. No client has a key, so it refuses the
// grants that need one.
func (s *state) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errors.New("clients have no keys here")
}

// ValidateJWTProfileScopes implements [op.Storage].
func (s *state) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errors.New("the JWT profile is not offered")
}

// Health implements [op.Storage].
func (s *state) Health(context.Context) error { return nil }

// The methods of [op.AuthRequest].

func (r *request) GetID() string                      { return r.id }
func (r *request) GetACR() string                     { return "" }
func (r *request) GetAMR() []string                   { return nil }
func (r *request) GetAudience() []string              { return r.audience }
func (r *request) GetAuthTime() time.Time             { return r.signedIn }
func (r *request) GetClientID() string                { return r.ClientID }
func (r *request) GetNonce() string                   { return r.Nonce }
func (r *request) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }
func (r *request) GetScopes() []string                { return r.Scopes }
func (r *request) GetSubject() string                 { return r.subject }
func (r *request) Done() bool                         { return r.subject != "" }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// client adds to Client the methods of [op.Client].
type client struct{ Client }

func (c *client) GetID() string                       { return c.ID }
func (c *client) RedirectURIs() []string              { return c.Client.RedirectURIs }
func (c *client) PostLogoutRedirectURIs() []string    { return c.Client.PostLogoutRedirectURIs }
func (c *client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c *client) AuthMethod() oidc.AuthMethod {
	if c.Post {
		return oidc.AuthMethodPost
	}
	return oidc.AuthMethodBasic
}
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) GrantTypes() []oidc.GrantType { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c *client) LoginURL(id string) string    { return "/login?id=" + url.QueryEscape(id) }

// AccessTokenType is JWT: op's opaque tokens can't carry a subject with a colon.
func (c *client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c *client) IDTokenLifetime() time.Duration      { return tokenLifetime }
func (c *client) DevMode() bool                       { return false }
func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c *client) IsScopeAllowed(string) bool           { return false }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c *client) ClockSkew() time.Duration             { return 0 }
