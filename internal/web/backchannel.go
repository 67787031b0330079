package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/pkg/events"
)

// backChannelPath is where the provider tells of somebody's sign-out.
const backChannelPath = "/backchannel-logout"

// logoutEvent is the member that makes a token one of sign-out.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxLogoutAge is how old a logout token may be, with clocks that differ.
const maxLogoutAge = 5 * time.Minute

// backChannel ends the sessions that the provider's logout token names (OpenID
// Connect Back-Channel Logout 1.0). The token is the credential: there is no
// cookie and no form of ours. Coming twice it does no harm. A token that cannot be
// verified now is answered 503, one that is not right 400: that is for good.
func (s *Server) backChannel(c fiber.Ctx) error {
	out, err := s.provider.verifyLogout(c.Context(), c.FormValue("logout_token"))
	if r, ok := errors.AsType[*refusal](err); ok {
		p := r.problem("/")
		p.what = "sign-out refused"
		return p
	}
	if err != nil {
		s.audit(c, "sign-out refused", "reason", clip(err.Error(), maxLogged))
		return c.Status(http.StatusBadRequest).JSON(map[string]string{"error": "invalid_request"})
	}
	heard, err := s.sessions.heard(c.Context(), out.id)
	if err != nil {
		return err
	}
	if heard {
		// To the provider it is done, which may not have had our answer.
		s.audit(c, "sign-out by the provider came again", "user", out.user, "sid", out.sid)
		return c.SendStatus(http.StatusOK)
	}
	ended, err := s.sessions.endOf(c.Context(), out)
	for _, hash := range ended {
		s.streams.leave(hash)
	}
	if err != nil {
		return err
	}
	if err := s.sessions.hear(c.Context(), out.id); err != nil {
		return err
	}
	s.audit(c, "signed out by the provider", "user", out.user, "sid", out.sid, "sessions", len(ended))
	return c.SendStatus(http.StatusOK)
}

// logout is what a logout token says.
type logout struct {
	// id is the token's.
	id string
	// user is empty if the token names the provider's session alone, sid if it is all of
	// the user's sessions.
	user events.UserID
	sid  string
	// at is when the provider said so, by its clock.
	at time.Time
}

// verifyLogout returns whom a logout token signs out. That the provider could not be
// asked for its keys is a refusal; every other error means that the token is not right.
func (p *provider) verifyLogout(ctx context.Context, raw string) (logout, error) {
	if raw == "" || len(raw) > maxHint {
		return logout{}, errors.New("the logout token is missing or too long")
	}
	d, err := p.discover(ctx)
	if err != nil {
		return logout{}, err
	}
	token, err := p.verify(ctx, d, raw)
	if err != nil {
		return logout{}, fmt.Errorf("verify the logout token: %w", err)
	}
	out := logout{id: token.all.text("jti"), sid: token.all.text("sid"), at: token.all.time("iat")}
	var happened, member map[string]json.RawMessage
	_, nonce := token.all["nonce"]
	_, sid := token.all["sid"]
	switch {
	case !slices.Contains([]string{"", "jwt", "logout+jwt"}, strings.TrimPrefix(strings.ToLower(token.typ), "application/")):
		// Section 2.4 recommends logout+jwt; many providers send JWT, as with ID tokens,
		// or nothing. Anything else is made for something else.
		return logout{}, fmt.Errorf("the token's type is %q", clip(token.typ, 100))
	case json.Unmarshal(token.all["events"], &happened) != nil || json.Unmarshal(happened[logoutEvent], &member) != nil || member == nil:
		return logout{}, errors.New("the token is not one of sign-out")
	case nonce:
		// Section 2.4: so that no ID token passes for one.
		return logout{}, errors.New("the logout token has a nonce")
	case out.id == "" || len(out.sid) > maxSID || sid && out.sid == "":
		return logout{}, errors.New("the logout token has no id, or no session that can be read")
	case out.at.IsZero() || p.cfg.Now().Sub(out.at).Abs() > maxLogoutAge:
		return logout{}, errors.New("the logout token is not of now")
	}
	if token.Subject == "" && out.sid != "" {
		return out, nil
	}
	if err := events.CheckID("sub", token.Subject); err != nil {
		return logout{}, fmt.Errorf("read the logout token: %w", err)
	}
	out.user = events.UserID(token.Subject)
	return out, nil
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
	if err := s.store.Set(ctx, hashKey("jti", id), []byte("done"), 2*maxLogoutAge); err != nil {
		return fmt.Errorf("note that the logout token is done: %w", err)
	}
	return nil
}

// endOf forgets the sessions that out is of: the user's, or those alone that belong to the
// provider's session, whoever's if it names no user. It returns the hashes of their tokens,
// also with an error. Those that began later, by the provider's clock, stay: a token that
// comes late, or again, says nothing of them.
func (s *sessions) endOf(ctx context.Context, out logout) ([]string, error) {
	prefix, want := ofUser(out.user), ""
	switch {
	case out.user == "" && out.sid == "":
		return nil, nil
	case out.user == "":
		prefix = ofSID(out.sid)
	case out.sid != "":
		want = "sid:" + out.sid
	}
	keys, err := s.store.Keys(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("look for the sessions of %q: %w", out.user, err)
	}
	var ended []string
	for _, key := range keys {
		of, err := s.store.Get(ctx, key)
		if err != nil {
			return ended, fmt.Errorf("look for the sessions of %q: %w", out.user, err)
		}
		hash := strings.TrimPrefix(key, prefix)
		if of == nil || want != "" && string(of) != want {
			continue
		}
		if later, err := s.beganAfter(ctx, hash, out.at); err != nil || later {
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
