// Package signin speaks OpenID Connect with the provider that signs people in. It looks the
// provider up, redeems codes, verifies tokens, and says who is at fault if somebody
// cannot sign in. It takes and returns plain values: the site has the pages and the routes.
package signin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// Config says who the provider is, and who we are to it. All fields are required.
type Config struct {
	// Issuer is the provider's address, https://auth.globus.org for example. The provider
	// is looked up when somebody signs in, so it may start later than we do.
	Issuer   string
	ClientID string
	// Secret returns the client's secret. It is called at each sign-in.
	Secret func() (string, error)
	Scopes []string
	// Redirect is where the provider sends people back to.
	Redirect   string
	HTTPClient *http.Client
	Logger     *slog.Logger
	Now        func() time.Time
}

// Provider is the OpenID provider. Make one with [New]. It is looked up when it is first
// needed, when the last lookup is old, and when a signature cannot be verified. It is safe
// for concurrent use.
type Provider struct {
	cfg Config
	// signOutOrigin is the origin of the provider's sign-out; nil if it offers none.
	signOutOrigin atomic.Pointer[string]
	found         atomic.Pointer[discovered]
	// style is the way of authenticating that the token endpoint took after it had refused
	// the first one; zero means that this did not happen.
	style atomic.Int32

	// gate holds a token for whoever looks the provider up. So a crowd makes one lookup at
	// a time, and shares the answer. It guards the fields below.
	gate   chan struct{}
	tried  time.Time
	reason error
}

// New returns the provider of cfg. It connects to nothing.
func New(cfg Config) *Provider { return &Provider{cfg: cfg, gate: make(chan struct{}, 1)} }

// Attempt is a sign-in under way. The one who began it keeps it until the provider answers.
type Attempt struct {
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	// IDToken came back for the code, if the code was redeemed and the sign-in could not be
	// finished: a code is good once.
	IDToken string `json:"id_token,omitempty"`
}

// NewAttempt returns a new attempt.
func NewAttempt() Attempt { return Attempt{Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()} }

// Person is somebody for whom the provider vouches.
type Person struct {
	User  events.UserID
	Name  string
	Email string
	// SID is the provider's name of its own session; empty if the provider does not tell.
	SID string
	// IDToken is what the provider signed; empty if it is too long to keep.
	IDToken string
	// At is when the provider signed it, by the provider's clock; zero if it does not tell.
	At time.Time
}

// AuthURL returns the address at the provider that begins the attempt. The provider answers
// with state. The error is a [Refusal].
func (p *Provider) AuthURL(ctx context.Context, state string, a Attempt) (string, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return d.oauth.AuthCodeURL(state, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), nil
}

// CheckAnswer returns what is wrong with the provider's answer to the browser, before the
// code is redeemed. The parameters are those of the answer, and may be empty. The error is
// a [Refusal].
func (p *Provider) CheckAnswer(issuer, code, description string) error {
	// RFC 9207: an answer that names its issuer names ours.
	if issuer != "" && issuer != p.cfg.Issuer {
		return Stale(fmt.Errorf("the callback names another issuer: %q", text.Clip(issuer, 200)))
	}
	if code == "" {
		return nil
	}
	reason := text.Clip(code, 100)
	if description != "" {
		reason += ": " + text.Clip(description, 200)
	}
	return ofCode(code, errors.New("the provider answered the browser with "+reason))
}

// SignOutURL returns where sign-out goes on at the provider, which then leads to back
// (OpenID Connect RP-Initiated Logout 1.0). It is empty if the provider offers no sign-out,
// or if the session has no ID token.
func (p *Provider) SignOutURL(ctx context.Context, idToken, back string) string {
	d, err := p.discover(ctx)
	if err != nil || d.endSession == "" || idToken == "" {
		return ""
	}
	u, err := url.Parse(d.endSession)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("id_token_hint", idToken)
	q.Set("client_id", p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", back)
	u.RawQuery = q.Encode()
	return u.String()
}

// SignOutOrigin returns the origin of [Provider.SignOutURL]. It is empty as long as the
// provider was not looked up, and if it offers no sign-out.
func (p *Provider) SignOutOrigin() string {
	if origin := p.signOutOrigin.Load(); origin != nil {
		return *origin
	}
	return ""
}
