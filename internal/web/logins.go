package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/signin"
)

// login is a sign-in under way.
type login struct {
	// Browser is the hash of the key of the browser that began the sign-in. A callback from
	// another browser may be an attack: somebody gives a victim the attacker's sign-in.
	Browser string `json:"browser"`
	signin.Attempt
	// Return is the path to which sign-in leads. It was checked.
	Return    string    `json:"return"`
	ExpiresAt time.Time `json:"expires_at"`
	// Tries counts how often the provider could not finish the sign-in.
	Tries int `json:"tries,omitempty"`
}

// maxTries bounds the tries of a sign-in. Without it, the site could ask a provider in
// trouble with the same code for ever.
const maxTries = 10

// loginLifetime is how long somebody may take to sign in.
const loginLifetime = 10 * time.Minute

// logins keeps the sign-ins under way under the hash of their state.
type logins struct {
	store Store
	now   func() time.Time

	// mu makes it one step to take a login, within this process. Between replicas the
	// provider's one-use code refuses the second one.
	mu sync.Mutex
}

// begin returns a new login and its state. It does not store the login.
func (l *logins) begin(browser, back string) (lg login, state string) {
	return login{
		Browser:   hashKey("browser", browser),
		Attempt:   signin.NewAttempt(),
		Return:    back,
		ExpiresAt: l.now().Add(loginLifetime),
	}, rand.Text()
}

// errLogin means that a callback's state is unknown, used, expired, or of another browser.
// The answer does not say which.
var errLogin = errors.New("no such sign-in is under way in this browser")

// take returns the login of state, and forgets it. It leaves the login of another browser
// alone: otherwise a stranger could end it.
func (l *logins) take(ctx context.Context, state, browser string) (login, error) {
	if state == "" || len(state) > 128 || browser == "" {
		return login{}, errLogin
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := hashKey("login", state)
	data, err := l.store.Get(ctx, key)
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
	if err := l.store.Delete(ctx, key); err != nil {
		return login{}, fmt.Errorf("forget the sign-in: %w", err)
	}
	if !l.now().Before(lg.ExpiresAt) {
		return login{}, errLogin
	}
	return lg, nil
}

// keep stores the login until it expires: at the beginning, and when a login that was taken
// may have another try.
func (l *logins) keep(ctx context.Context, lg login, state string) error {
	data, err := json.Marshal(lg)
	if err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	left := lg.ExpiresAt.Sub(l.now())
	if left <= 0 {
		return nil
	}
	if err := l.store.Set(ctx, hashKey("login", state), data, left); err != nil {
		return fmt.Errorf("keep the sign-in: %w", err)
	}
	return nil
}

// again keeps the sign-in for another try. In a minute the provider may be able to finish
// it, with the same code or with the ID token that the code was redeemed for. The words for r
// lead to here, which is the address of the callback, or to the beginning of sign-in.
func (s *Server) again(ctx context.Context, lg login, state string, r *signin.Refusal, here string) error {
	if lg.Tries++; errors.Is(r, signin.ErrSpent) || lg.Tries >= maxTries {
		return problemOfRefusal(r, loginLink(lg.Return))
	}
	// The request may have used its time up at the provider.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := s.logins.keep(ctx, lg, state); err != nil {
		both := *r // others may have the same refusal
		both.Err = errors.Join(r.Err, err)
		return problemOfRefusal(&both, loginLink(lg.Return))
	}
	return problemOfRefusal(r, here)
}

// keepTime bounds the write of a login that is kept for another try.
const keepTime = 2 * time.Second

// signedIn makes the account and a new session for a person for whom the provider vouches.
// It ends the session of the token that the browser came with, if there is one. An account
// of another issuer is a refusal.
func (s *Server) signedIn(ctx context.Context, who signin.Person, token string) (*session, error) {
	err := s.deps.Accounts.SignIn(ctx, archive.Account{
		ID: who.User, Name: who.Name, Email: who.Email, Issuer: s.cfg.Issuer, Role: archive.Free,
	}, s.cfg.FormerIssuers)
	if errors.Is(err, archive.ErrIssuer) {
		return nil, signin.WrongSetUp(fmt.Errorf("%w: if the people of the two are the same, name the earlier one in GAS_OIDC_FORMER_ISSUERS", err))
	}
	if err != nil {
		return nil, err
	}
	// The session is a new one, whatever cookie the browser came with.
	if err := s.sessions.end(ctx, token); err != nil {
		return nil, err
	}
	sess, err := s.sessions.start(ctx, who, requestOf(ctx).agent)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "signed in", "user", who.User)
	return sess, nil
}
