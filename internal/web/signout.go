package web

import (
	"context"
	"net/url"

	"github.com/gofiber/fiber/v3"
)

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
