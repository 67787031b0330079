package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/signin"
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
	// A browser keeps its key over several tabs, so that each can finish.
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
		return s.again(c, lg, state, r)
	}
	if err != nil {
		return refuse(err, loginLink(lg.Return))
	}
	if err := s.signedIn(c, who); err != nil {
		return refuse(err, loginLink(lg.Return))
	}
	return c.Redirect().Status(fiber.StatusSeeOther).To(lg.Return)
}

// again keeps the sign-in for another try. In a minute the provider may be able to do what it
// could not do now, with the same code or with the ID token that came back for it. The words
// for r lead there, or to the beginning.
func (s *Server) again(c fiber.Ctx, lg login, state string, r *signin.Refusal) error {
	if lg.Tries++; errors.Is(r, signin.ErrSpent) || lg.Tries >= maxTries {
		return problemOfRefusal(r, loginLink(lg.Return))
	}
	// The request may have used its time up at the provider.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), keepTime)
	defer cancel()
	if err := s.logins.keep(ctx, lg, state); err != nil {
		both := *r // others may have the same refusal
		both.Err = errors.Join(r.Err, err)
		return problemOfRefusal(&both, loginLink(lg.Return))
	}
	return problemOfRefusal(r, c.OriginalURL())
}

// keepTime bounds the write of a login that is kept for another try.
const keepTime = 2 * time.Second

// signedIn sees to the account and the session of whom the provider vouches for. An
// account of another issuer is a refusal.
func (s *Server) signedIn(c fiber.Ctx, who signin.Person) error {
	err := s.deps.Accounts.SignIn(c.Context(), archive.Account{
		ID: who.User, Name: who.Name, Email: who.Email, Issuer: s.cfg.Issuer, Role: archive.Free,
	}, s.cfg.FormerIssuers)
	if errors.Is(err, archive.ErrIssuer) {
		return signin.WrongSetUp(fmt.Errorf("%w: if the people of the two are the same, name the earlier one in GAS_OIDC_FORMER_ISSUERS", err))
	}
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
	s.audit(c, "signed in", "user", who.User)
	return nil
}

// usualRetry is when to try again if the provider does not say.
const usualRetry = 5 * time.Second

// problemOfRefusal returns the words for r. again is the address of another try.
func problemOfRefusal(r *signin.Refusal, again string) *problem {
	p := &problem{status: r.Status, blame: r.Blame, err: r}
	switch {
	case r.Blame == signin.BlameSetUp:
		p.title, p.link, p.linkText = "Sign-in is not set up right", "/", "Go to the start page"
		p.sentence = "It is not your fault, and trying again does not help. Those who run this site find in their log what is wrong: tell them the request id below."
	case r.Blame == signin.BlameProvider:
		p.title, p.link, p.linkText = "Sign-in is not available", again, "Try again"
		p.sentence = "The sign-in service does not answer as it should at the moment. Please try again in a minute."
		p.retry = int(cmp.Or(r.After, usualRetry) / time.Second)
	case r.Status == http.StatusForbidden:
		p.title, p.link, p.linkText = "You are not signed in", again, "Sign in again"
		p.sentence = "The sign-in service did not let you in, or you changed your mind."
	default:
		p.title, p.link, p.linkText = "Sign-in stopped", again, "Sign in again"
		p.sentence = "This sign-in has expired, was used already, or began in another browser. Please sign in again."
	}
	return p
}

// refuse returns the words for err if it is a refusal, and err itself if it is not.
func refuse(err error, again string) error {
	if r, ok := errors.AsType[*signin.Refusal](err); ok {
		return problemOfRefusal(r, again)
	}
	return err
}
