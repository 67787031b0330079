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

// session is somebody who is signed in.
type session struct {
	User events.UserID `json:"user"`
	// CSRF is what every form of the session carries.
	CSRF      string    `json:"csrf"`
	ExpiresAt time.Time `json:"expires_at"`
	// SID is the provider's name of its session, if it has one, and IDToken what
	// it signed: sign-out at the provider shows it.
	SID     string `json:"sid,omitempty"`
	IDToken string `json:"id_token,omitempty"`
	// At is when the provider made the ID token, by its clock; zero if it did not tell.
	At time.Time `json:"at,omitzero"`
	// token is what the cookie holds.
	token string
}

// sessions keeps each session under the hash of its token, so that who reads
// the store can't take a session over. When it was last used stands in an entry
// of its own: a request that notes its use while another signs out must not
// write the session back.
type sessions struct {
	store    SessionStore
	now      func() time.Time
	lifetime time.Duration
	idle     time.Duration
	// uses has when sessions were last used as far as was read a moment ago, by the
	// hash of their token: that costs a call, and only the session's own entry
	// decides whether it is one. The zero value is ready.
	uses uses
}

const (
	// useAge is how long what was read of a session's use is believed.
	useAge = 10 * time.Second
	// maxUses bounds how many are remembered.
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

// lastUse returns when the session was last used; ok is false if that has expired.
func (s *sessions) lastUse(ctx context.Context, token string) (last time.Time, ok bool, err error) {
	now := s.now()
	// What would end the session is read again: another replica may know better.
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

// ofUser is the prefix of the entries that lead from a user to the sessions.
func ofUser(user events.UserID) string { return hashKey("user", string(user)) + "." }

// ofSID is the prefix of the entries that lead from the provider's session to ours.
func ofSID(sid string) string { return hashKey("sid", sid) + "." }

// start makes a session with a new token for whom the provider vouches.
func (s *sessions) start(ctx context.Context, who signin.Person) (*session, error) {
	now := s.now()
	sess := &session{User: who.User, SID: who.SID, IDToken: who.IDToken, At: who.At, CSRF: rand.Text(), ExpiresAt: now.Add(s.lifetime), token: rand.Text() + rand.Text()}
	data, err := json.Marshal(sess)
	if err != nil {
		return nil, fmt.Errorf("start a session: %w", err)
	}
	if err := s.touch(ctx, sess.token, now); err != nil {
		return nil, err
	}
	// Before the session is: the provider can end whatever can be used.
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

// find returns the session of token; nil if there is none (any more). used
// says whether the request counts as the user's doing: a live stream that a
// browser keeps open does not.
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
	// The store expires entries too, but when is its own business.
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

// end forgets the session of token; that there is none is no error.
func (s *sessions) end(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	return s.drop(ctx, hashOf(token))
}

// drop forgets the session whose token has the hash.
func (s *sessions) drop(ctx context.Context, hash string) error {
	s.uses.forget(hash)
	for _, kind := range []string{"session.", "seen."} {
		if err := s.store.Delete(ctx, kind+hash); err != nil {
			return fmt.Errorf("end the session: %w", err)
		}
	}
	return nil
}
