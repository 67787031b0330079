package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/internal/text"
)

// backChannelPath is where the provider reports that somebody signed out.
const backChannelPath = "/backchannel-logout"

// signedOutBy ends the sessions that the provider's logout token names. A token may come
// twice.
func (s *Server) signedOutBy(ctx context.Context, token string) error {
	out, err := s.provider.VerifyLogout(ctx, token)
	if r, ok := errors.AsType[*signin.Refusal](err); ok {
		p := problemOfRefusal(r, "/")
		p.what = "sign-out refused"
		return p
	}
	if err != nil {
		s.audit(ctx, "sign-out refused", "reason", text.Clip(err.Error(), maxLogged))
		return errLogoutToken
	}
	heard, err := s.sessions.heard(ctx, out.ID)
	if err != nil {
		return err
	}
	if heard {
		// The provider may not have received our answer.
		s.audit(ctx, "sign-out by the provider came again", "user", out.User, "sid", out.SID)
		return nil
	}
	ended, err := s.sessions.endOf(ctx, out)
	for _, hash := range ended {
		s.streams.leave(hash)
	}
	if err != nil {
		return err
	}
	if err := s.sessions.hear(ctx, out.ID); err != nil {
		return err
	}
	s.audit(ctx, "signed out by the provider", "user", out.User, "sid", out.SID, "sessions", len(ended))
	return nil
}

// errLogoutToken means that a logout token is wrong, and stays wrong.
var errLogoutToken = errors.New("the logout token is wrong")

// heard reports whether the logout token called id was carried out already.
func (s *sessions) heard(ctx context.Context, id string) (bool, error) {
	done, err := s.store.Get(ctx, hashKey("jti", id))
	if err != nil {
		return false, fmt.Errorf("look whether the logout token was carried out already: %w", err)
	}
	return done != nil, nil
}

// hear remembers that the logout token called id was carried out, for as long as the site
// would accept it.
func (s *sessions) hear(ctx context.Context, id string) error {
	if err := s.store.Set(ctx, hashKey("jti", id), []byte("done"), 2*signin.MaxLogoutAge); err != nil {
		return fmt.Errorf("remember that the logout token was carried out: %w", err)
	}
	return nil
}

// endOf ends the sessions that out names: all sessions of the user, or only those that belong
// to the provider's session. If out names no user, it ends all sessions of the provider's
// session. It returns the hashes of the tokens of the sessions that it ended, even with an
// error. A session that began later, by the provider's clock, stays: the token may come late,
// or again.
func (s *sessions) endOf(ctx context.Context, out signin.Logout) ([]string, error) {
	prefix, want := ofUser(out.User), ""
	switch {
	case out.User == "" && out.SID == "":
		return nil, nil
	case out.User == "":
		prefix = ofSID(out.SID)
	case out.SID != "":
		want = "sid:" + out.SID
	}
	keys, err := s.store.Keys(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("look for the sessions of %q: %w", out.User, err)
	}
	var ended []string
	for _, key := range keys {
		of, err := s.store.Get(ctx, key)
		if err != nil {
			return ended, fmt.Errorf("look for the sessions of %q: %w", out.User, err)
		}
		hash := strings.TrimPrefix(key, prefix)
		if of == nil || want != "" && string(of) != want {
			continue
		}
		if later, err := s.beganAfter(ctx, hash, out.At); err != nil || later {
			if err != nil {
				return ended, err
			}
			continue
		}
		if err := s.drop(ctx, hash); err != nil {
			return ended, err
		}
		ended = append(ended, hash)
		if err := s.store.Delete(ctx, key); err != nil {
			return ended, fmt.Errorf("end the session: %w", err)
		}
	}
	return ended, nil
}

// beganAfter reports whether the provider made the ID token of the session after at. hash is
// the hash of the session's token.
func (s *sessions) beganAfter(ctx context.Context, hash string, at time.Time) (bool, error) {
	data, err := s.store.Get(ctx, "session."+hash)
	if err != nil {
		return false, fmt.Errorf("read the session: %w", err)
	}
	var sess session
	if data == nil || json.Unmarshal(data, &sess) != nil {
		return false, nil // there is nothing to keep
	}
	return sess.At.After(at), nil
}
