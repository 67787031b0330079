package web

import (
	"cmp"

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
		to = cmp.Or(s.provider.SignOutURL(c.Context(), v.session.IDToken, s.origin+"/"), "/")
	}
	s.dropCookie(c, sessionCookie)
	return c.Redirect().Status(fiber.StatusSeeOther).To(to)
}
