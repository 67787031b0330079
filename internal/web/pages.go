package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

// show answers with a page. The handler sets the status.
func (s *Server) show(c fiber.Ctx, page string, f frame) error {
	f.Support = s.support
	// The response's own buffer comes from a pool.
	c.Response().ResetBody()
	if err := s.views.render(c.Response().BodyWriter(), page, f); err != nil {
		c.Response().ResetBody()
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return nil
}

// asset serves a file that pages need.
func (s *Server) asset(c fiber.Ctx) error {
	a, ok := s.views.assets[c.Params("name")]
	if !ok {
		return errNotFound
	}
	c.Set(fiber.HeaderContentType, a.kind)
	c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	return c.Send(a.content)
}

// favicon serves the icon that browsers ask for without a page. It has no hash in its name.
func (s *Server) favicon(c fiber.Ctx) error {
	icon := s.views.assets[strings.TrimPrefix(s.views.names["favicon.ico"], "/assets/")]
	c.Set(fiber.HeaderContentType, "image/x-icon")
	c.Set(fiber.HeaderCacheControl, "public, max-age=86400")
	return c.Send(icon.content)
}

func (s *Server) home(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	f := frame{Title: "Genomics Annotation Service", Viewer: v, Section: "home"}
	if v != nil {
		over := s.overviewOf(c.Context(), v.owner(), "the start page")
		f.Waits, f.Body = v.halt.told(over), over
	}
	return s.show(c, "home", f)
}

// annotations shows a page of the viewer's list.
func (s *Server) annotations(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	f, err := filterOf(queryOf(c))
	if err != nil {
		return err
	}
	at := s.position(c.Context())
	body, err := s.listPage(c.Context(), v.owner(), f)
	if err != nil {
		return err
	}
	body.Changed = changedTo(c, v)
	body.Back = body.Back && c.Cookies(s.cookieName(seenCookie)) != v.upgradeName()
	title := "Your annotations"
	if over := body.Over; over != nil && v.Premium() && over.Whole() > 0 {
		title = humanCount(over.Back) + " of " + humanCount(over.Whole()) + " back · " + title
	}
	return s.show(c, "annotations", frame{Title: title, Viewer: v, Waits: v.halt.told(body.Over), Section: "annotations", Live: true, At: at, Poll: body.Over != nil && body.Over.Coming+body.Over.Waiting+body.Over.Attention > 0, Body: body})
}

// seenCookie has the name of the upgrade for which somebody has closed the message that all
// files are back.
const seenCookie, seenLifetime = "gas_seen", 365 * 24 * time.Hour

// seen closes that message.
func (s *Server) seen(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v == nil {
		return signedOut(listPath)
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	s.setCookie(c, seenCookie, v.upgradeName(), seenLifetime)
	return c.Redirect().Status(fiber.StatusSeeOther).To(returnPath(field(c, "list")))
}

// queryOf returns the query of the address. A name that is not there is empty.
func queryOf(c fiber.Ctx) func(name string) string {
	return func(name string) string { return c.Query(name) }
}

// annotation shows a file.
func (s *Server) annotation(c fiber.Ctx) error {
	at := s.position(c.Context())
	v, err := s.page(c)
	if v == nil {
		return err
	}
	j, err := v.ownJob()
	if err != nil {
		return err
	}
	body, err := s.file(c.Context(), v.owner(), j)
	if err != nil {
		return err
	}
	body.From = c.Query("list")
	body.List, body.ListShows = backTo(body.From)
	return s.show(c, "annotation", frame{Title: text.Isolate(body.Job.Name), Viewer: v, Waits: v.halt.told(nil), Section: "annotations", Live: true, At: at, Poll: body.moving(), Body: body})
}

// firstPath follows the address of a file.
const firstPath = "/first"

// first is the button that brings a file before the viewer's others.
func (s *Server) first(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v == nil {
		return signedOut(pageOf(c.Path()))
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	j, err := v.ownJob()
	if err != nil {
		return err
	}
	if err := s.bringFirst(c.Context(), v.owner(), j); err != nil {
		return err
	}
	to := viewJob(j, v.owner()).Link
	if list := field(c, "list"); list != "" {
		to += "?list=" + url.QueryEscape(list)
	}
	return c.Redirect().Status(fiber.StatusSeeOther).To(to)
}

// download leads to the result file.
func (s *Server) download(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	return lead(c, v, s.downloadLink)
}

// logFile leads to the log of a job.
func (s *Server) logFile(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	return lead(c, v, s.logLink)
}

// lead redirects to a link to an object of the viewer's job. link makes the link, for credentials
// that end at a time.
func lead(c fiber.Ctx, v *viewer, link func(ctx context.Context, of owner, j archive.Job, ends time.Time) (string, error)) error {
	j, err := v.ownJob()
	if err != nil {
		return err
	}
	to, err := link(c.Context(), v.owner(), j, v.until())
	if err != nil {
		return err
	}
	return c.Redirect().Status(http.StatusFound).To(to)
}

// namedJob is the job that the address names. It is empty if the address names none, or if
// no job can have that name.
func namedJob(c fiber.Ctx) events.JobID {
	raw, err := url.PathUnescape(c.Params("id"))
	if err != nil || !utf8.ValidString(raw) || text.Clip(raw, events.MaxIDLength) != raw {
		return ""
	}
	return events.JobID(raw)
}

func (s *Server) subscribePage(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	at := s.position(c.Context())
	body, err := s.subscribeBodyOf(c.Context(), v.owner())
	if err != nil {
		return err
	}
	return s.show(c, "subscribe", frame{Title: "Premium", Viewer: v, Waits: v.halt.told(body.Over), Section: "subscribe", Live: true, At: at, Poll: body.Left, Body: body})
}

// subscribe is the button of the plan page.
func (s *Server) subscribe(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v == nil {
		return signedOut("/subscribe")
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	was := v.account.Role
	if err := s.upgrade(c.Context(), v.owner()); err != nil {
		return err
	}
	to := listPath
	if was != archive.Premium {
		to += "?changed=premium"
	}
	return c.Redirect().Status(fiber.StatusSeeOther).To(to)
}

// account shows who is signed in, and the plan.
func (s *Server) account(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	at := s.position(c.Context())
	body := accountBody{Price: s.cfg.PremiumPrice, Over: s.overviewOf(c.Context(), v.owner(), "the account page"), Changed: changedTo(c, v)}
	if body.Devices, err = s.sessions.devices(c.Context(), v.account.ID, v.session.token); err != nil {
		s.lack(c.Context(), "the account page is shown without the sessions", err)
	}
	return s.show(c, "account", frame{Title: "Your account", Viewer: v, Waits: v.halt.told(body.Over), Section: "account", Live: true, At: at, Body: body})
}

// unsubscribe is the button that leads back to Free.
func (s *Server) unsubscribe(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v == nil {
		return signedOut("/account")
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	if err := s.downgrade(c.Context(), v.account); err != nil {
		return err
	}
	return c.Redirect().Status(fiber.StatusSeeOther).To("/account?changed=free")
}

// changedTo returns the plan to which the viewer has just changed, if the address says so and the
// viewer has it: then the page confirms it.
func changedTo(c fiber.Ctx, v *viewer) string {
	if to := c.Query("changed"); to == planOf(v.account.Role) {
		return to
	}
	return ""
}

// endSessions ends one session of the viewer, or all others.
func (s *Server) endSessions(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v == nil {
		return signedOut("/account")
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	if err := s.endDevices(c.Context(), v, field(c, "session")); err != nil {
		return err
	}
	return c.Redirect().Status(fiber.StatusSeeOther).To("/account#sessions")
}
