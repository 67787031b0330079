package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"strconv"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/internal/text"
)

// Keys of what a request carries along.
type local int

const (
	requestLocal local = iota
	viewerLocal
)

// policy lets a page use this site's own files and nothing else: no inline
// style or script, no other host.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'; form-action 'self'"

// policy adds where sign-out leads on to: browsers hold what a form redirects to
// against the policy too.
func (s *Server) policy() string {
	if to := s.provider.SignOutOrigin(); to != "" {
		return policy + " " + to
	}
	return policy
}

// frame is around every request: an id, the headers of a careful site, a time
// limit, and a net under panics.
func (s *Server) frame(c fiber.Ctx) (err error) {
	id := rand.Text()
	c.Locals(requestLocal, id)
	c.Set(fiber.HeaderXRequestID, id)
	c.Set(fiber.HeaderContentSecurityPolicy, s.policy())
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	// Not no-referrer: that makes browsers send "Origin: null" with our forms.
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	c.Set(fiber.HeaderCacheControl, "no-store")
	if s.secure {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
	pace := s.limits.requests
	if c.Path() == backChannelPath {
		pace = s.limits.logouts
	}
	if !pace.allow(c.IP()) {
		return errTooMany
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	c.SetContext(ctx)
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic in a handler", "request", id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fiber.ErrInternalServerError
		}
	}()
	err = c.Next()
	if err != nil && c.Locals(viewerLocal) == nil && problemOf(err).status < 500 {
		// So that the page with the sentence is not that of a stranger.
		_, _ = s.viewer(c, false)
	}
	return err
}

func requestID(c fiber.Ctx) string {
	id, _ := c.Locals(requestLocal).(string)
	return id
}

// audit notes what somebody did or was refused.
func (s *Server) audit(c fiber.Ctx, what string, args ...any) {
	s.log.Info(what, append(args, "request", requestID(c), "ip", c.IP())...)
}

// checkForm refuses a form that did not come from a page of ours: by the
// session's token, and by what a browser says of the form's origin.
func (s *Server) checkForm(c fiber.Ctx, v *viewer) error {
	if !s.limits.changes.allow(string(v.account.ID)) {
		s.audit(c, "form refused", "user", v.account.ID, "reason", "too many")
		return errTooMany
	}
	token := c.Get(csrfHeader)
	if token == "" {
		token = c.FormValue("csrf")
	}
	site, origin := c.Get("Sec-Fetch-Site"), c.Get(fiber.HeaderOrigin)
	var reason string
	switch {
	case site != "" && site != "same-origin":
		reason = "the form came from another site"
	case origin != "" && origin != s.origin:
		reason = "the form came from another origin"
	case subtle.ConstantTimeCompare([]byte(token), []byte(v.session.CSRF)) != 1:
		reason = "the form has not the session's token"
	default:
		return nil
	}
	s.audit(c, "form refused", "user", v.account.ID, "reason", reason)
	return &problem{
		status: fiber.StatusForbidden, title: "That form is not valid any more",
		sentence: "It may be from before you signed in. Go back, reload the page and try again.",
		link:     c.Path(), linkText: "Reload the page", err: errors.New(reason),
	}
}

// problem is an error with the words for the user.
type problem struct {
	status   int
	title    string
	sentence string
	link     string
	linkText string
	// retry is a Retry-After in seconds.
	retry int
	// blame is whose fault it is, of what is refused at sign-in and sign-out, and what the
	// log calls it; empty is "sign-in refused".
	blame signin.Blame
	what  string
	err   error
}

func (p *problem) Error() string {
	if p.err != nil {
		return p.err.Error()
	}
	return p.sentence
}

func (p *problem) Unwrap() error { return p.err }

var errNotFound = &problem{
	status: fiber.StatusNotFound, title: "There is no such page",
	sentence: "It may have moved, or the address may have a typo.",
	link:     "/", linkText: "Go to the start page",
}

// problemOf finds the words for err.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if fe, ok := errors.AsType[*fiber.Error](err); ok {
		switch fe.Code {
		case fiber.StatusNotFound:
			return errNotFound
		case fiber.StatusInternalServerError:
		case fiber.StatusRequestEntityTooLarge:
			return &problem{status: fe.Code, title: "That is too much", sentence: "The request is larger than this site takes.", err: err}
		case fiber.StatusMethodNotAllowed:
			return &problem{status: fe.Code, title: "That does not work here", sentence: "This address does not take this kind of request.", link: "/", linkText: "Go to the start page", err: err}
		default:
			if fe.Code < 500 {
				return &problem{status: fe.Code, title: "The request cannot be read", sentence: "Your browser sent something that this site does not understand.", link: "/", linkText: "Go to the start page", err: err}
			}
		}
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		return errNotFound
	case fault.Invalid:
		return &problem{status: fiber.StatusBadRequest, title: "The request cannot be read", sentence: "The address may be incomplete or out of date.", link: "/annotations", linkText: "Go to your annotations", err: err}
	case fault.Transient, fault.Throttled:
		return &problem{status: fiber.StatusServiceUnavailable, title: "One moment, please", sentence: "A part of the service does not answer at the moment. Please try again in a minute.", retry: 5, err: err}
	}
	return &problem{status: fiber.StatusInternalServerError, title: "Something went wrong on our side", sentence: "Your files are not affected. If it happens again, tell us the request id below.", link: "/", linkText: "Go to the start page", err: err}
}

// fail answers for every error: the user reads a sentence, the log keeps the
// chain, and the request id ties the two.
func (s *Server) fail(c fiber.Ctx, err error) error {
	p := problemOf(err)
	s.note(c, p)
	if p.retry > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(p.retry))
	}
	if forAPI(c) {
		return problemJSON(c, p)
	}
	c.Status(p.status)
	v, _ := c.Locals(viewerLocal).(*viewer)
	return s.views.render(c, "problem", frame{Title: p.title, Viewer: v, Request: requestID(c), Body: problemBody{
		Status: p.status, Sentence: p.sentence, Link: p.link, LinkText: p.linkText,
	}})
}

// maxLogged bounds the text of an error in the log, in bytes: a provider's has its whole
// answer.
const maxLogged = 1000

// note writes the one line of the log that a refused request has.
func (s *Server) note(c fiber.Ctx, p *problem) {
	what, level := "request refused", slog.LevelDebug
	args := []any{"request", requestID(c), "method", c.Method(), "path", text.Clip(c.Path(), 200), "status", p.status}
	switch {
	case p.blame != signin.BlameNobody:
		what, level = cmp.Or(p.what, "sign-in refused"), levelOf(p.blame)
		args = append(args, "ip", c.IP(), "fault", p.blame.String())
	case p.status >= 500:
		level = slog.LevelError
	}
	s.log.Log(c.Context(), level, what, append(args, "error", text.Clip(p.Error(), maxLogged))...)
}

// levelOf returns how loud the log is about a refusal.
func levelOf(b signin.Blame) slog.Level {
	switch b {
	case signin.BlamePerson:
		return slog.LevelInfo
	case signin.BlameProvider:
		return slog.LevelWarn
	}
	return slog.LevelError
}

type problemBody struct {
	Status   int
	Sentence string
	Link     string
	LinkText string
}

// loginLink is the address of sign-in that leads back to path.
func loginLink(path string) string { return "/login?return=" + url.QueryEscape(path) }
