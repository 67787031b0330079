package web

import (
	"crypto/rand"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gofiber/fiber/v3"
	"golang.org/x/oauth2"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// viewer is who looks at a page.
type viewer struct {
	session *session
	account archive.Account
	// job is what the address names, anybody's, and zero if there is none or the
	// address names none: one call reads it with the account.
	job archive.Job
	// stopped is the operator's reason for asking for nothing of the user's; empty if
	// nobody stopped it.
	stopped string
}

// Waits says, in a sentence, why nothing more is asked for that the user is entitled to:
// somebody at the service has to act first. It is empty if nothing waits.
func (v *viewer) Waits() string {
	switch plan := v.account.Plan; {
	case plan == nil:
		return ""
	case v.stopped != "":
		return "The service has paused bringing files back: " + strings.TrimSuffix(v.stopped, ".") + "."
	case plan.State == archive.PlanHeld:
		return "Bringing the rest of your files back waits for an approval by the service."
	}
	return ""
}

// Name is how the page addresses the viewer.
func (v *viewer) Name() string {
	switch {
	case v.account.Name != "":
		return v.account.Name
	case v.account.Email != "":
		return v.account.Email
	}
	return string(v.account.ID)
}

// ID is the subject that the provider vouches for.
func (v *viewer) ID() events.UserID { return v.account.ID }

// Email is the viewer's address, if the provider told it.
func (v *viewer) Email() string { return v.account.Email }

// Since is when the viewer's plan last changed; zero if it never did.
func (v *viewer) Since() time.Time { return v.account.RoleChangedAt }

// Until is when the session ends at the latest.
func (v *viewer) Until() time.Time { return v.session.ExpiresAt }

// Premium reports whether the viewer pays.
func (v *viewer) Premium() bool { return v.account.Role == archive.Premium }

// CSRF is what the viewer's forms carry.
func (v *viewer) CSRF() string { return v.session.CSRF }

// viewer returns who is signed in, nil if nobody is. The role is read each
// time: a page never shows yesterday's plan.
func (s *Server) viewer(c fiber.Ctx, used bool) (*viewer, error) {
	sess, err := s.sessions.find(c.Context(), c.Cookies(s.cookieName(sessionCookie)), used)
	if err != nil || sess == nil {
		return nil, err
	}
	v := &viewer{session: sess}
	if id := namedJob(c); id == "" {
		v.account, err = s.deps.Accounts.Account(c.Context(), sess.User)
	} else {
		v.account, v.job, err = s.deps.Accounts.AccountAndJob(c.Context(), sess.User, id)
	}
	if fault.Is(err, fault.NotFound) {
		return nil, s.sessions.end(c.Context(), sess.token)
	}
	if err != nil {
		return nil, err
	}
	if acct := v.account; s.overdue(acct) {
		// Somebody crashed between the change of plan and its announcement.
		planned, err := s.planned(c.Context(), acct)
		if err == nil {
			err = s.announce(c.Context(), planned)
		}
		if err != nil {
			s.log.Error("an upgrade is not announced yet", "user", acct.ID, "error", err.Error())
		} else {
			s.audit(c, "upgrade announced", "user", acct.ID, "again", true)
		}
	}
	if s.deps.Switches != nil && v.account.Plan != nil {
		// That it is not known is no reason to show no page.
		if stops, err := s.deps.Switches.Switches(c.Context()); err != nil {
			s.log.Warn("what operators have stopped is not known", "request", requestID(c), "error", err.Error())
		} else if hold, ok := stops.Of(v.account.ID); ok {
			v.stopped = hold.Reason
		}
	}
	c.Locals(viewerLocal, v)
	return v, nil
}

// page returns the viewer of a page that needs one. If it is nil, the answer
// is on its way already and the handler returns err as it is.
func (s *Server) page(c fiber.Ctx) (*viewer, error) {
	v, err := s.viewer(c, true)
	if v != nil || err != nil {
		return v, err
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
		s.audit(c, "sign-in refused", "reason", "too many from this address")
		return errTooMany
	}
	d, err := s.provider.discover(c.Context())
	if err != nil {
		return noProvider(err)
	}
	// A browser keeps its key over several tabs, so that each can finish.
	browser := c.Cookies(s.cookieName(loginCookie))
	if len(browser) != len(rand.Text()) {
		browser = rand.Text()
	}
	lg, state, err := s.logins.begin(c.Context(), browser, back)
	if err != nil {
		return err
	}
	s.setCookie(c, loginCookie, browser, loginLifetime)
	return c.Redirect().Status(fiber.StatusSeeOther).To(
		d.oauth.AuthCodeURL(state, oidc.Nonce(lg.Nonce), oauth2.S256ChallengeOption(lg.Verifier)))
}

func noProvider(err error) error {
	return &problem{
		status: fiber.StatusServiceUnavailable, title: "Sign-in is not available",
		sentence: "The sign-in service does not answer at the moment. Please try again in a minute.",
		link:     "/login", linkText: "Try again", retry: 5, err: err,
	}
}

// noSignIn is the one answer to every callback that is not right.
func noSignIn(err error) error {
	return &problem{
		status: fiber.StatusBadRequest, title: "Sign-in stopped",
		sentence: "This sign-in has expired, was used already, or began in another browser. Please sign in again.",
		link:     "/login", linkText: "Sign in again", err: err,
	}
}

func (s *Server) callback(c fiber.Ctx) error {
	lg, err := s.logins.take(c.Context(), c.Query("state"), c.Cookies(s.cookieName(loginCookie)))
	if errors.Is(err, errLogin) {
		s.audit(c, "sign-in refused", "reason", err.Error())
		return noSignIn(err)
	}
	if err != nil {
		return err
	}
	// RFC 9207: an answer that names its issuer names ours.
	if iss := c.Query("iss"); iss != "" && iss != s.cfg.Issuer {
		s.audit(c, "sign-in refused", "reason", "the callback names another issuer")
		return noSignIn(errors.New("the callback names another issuer"))
	}
	if reason := c.Query("error"); reason != "" {
		s.audit(c, "sign-in refused", "reason", clip(reason, 100))
		return &problem{
			status: fiber.StatusForbidden, title: "You are not signed in",
			sentence: "The sign-in service did not let you in, or you changed your mind.",
			link:     "/login", linkText: "Sign in again", err: errors.New("the provider answered " + clip(reason, 100)),
		}
	}
	who, err := s.provider.exchange(c.Context(), c.Query("code"), lg)
	if fault.Is(err, fault.Transient) {
		return noProvider(err)
	}
	if err != nil {
		s.audit(c, "sign-in refused", "reason", err.Error())
		return noSignIn(err)
	}
	err = s.deps.Accounts.EnsureAccount(c.Context(), archive.Account{
		ID: who.user, Name: who.name, Email: who.email, Role: archive.Free,
	})
	if err != nil {
		return err
	}
	// The session is a new one, whatever cookie the browser came with.
	if err := s.sessions.end(c.Context(), c.Cookies(s.cookieName(sessionCookie))); err != nil {
		return err
	}
	sess, err := s.sessions.start(c.Context(), who)
	if err != nil {
		return err
	}
	s.setCookie(c, sessionCookie, sess.token, s.cfg.SessionLifetime)
	s.audit(c, "signed in", "user", who.user)
	return c.Redirect().Status(fiber.StatusSeeOther).To(lg.Return)
}

// clip returns text without control characters and with at most limit bytes.
func clip(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
	for len(text) > limit {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}
