package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/internal/text"
)

// backChannelPath is where the provider tells of somebody's sign-out.
const backChannelPath = "/backchannel-logout"

// backChannel ends the sessions that the provider's logout token names (OpenID
// Connect Back-Channel Logout 1.0). The token is the credential: there is no
// cookie and no form of ours. Coming twice it does no harm. A token that cannot be
// verified now is answered 503, one that is not right 400: that is for good.
func (s *Server) backChannel(c fiber.Ctx) error {
	out, err := s.provider.VerifyLogout(c.Context(), c.FormValue("logout_token"))
	if r, ok := errors.AsType[*signin.Refusal](err); ok {
		p := problemOfRefusal(r, "/")
		p.what = "sign-out refused"
		return p
	}
	if err != nil {
		s.audit(c, "sign-out refused", "reason", text.Clip(err.Error(), maxLogged))
		return c.Status(http.StatusBadRequest).JSON(map[string]string{"error": "invalid_request"})
	}
	heard, err := s.sessions.heard(c.Context(), out.ID)
	if err != nil {
		return err
	}
	if heard {
		// To the provider it is done, which may not have had our answer.
		s.audit(c, "sign-out by the provider came again", "user", out.User, "sid", out.SID)
		return c.SendStatus(http.StatusOK)
	}
	ended, err := s.sessions.endOf(c.Context(), out)
	for _, hash := range ended {
		s.streams.leave(hash)
	}
	if err != nil {
		return err
	}
	if err := s.sessions.hear(c.Context(), out.ID); err != nil {
		return err
	}
	s.audit(c, "signed out by the provider", "user", out.User, "sid", out.SID, "sessions", len(ended))
	return c.SendStatus(http.StatusOK)
}

// heard reports whether the logout token called id was done already.
func (s *sessions) heard(ctx context.Context, id string) (bool, error) {
	done, err := s.store.Get(ctx, hashKey("jti", id))
	if err != nil {
		return false, fmt.Errorf("look whether the logout token was done already: %w", err)
	}
	return done != nil, nil
}

// hear notes that the logout token called id is done, for as long as it would be taken.
func (s *sessions) hear(ctx context.Context, id string) error {
	if err := s.store.Set(ctx, hashKey("jti", id), []byte("done"), 2*signin.MaxLogoutAge); err != nil {
		return fmt.Errorf("note that the logout token is done: %w", err)
	}
	return nil
}

// endOf forgets the sessions that out is of: the user's, or those alone that belong to the
// provider's session, whoever's if it names no user. It returns the hashes of their tokens,
// also with an error. Those that began later, by the provider's clock, stay: a token that
// comes late, or again, says nothing of them.
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

// beganAfter reports whether the session whose token has the hash is of an ID token that
// the provider made after at.
func (s *sessions) beganAfter(ctx context.Context, hash string, at time.Time) (bool, error) {
	data, err := s.store.Get(ctx, "session."+hash)
	if err != nil {
		return false, fmt.Errorf("read the session: %w", err)
	}
	var sess session
	if data == nil || json.Unmarshal(data, &sess) != nil {
		return false, nil // nothing that would have to stay
	}
	return sess.At.After(at), nil
}
