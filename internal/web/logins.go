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

	"golang.org/x/oauth2"
)

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
	// IDToken is what the code was redeemed for, if it was, and what came of it is not
	// known yet: a code is good once.
	IDToken string `json:"id_token,omitempty"`
	// Tries counts how often the provider could not finish it.
	Tries int `json:"tries,omitempty"`
}

// maxTries bounds how often a sign-in is kept for another try: a provider that has trouble
// is not asked for ever with one code.
const maxTries = 10

// loginLifetime is how long somebody may take to sign in.
const loginLifetime = 10 * time.Minute

// logins keeps the sign-ins under way by the hash of their state.
type logins struct {
	store Store
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
	if err := l.store.Set(ctx, hashKey("login", state), data, loginLifetime); err != nil {
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

// putBack keeps the login that was taken, for another try within its time.
func (l *logins) putBack(ctx context.Context, lg login, state string) error {
	data, err := json.Marshal(lg)
	if err != nil {
		return fmt.Errorf("put the sign-in back: %w", err)
	}
	left := lg.ExpiresAt.Sub(l.now())
	if left <= 0 {
		return nil
	}
	if err := l.store.Set(ctx, hashKey("login", state), data, left); err != nil {
		return fmt.Errorf("put the sign-in back: %w", err)
	}
	return nil
}
