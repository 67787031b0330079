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

	"github.com/gas-restore/gas/internal/signin"
)

// login is a sign-in under way.
type login struct {
	// Browser is the key of the browser that began it: a callback from another
	// is somebody else's sign-in pushed on a victim.
	Browser string `json:"browser"`
	signin.Attempt
	// Return is where to lead afterwards, checked already.
	Return    string    `json:"return"`
	ExpiresAt time.Time `json:"expires_at"`
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

// begin returns a new login and its state. It is not kept yet.
func (l *logins) begin(browser, back string) (lg login, state string) {
	return login{
		Browser:   hashKey("browser", browser),
		Attempt:   signin.NewAttempt(),
		Return:    back,
		ExpiresAt: l.now().Add(loginLifetime),
	}, rand.Text()
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

// keep keeps the login until it expires. It does so at the beginning, and again when a login
// that was taken may have another try.
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
