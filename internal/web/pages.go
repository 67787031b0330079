package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

func (s *Server) home(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	return s.views.render(c, "home", frame{Title: "Genomics Annotation Service", Viewer: v, Section: "home"})
}

// jobView is a job as a page shows it.
type jobView struct {
	archive.Job
	Look  look
	State archive.State
	Name  string
	Link  string
}

func viewJob(j archive.Job, role archive.Role) jobView {
	st := j.State(role)
	name := j.InputFileName
	if name == "" {
		name = string(j.ID)
	}
	return jobView{Job: j, State: st, Look: lookOf(st), Name: name, Link: "/annotation/" + url.PathEscape(string(j.ID))}
}

type annotationsBody struct {
	Jobs []jobView
	// Next is the address of the page with older jobs, empty on the last.
	Next string
	// Paged says that this is not the first page.
	Paged bool
	// Coming says that a file on this page is on its way back.
	Coming bool
	// Archived says that one is in the archive and stays there.
	Archived bool
}

// maxCursor is the longest cursor in bytes.
const maxCursor = 2048

func (s *Server) annotations(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	cursor := c.Query("after")
	live := s.position(c)
	jobs, next, err := s.list(c, v, cursor)
	if err != nil {
		return err
	}
	body := annotationsBody{Jobs: jobs, Paged: cursor != ""}
	if next != "" {
		body.Next = "/annotations?after=" + url.QueryEscape(next)
	}
	for _, j := range jobs {
		body.Coming = body.Coming || j.State == archive.Planned || j.State == archive.Requested
		body.Archived = body.Archived || j.State == archive.Archived
	}
	return s.views.render(c, "annotations", frame{Title: "Your annotations", Viewer: v, Section: "annotations", Live: live, Body: body})
}

// list returns a page of the viewer's jobs and the cursor of the next.
func (s *Server) list(c fiber.Ctx, v *viewer, cursor string) (views []jobView, next string, err error) {
	if len(cursor) > maxCursor {
		return nil, "", fault.Errorf(fault.Invalid, "list jobs: the cursor has %d bytes", len(cursor))
	}
	jobs, next, err := s.deps.Jobs.Jobs(c.Context(), v.account.ID, cursor, s.cfg.PageSize)
	if err != nil {
		return nil, "", err
	}
	for _, j := range jobs {
		if j.UserID != v.account.ID {
			s.log.Error("a job of another user was dropped from a list", "user", v.account.ID, "job", j.ID, "request", requestID(c))
			continue
		}
		views = append(views, viewJob(j, v.account.Role))
	}
	return views, next, nil
}

type annotationBody struct {
	Job jobView
	// Steps are the way back; nil if the file is not on it.
	Steps []step
	// Missing says that the file should be in the store and is not.
	Missing bool
	// Expected is when Glacier is done, as a rule.
	Expected *span
	// Fallback says why the tier is a slower one; empty if it is not.
	Fallback string
}

type span struct{ From, To time.Time }

// expected is when Glacier is done with j, as a rule; nil if it is not at work
// on it or nobody knows since when.
func expected(j jobView) *span {
	if j.State != archive.Requested || j.RetrievalRequestedAt.IsZero() || j.Tier == "" {
		return nil
	}
	from, to := j.Tier.Typically()
	return &span{j.RetrievalRequestedAt.Add(from), j.RetrievalRequestedAt.Add(to)}
}

func (s *Server) annotation(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	live := s.position(c)
	j, err := s.job(c, v)
	if err != nil {
		return err
	}
	jv := viewJob(j, v.account.Role)
	body := annotationBody{Job: jv, Steps: stepsOf(jv.State), Expected: expected(jv), Fallback: s.fallback(jv)}
	if jv.State == archive.Available {
		there, err := s.deps.Downloads.Exists(c.Context(), j.Result)
		if err != nil {
			return err
		}
		body.Missing = !there
	}
	return s.views.render(c, "annotation", frame{Title: jv.Name, Viewer: v, Section: "annotations", Live: live, Body: body})
}

