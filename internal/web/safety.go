package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/signin"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/internal/trace"
)

// viewerLocal is the key of a request's viewer.
const viewerLocal local = 0

type local int

// policy lets a page use only this site's own files: no inline style or script, and no
// other host.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'; form-action 'self'"

// policy adds the origin of the provider's sign-out: browsers apply the policy to the
// redirect after a form, too.
func (s *Server) policy() string {
	if to := s.provider.SignOutOrigin(); to != "" {
		return policy + " " + to
	}
	return policy
}

// frame is around every request. It adds an id, the headers of a careful site and a time
// limit, and catches panics.
func (s *Server) frame(c fiber.Ctx) (err error) {
	began, id := time.Now(), rand.Text()
	// A browser's own trace is not believed: anybody could make the site trace everything.
	ctx, step := trace.Start(withRequest(context.Background(), request{id: id, ip: c.IP(), agent: agentOf(c.Get(fiber.HeaderUserAgent))}), "web", c.Method())
	c.SetContext(ctx)
	c.Set(fiber.HeaderXRequestID, id)
	c.Set(fiber.HeaderContentSecurityPolicy, s.policy())
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	// With no-referrer, browsers would send "Origin: null" with our forms.
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	c.Set(fiber.HeaderCacheControl, "no-store")
	if s.secure {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
	path := ""
	defer func() {
		step.SetName(routeName(c.Method(), path))
		step.Done(err)
		s.measure(c.Method(), path, c.Response().StatusCode(), err, time.Since(began))
	}()
	if p := misframed(string(c.Request().Header.Protocol()), c.Request().Header.RawHeaders()); p != nil {
		c.RequestCtx().SetConnectionClose()
		return p
	}
	pace := s.limits.requests
	if c.Path() == backChannelPath {
		pace = s.limits.logouts
	}
	if !pace.allow(c.IP()) {
		return errTooMany
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c.SetContext(ctx)
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic in a handler", "request", id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fiber.ErrInternalServerError
		}
	}()
	err = c.Next()
	path = c.Route().Path
	if err == nil {
		conditional(c)
		s.compress(c)
	}
	if err != nil && !forAPI(c) && c.Locals(viewerLocal) == nil && problemOf(err).status < 500 {
		// The page with the sentence should show who is signed in.
		_, _ = s.viewer(c, false)
	}
	return err
}

// checkForm refuses a form that did not come from a page of ours. It checks the session's
// token, and the origin that the browser names.
func (s *Server) checkForm(c fiber.Ctx, v *viewer) error {
	if !s.limits.changes.allow(string(v.account.ID)) {
		s.audit(c.Context(), "form refused", "user", v.account.ID, "reason", "too many")
		return errTooMany
	}
	if v.session == nil {
		return nil // a browser sends no access token without the page that has it
	}
	token := c.Get(csrfHeader)
	if token == "" {
		token = field(c, "csrf")
	}
	site, origin := c.Get("Sec-Fetch-Site"), c.Get(fiber.HeaderOrigin)
	var reason string
	switch {
	case site != "" && site != "same-origin":
		reason = "the form came from another site"
	case origin != "" && origin != s.origin:
		reason = "the form came from another origin"
	case !isMasked(token, v.session.CSRF):
		reason = "the form does not have the session's token"
	default:
		return nil
	}
	s.audit(c.Context(), "form refused", "user", v.account.ID, "reason", reason)
	return &problem{
		status: fiber.StatusForbidden, title: "That form is not valid any more",
		sentence: "It may be from before you signed in. Nothing was changed. Please try again.",
		link:     pageOf(c.Path()), linkText: "Go back to the page", err: errors.New(reason),
	}
}

// pageOf returns the page of a form's address.
func pageOf(action string) string {
	switch action {
	case "/account/free", "/account/sessions":
		return "/account"
	case "/annotations/seen":
		return listPath
	case "/logout":
		return "/"
	}
	if file, ok := strings.CutSuffix(action, firstPath); ok {
		return file
	}
	return action
}

// field returns a field of a form in the request's body. A query is no form: addresses get
// into logs.
func field(c fiber.Ctx, name string) string { return string(c.Request().PostArgs().Peek(name)) }

// again returns the address of another try of a request.
func again(c fiber.Ctx) string {
	to := c.OriginalURL()
	if c.Method() != fiber.MethodGet {
		to = pageOf(c.Path())
	}
	if to == "/login" || strings.HasPrefix(to, "/login?") || isLocal(to) {
		return to
	}
	return "/"
}

// problemOf returns the words for err.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if answer, ok := errors.AsType[*fiber.Error](err); ok {
		if p := problemOfStatus(answer.Code, err); p != nil {
			return p
		}
	}
	return problemOfKind(err)
}

// fail answers for every error. The user reads a sentence, the log has the chain of errors,
// and both have the request id.
func (s *Server) fail(c fiber.Ctx, err error) error {
	p := problemOf(err)
	s.note(c, p)
	if p.challenge != "" {
		c.Set(fiber.HeaderWWWAuthenticate, p.challenge)
	}
	if p.retry > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(p.retry))
	}
	if forAPI(c) {
		return problemJSON(c, p)
	}
	c.Status(p.status)
	body := problemBody{Status: p.status, Sentence: p.sentence, Link: p.link, LinkText: p.linkText}
	passes := p.status == fiber.StatusServiceUnavailable || p.status == fiber.StatusTooManyRequests
	if passes && p.link == "" {
		body.Link, body.LinkText = again(c), "Try again"
	}
	v, _ := c.Locals(viewerLocal).(*viewer)
	// In trouble nobody knows, but a browser that has a session should not see "Sign in".
	perhaps := v == nil && (passes || p.status >= 500) && c.Cookies(s.cookieName(sessionCookie)) != ""
	return s.show(c, "problem", frame{Title: p.title, Viewer: v, Perhaps: perhaps, Request: requestOf(c.Context()).id, Body: body})
}

// maxLogged bounds the text of an error in the log, in bytes: an error of the provider has
// the provider's whole answer.
const maxLogged = 1000

// note writes the one line that the log has for a refused request.
func (s *Server) note(c fiber.Ctx, p *problem) {
	what, level := "request refused", slog.LevelDebug
	args := []any{"request", requestOf(c.Context()).id, "method", c.Method(), "path", text.Clip(c.Path(), 200), "status", p.status}
	switch {
	case p.blame != signin.BlameNobody:
		what, level = cmp.Or(p.what, "sign-in refused"), levelOf(p.blame)
		args = append(args, "ip", c.IP(), "fault", p.blame.String())
	case p.status == fiber.StatusServiceUnavailable && (fault.Is(p.err, fault.Transient) || fault.Is(p.err, fault.Throttled)):
		// Everybody gets this answer now. The line of each request is for debugging.
		s.lacks.log(what).FailedAt(slog.LevelError, s.log, what, append(args, "err", text.Clip(p.Error(), maxLogged))...)
		return
	case p.status >= 500:
		level = slog.LevelError
	}
	trace.Log(c.Context(), s.log).Log(c.Context(), level, what, append(args, "err", text.Clip(p.Error(), maxLogged))...)
}

type problemBody struct {
	Status   int
	Sentence string
	Link     string
	LinkText string
}
