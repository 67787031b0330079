package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/pkg/events"
)

// session is the session of a person who is signed in.
type session struct {
	User events.UserID `json:"user"`
	// CSRF is the token that every form of the session carries.
	CSRF      string    `json:"csrf"`
	ExpiresAt time.Time `json:"expires_at"`
	// SID is the provider's name of its session, if it has one. IDToken is the token that the
	// provider signed: sign-out at the provider shows it.
	SID     string `json:"sid,omitempty"`
	IDToken string `json:"id_token,omitempty"`
	// At is when the provider made the ID token, by the provider's clock; zero if the provider
	// did not tell.
	At time.Time `json:"at,omitzero"`
	// Agent names the browser in which the session began.
	Agent string `json:"agent,omitempty"`
	// token is in the cookie.
	token string
}

// sessions keeps each session under the hash of its token. So a reader of the store cannot
// take a session over. The time of the last use has its own entry. If it were in
// the session's entry, a request that writes the time could bring back a session that another
// request has just ended.
type sessions struct {
	store    SessionStore
	now      func() time.Time
	lifetime time.Duration
	idle     time.Duration
	// uses has the times of last use that were read a moment ago, by the hash of the token. It
	// saves a call. Only the session's own entry decides whether the session is there. The
	// zero value is ready.
	uses uses
}

const (
	// useAge is how long a time of last use is believed after it was read.
	useAge = 10 * time.Second
	// maxUses bounds how many times of last use are remembered.
	maxUses = 100_000
)

type use struct {
	last time.Time
	read time.Time
}

type uses struct {
	mu    sync.Mutex // guards known
	known map[string]use
}

func (u *uses) get(hash string, now time.Time) (time.Time, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[hash]
	age := now.Sub(k.read)
	return k.last, ok && age >= 0 && age < useAge
}

func (u *uses) set(hash string, last, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known == nil || len(u.known) >= maxUses {
		u.known = map[string]use{}
	}
	u.known[hash] = use{last, now}
}

func (u *uses) forget(hash string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.known, hash)
}

// lastUse returns when the session was last used. ok is false if that entry has expired.
func (s *sessions) lastUse(ctx context.Context, token string) (last time.Time, ok bool, err error) {
	now := s.now()
	// Another replica may know a later use. So a time that would end the session is read
	// again.
	if last, ok := s.uses.get(hashOf(token), now); ok && now.Sub(last) <= s.idle {
		return last, true, nil
	}
	seen, err := s.store.Get(ctx, hashKey("seen", token))
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read the session's last use: %w", err)
	}
	if seen == nil {
		return time.Time{}, false, nil
	}
	at, err := strconv.ParseInt(string(seen), 10, 64)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("decode the session's last use: %w", err)
	}
	last = time.Unix(at, 0)
	s.uses.set(hashOf(token), last, now)
	return last, true, nil
}

// touchEvery bounds how often the use of a session is written.
const touchEvery = time.Minute

func hashKey(kind, token string) string { return kind + "." + hashOf(token) }

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// ofUser is the prefix of the keys that lead from a user to the user's sessions.
func ofUser(user events.UserID) string { return hashKey("user", string(user)) + "." }

// ofSID is the prefix of the keys that lead from the provider's session to our sessions.
func ofSID(sid string) string { return hashKey("sid", sid) + "." }

// start makes a session with a new token for a person for whom the provider vouches. agent names
// the browser.
func (s *sessions) start(ctx context.Context, who signin.Person, agent string) (*session, error) {
	now := s.now()
	sess := &session{User: who.User, SID: who.SID, IDToken: who.IDToken, At: who.At, Agent: agent, CSRF: rand.Text(), ExpiresAt: now.Add(s.lifetime), token: rand.Text() + rand.Text()}
	data, err := json.Marshal(sess)
	if err != nil {
		return nil, fmt.Errorf("start a session: %w", err)
	}
	if err := s.touch(ctx, sess.token, now); err != nil {
		return nil, err
	}
	// These entries come before the session: the provider must be able to end every session
	// that somebody can use.
	if err := s.store.Set(ctx, ofUser(who.User)+hashOf(sess.token), []byte("sid:"+who.SID), s.lifetime); err != nil {
		return nil, fmt.Errorf("start a session: %w", err)
	}
	if who.SID != "" {
		if err := s.store.Set(ctx, ofSID(who.SID)+hashOf(sess.token), []byte("user:"+string(who.User)), s.lifetime); err != nil {
			return nil, fmt.Errorf("start a session: %w", err)
		}
	}
	if err := s.store.Set(ctx, hashKey("session", sess.token), data, s.lifetime); err != nil {
		return nil, fmt.Errorf("start a session: %w", err)
	}
	return sess, nil
}

// find returns the session of token, or nil if there is none, or none any more. used says
// whether the user did something: a live stream that a browser keeps open does not count.
func (s *sessions) find(ctx context.Context, token string, used bool) (*session, error) {
	if token == "" || len(token) > 128 {
		return nil, nil
	}
	data, err := s.store.Get(ctx, hashKey("session", token))
	if err != nil {
		return nil, fmt.Errorf("read the session: %w", err)
	}
	if data == nil {
		return nil, nil
	}
	last, ok, err := s.lastUse(ctx, token)
	if err != nil || !ok {
		return nil, err
	}
	sess := &session{token: token}
	if err := json.Unmarshal(data, sess); err != nil {
		return nil, fmt.Errorf("decode the session: %w", err)
	}
	// The store ends entries too, but perhaps later.
	now := s.now()
	idle := now.Sub(last)
	if !now.Before(sess.ExpiresAt) || idle > s.idle {
		return nil, s.end(ctx, token)
	}
	if used && idle > touchEvery {
		if err := s.touch(ctx, token, now); err != nil {
			return nil, err
		}
	}
	return sess, nil
}

func (s *sessions) touch(ctx context.Context, token string, now time.Time) error {
	err := s.store.Set(ctx, hashKey("seen", token), strconv.AppendInt(nil, now.Unix(), 10), s.idle)
	if err != nil {
		return fmt.Errorf("note the session's use: %w", err)
	}
	s.uses.set(hashOf(token), now, now)
	return nil
}

// end forgets the session of token. It is no error if there is none.
func (s *sessions) end(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	return s.drop(ctx, hashOf(token))
}

// drop forgets the session. hash is the hash of its token.
func (s *sessions) drop(ctx context.Context, hash string) error {
	s.uses.forget(hash)
	for _, kind := range []string{"session.", "seen."} {
		if err := s.store.Delete(ctx, kind+hash); err != nil {
			return fmt.Errorf("end the session: %w", err)
		}
	}
	return nil
}