// fallback tells which tiers were full for a retrieval that is under way, the
// only reason for the pipeline to take a later one.
func (s *Server) fallback(j jobView) string {
	if j.State != archive.Requested {
		return ""
	}
	switch i := slices.Index(s.cfg.Tiers, j.Tier); i {
	case -1, 0:
		return ""
	case 1:
		return fmt.Sprintf("%s was full, %s is used.", s.cfg.Tiers[0], j.Tier)
	default:
		var full []string
		for _, t := range s.cfg.Tiers[:i] {
			full = append(full, string(t))
		}
		return fmt.Sprintf("%s were full, %s is used.", strings.Join(full, " and "), j.Tier)
	}
}

// job returns the job that the address names. Somebody else's is not found,
// in the same words as one that never was.
func (s *Server) job(c fiber.Ctx, v *viewer) (archive.Job, error) {
	none := &problem{
		status: http.StatusNotFound, title: "There is no such annotation",
		sentence: "None of your annotations has this address.",
		link:     "/annotations", linkText: "Go to your annotations",
	}
	raw, err := url.PathUnescape(c.Params("id"))
	if err != nil || !utf8.ValidString(raw) || clip(raw, events.MaxIDLength) != raw || raw == "" {
		return archive.Job{}, none
	}
	j, err := s.deps.Jobs.Job(c.Context(), events.JobID(raw))
	if fault.Is(err, fault.NotFound) {
		return archive.Job{}, none
	}
	if err != nil {
		return archive.Job{}, err
	}
	if j.UserID != v.account.ID {
		return archive.Job{}, none
	}
	return j, nil
}

// position is where the page's live stream begins. It is taken before the
// catalog is read, so that no change falls in between. Without it the page is
// shown all the same and does not follow.
func (s *Server) position(c fiber.Ctx) string {
	seq, err := s.deps.Statuses.Position(c.Context())
	if err != nil {
		s.log.Warn("a page is shown without live updates", "request", requestID(c), "error", err.Error())
		return ""
	}
	return strconv.FormatUint(seq, 10)
}

type subscribeBody struct {
	// Left says that the user is Premium and files are still in the archive.
	Left bool
}

func (s *Server) subscribePage(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	var body subscribeBody
	if v.Premium() {
		if body.Left, err = s.deps.Jobs.HasArchived(c.Context(), v.account.ID); err != nil {
			return err
		}
	}
	return s.views.render(c, "subscribe", frame{Title: "Premium", Viewer: v, Section: "subscribe", Body: body})
}

// subscribe is the button of the plan page.
func (s *Server) subscribe(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	if v == nil {
		return &problem{
			status: http.StatusUnauthorized, title: "You are signed out",
			sentence: "Nothing was changed. Please sign in and try again.",
			link:     loginLink("/subscribe"), linkText: "Sign in",
		}
	}
	if err := s.upgrade(c, v); err != nil {
		return err
	}
	return c.Redirect().Status(fiber.StatusSeeOther).To("/annotations")
}

// upgrade makes the user Premium and tells the pipeline. Doing it again does
// no harm, and heals: if the site died between the two, files are still in
// the archive and the announcement is made up for.
func (s *Server) upgrade(c fiber.Ctx, v *viewer) (err error) {
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	user := v.account.ID
	changed := false
	if !v.Premium() {
		if changed, err = s.deps.Accounts.SetRole(c.Context(), user, archive.Premium, s.cfg.Now().UTC()); err != nil {
			return err
		}
	}
	announce := changed
	if changed {
		s.audit(c, "plan changed", "user", user, "from", v.account.Role, "to", archive.Premium)
	} else if announce, err = s.deps.Jobs.HasArchived(c.Context(), user); err != nil {
		return err
	}
	if announce {
		if err := s.deps.Announcer.AnnounceUpgrade(c.Context(), user); err != nil {
			return &problem{
				status: http.StatusServiceUnavailable, title: "You are Premium, one thing is left",
				sentence: "Your plan has changed, but we could not start bringing your files back. Please press the button on the plan page once more.",
				link:     "/subscribe", linkText: "Go to the plan page",
				err: errors.Join(errors.New("announce the upgrade of "+string(user)), err),
			}
		}
		s.audit(c, "upgrade announced", "user", user, "again", !changed)
	}
	return nil
}
