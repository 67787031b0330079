package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// backChannelPath is where the provider tells of somebody's sign-out.
const backChannelPath = "/backchannel-logout"

// logout ends the session here, and leads on to the provider's sign-out if it
// offers one.
func (s *Server) logout(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	to := "/"
	if v != nil {
		if err := s.checkForm(c, v); err != nil {
			return err
		}
		if err := s.sessions.end(c.Context(), v.session.token); err != nil {
			return err
		}
		s.streams.leave(hashOf(v.session.token))
		s.audit(c, "signed out", "user", v.account.ID)
		to = s.endSession(c.Context(), v.session)
	}
	s.dropCookie(c, sessionCookie)
	return c.Redirect().Status(fiber.StatusSeeOther).To(to)
}

// endSession is where sign-out goes on: at the provider, which leads back here,
// or at the start page (OpenID Connect RP-Initiated Logout 1.0).
func (s *Server) endSession(ctx context.Context, sess *session) string {
	d, err := s.provider.discover(ctx)
	if err != nil || d.endSession == "" || sess.IDToken == "" {
		return "/"
	}
	u, err := url.Parse(d.endSession)
	if err != nil {
		return "/"
	}
	q := u.Query()
	q.Set("id_token_hint", sess.IDToken)
	q.Set("client_id", s.cfg.ClientID)
	q.Set("post_logout_redirect_uri", s.origin+"/")
	u.RawQuery = q.Encode()
	return u.String()
}

// logoutEvent is the member that makes a token one of sign-out.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxLogoutAge is how old a logout token may be, with clocks that differ.
const maxLogoutAge = 5 * time.Minute

// backChannel ends the sessions that the provider's logout token names (OpenID
// Connect Back-Channel Logout 1.0). The token is the credential: there is no
// cookie and no form of ours. Coming twice it does no harm.
func (s *Server) backChannel(c fiber.Ctx) error {
	if !s.limits.signIns.allow("back " + c.IP()) {
		return errTooMany
	}
	user, sid, err := s.provider.verifyLogout(c.Context(), c.FormValue("logout_token"))
	if fault.Is(err, fault.Transient) {
		return noProvider(err)
	}
	if err != nil {
		s.audit(c, "sign-out refused", "reason", err.Error())
		return c.Status(http.StatusBadRequest).JSON(map[string]string{"error": "invalid_request"})
	}
	ended, err := s.sessions.endOf(c.Context(), user, sid)
	if err != nil {
		return err
	}
	for _, hash := range ended {
		s.streams.leave(hash)
	}
	s.audit(c, "signed out by the provider", "user", user, "sid", sid, "sessions", len(ended))
	return c.SendStatus(http.StatusOK)
}

// verifyLogout returns whom a logout token signs out: user is empty if it names the
// provider's session alone, sid if it is all of the user's sessions.
func (p *provider) verifyLogout(ctx context.Context, raw string) (user events.UserID, sid string, err error) {
	if raw == "" || len(raw) > maxHint {
		return "", "", errors.New("the logout token is missing or too long")
	}
	d, err := p.discover(ctx)
	if err != nil {
		return "", "", err
	}
	token, err := d.verifier.Verify(oidc.ClientContext(ctx, p.cfg.HTTPClient), raw)
	if err != nil {
		return "", "", fmt.Errorf("verify the logout token: %w", err)
	}
	var claims struct {
		SID    string                     `json:"sid"`
		JTI    string                     `json:"jti"`
		Nonce  *string                    `json:"nonce"`
		Events map[string]json.RawMessage `json:"events"`
	}
	if err := token.Claims(&claims); err != nil {
		return "", "", fmt.Errorf("read the logout token: %w", err)
	}
	var member map[string]json.RawMessage
	switch {
	case json.Unmarshal(claims.Events[logoutEvent], &member) != nil || member == nil:
		return "", "", errors.New("the token is not one of sign-out")
	case claims.Nonce != nil:
		// Section 2.4: so that no ID token passes for one.
		return "", "", errors.New("the logout token has a nonce")
	case claims.JTI == "" || len(claims.SID) > maxSID:
		return "", "", errors.New("the logout token has no id, or too long a session")
	case token.IssuedAt.IsZero() || p.cfg.Now().Sub(token.IssuedAt).Abs() > maxLogoutAge:
		return "", "", errors.New("the logout token is not of now")
	}
	if token.Subject == "" && claims.SID != "" {
		return "", claims.SID, nil
	}
	if err := events.CheckID("sub", token.Subject); err != nil {
		return "", "", fmt.Errorf("read the logout token: %w", err)
	}
	return events.UserID(token.Subject), claims.SID, nil
}
