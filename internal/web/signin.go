package web

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/signin"
)

// viewer returns the person who is signed in, and nil if nobody is. used says whether the
// request shows that the person is there. A browser keeps a live stream open, so a live
// stream does not show it.
func (s *Server) viewer(c fiber.Ctx, used bool) (*viewer, error) {
	if token, ok := s.bearerOf(c); ok {
		v, err := s.bearer(c.Context(), token, namedJob(c))
		if v != nil {
			c.Locals(viewerLocal, v)
		}
		return v, err
	}
	v, err := s.viewerOf(c.Context(), c.Cookies(s.cookieName(sessionCookie)), namedJob(c), used && !unattended(c))
	if v != nil {
		c.Locals(viewerLocal, v)
	}
	return v, err
}

// bearerOf returns the access token of a request to the API. ok is false if the request has no
// such credentials, or if the site takes none.
func (s *Server) bearerOf(c fiber.Ctx) (token string, ok bool) {
	if s.cfg.APIAudience == "" || !forAPI(c) {
		return "", false
	}
	scheme, token, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// unattended reports whether the page itself asks, and perhaps nobody is there.
func unattended(c fiber.Ctx) bool { return c.Get("Gas-Unattended") != "" }

// page returns the viewer of a page that needs one. If it is nil, page has answered already,
// and the handler returns err as it is.
func (s *Server) page(c fiber.Ctx) (*viewer, error) {
	v, err := s.viewer(c, true)
	if v != nil || err != nil {
		return v, err
	}
	if unattended(c) {
		// The page could not follow a redirect to the provider.
		return nil, signedOut(c.OriginalURL())
	}
	return nil, c.Redirect().Status(fiber.StatusSeeOther).To(loginLink(c.OriginalURL()))
}

func (s *Server) login(c fiber.Ctx) error {
	back := returnPath(c.Query("return"))
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v != nil {
		return c.Redirect().Status(fiber.StatusSeeOther).To(back)
	}
	if !s.limits.signIns.allow(c.IP()) {
		s.audit(c.Context(), "sign-in refused", "reason", "too many from this address")
		return errTooMany
	}
	// A browser keeps its key over several tabs, so that a sign-in can finish in each.
	browser := c.Cookies(s.cookieName(loginCookie))
	if len(browser) != len(rand.Text()) {
		browser = rand.Text()
	}
	lg, state := s.logins.begin(browser, back)
	to, err := s.provider.AuthURL(c.Context(), state, lg.Attempt)
	if err != nil {
		return refuse(err, loginLink(back))
	}
	if err := s.logins.keep(c.Context(), lg, state); err != nil {
		return err
	}
	s.setCookie(c, loginCookie, browser, loginLifetime)
	return c.Redirect().Status(fiber.StatusSeeOther).To(to)
}

func (s *Server) callback(c fiber.Ctx) error {
	state := c.Query("state")
	lg, err := s.logins.take(c.Context(), state, c.Cookies(s.cookieName(loginCookie)))
	if errors.Is(err, errLogin) {
		return refuse(signin.Stale(err), "/login")
	}
	if err != nil {
		return err
	}
	if err := s.provider.CheckAnswer(c.Query("iss"), c.Query("error"), c.Query("error_description")); err != nil {
		return refuse(err, loginLink(lg.Return))
	}
	who, err := s.provider.Redeem(c.Context(), c.Query("code"), &lg.Attempt)
	if r, ok := errors.AsType[*signin.Refusal](err); ok && r.Blame == signin.BlameProvider {
		return s.again(c.Context(), lg, state, r, c.OriginalURL())
	}
	if err != nil {
		return refuse(err, loginLink(lg.Return))
	}
	sess, err := s.signedIn(c.Context(), who, c.Cookies(s.cookieName(sessionCookie)))
	if err != nil {
		return refuse(err, loginLink(lg.Return))
	}
	s.setCookie(c, sessionCookie, sess.token, s.cfg.SessionLifetime)
	return c.Redirect().Status(fiber.StatusSeeOther).To(lg.Return)
}

// logout ends the session here. It leads on to the provider's sign-out if the provider has
// one.
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
		if to, err = s.signOut(c.Context(), v.session); err != nil {
			return err
		}
	}
	s.dropCookie(c, sessionCookie)
	return c.Redirect().Status(fiber.StatusSeeOther).To(to)
}

// backChannel takes the provider's logout token (OpenID Connect Back-Channel Logout 1.0). The
// token is the credential: there is no cookie, and no form of ours. The answer is 503 if the
// token cannot be verified now, and 400 if the token is wrong.
func (s *Server) backChannel(c fiber.Ctx) error {
	err := s.signedOutBy(c.Context(), field(c, "logout_token"))
	if errors.Is(err, errLogoutToken) {
		return c.Status(http.StatusBadRequest).JSON(map[string]string{"error": "invalid_request"})
	}
	if err != nil {
		return err
	}
	return c.SendStatus(http.StatusOK)
}

const (
	sessionCookie = "gas_session"
	loginCookie   = "gas_login"
)

// cookieName returns the cookie's name, with the __Host- prefix on https. Then a browser lets
// no other host and no clear-text page set the cookie.
func (s *Server) cookieName(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

func (s *Server) setCookie(c fiber.Ctx, name, value string, lifetime time.Duration) {
	c.Cookie(&fiber.Cookie{
		Name:     s.cookieName(name),
		Value:    value,
		Path:     "/",
		MaxAge:   int(lifetime.Seconds()),
		Secure:   s.secure,
		HTTPOnly: true,
		SameSite: fiber.CookieSameSiteLaxMode,
	})
}

func (s *Server) dropCookie(c fiber.Ctx, name string) {
	c.Cookie(&fiber.Cookie{
		Name:     s.cookieName(name),
		Path:     "/",
		Expires:  time.Unix(1, 0),
		Secure:   s.secure,
		HTTPOnly: true,
		SameSite: fiber.CookieSameSiteLaxMode,
	})
}
