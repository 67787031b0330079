package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// jobView is a job as a page shows it.
type jobView struct {
	archive.Job
	Look  look
	State archive.State
	// Stage is how far a retrieval that is under way is, if the stream says so.
	Stage archive.State
	// Bytes of Size are copied; 0 of 0 while nothing moves.
	Bytes, Size int64
	Name        string
	Link        string
}

func viewJob(j archive.Job, role archive.Role) jobView {
	st := j.State(role)
	l := lookOf(st)
	if st == archive.Available && j.BilledTier != "" {
		// It was in the archive, and came back.
		l = lookOf(archive.Restored)
	}
	return jobView{Job: j, State: st, Look: l, Name: nameOf(j), Link: "/annotation/" + url.PathEscape(string(j.ID))}
}

func nameOf(j archive.Job) string {
	if j.InputFileName == "" {
		return string(j.ID)
	}
	return j.InputFileName
}

const (
	// maxCursor is the longest cursor in bytes.
	maxCursor = 2048
	// maxSearch is the longest text to look for, in bytes.
	maxSearch = 100
	// maxLook is how many jobs are looked at for one page. It bounds what a search
	// costs; who wants more goes on from there.
	maxLook = 20_000
)

// filter is what a list shows of a user's jobs.
type filter struct {
	// State is a group of states, empty for all.
	State string
	// Search is in the file's name or the job's id, whatever the case.
	Search string
	// Oldest puts the first one first.
	Oldest bool
	cursor string
}

// groups are what a list can be narrowed to, in the words of its address.
func groups() []group {
	return []group{
		{"", "All", nil},
		{"ready", "Ready", []archive.State{archive.Available}},
		{"coming", "Coming back", []archive.State{archive.Planned, archive.Requested}},
		{"archived", "Archived", []archive.State{archive.Archived}},
		{"running", "Running", []archive.State{archive.Pending}},
		{"failed", "Failed", []archive.State{archive.Errored}},
	}
}

type group struct {
	Name, Label string
	states      []archive.State
}

// filterOf reads a list's address.
func filterOf(c fiber.Ctx) (filter, error) {
	f := filter{State: c.Query("state"), Search: strings.TrimSpace(c.Query("q")), cursor: c.Query("after")}
	no := func(what string) (filter, error) {
		return filter{}, &problem{status: http.StatusBadRequest, title: "The request cannot be read", sentence: what, link: "/annotations", linkText: "Go to your annotations"}
	}
	switch c.Query("sort") {
	case "", "newest":
	case "oldest":
		f.Oldest = true
	default:
		return no("The list can be sorted by newest or by oldest.")
	}
	if !slices.ContainsFunc(groups(), func(g group) bool { return g.Name == f.State }) {
		return no("There is no such group of annotations.")
	}
	if len(f.Search) > maxSearch || !utf8.ValidString(f.Search) || clip(f.Search, maxSearch) != f.Search {
		return no("The text to look for is too long, or is no text.")
	}
	if len(f.cursor) > maxCursor {
		return filter{}, fault.Errorf(fault.Invalid, "list jobs: the cursor has %d bytes", len(f.cursor))
	}
	return f, nil
}

// link is the address of the list with the filter, from the cursor on.
func (f filter) link(path, cursor string) string {
	q := url.Values{}
	for key, value := range map[string]string{"state": f.State, "q": f.Search, "after": cursor} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Oldest {
		q.Set("sort", "oldest")
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// narrow reports whether the filter leaves anything out.
func (f filter) narrow() bool { return f.State != "" || f.Search != "" }

// match returns which jobs of a user with the role pass the filter; nil if all do.
func (f filter) match(role archive.Role) func(archive.Job) bool {
	if !f.narrow() {
		return nil
	}
	var states []archive.State
	for _, g := range groups() {
		if g.Name == f.State {
			states = g.states
		}
	}
	search := strings.ToLower(f.Search)
	return func(j archive.Job) bool {
		return (states == nil || slices.Contains(states, j.State(role))) &&
			(search == "" || strings.Contains(strings.ToLower(j.InputFileName), search) || strings.Contains(strings.ToLower(string(j.ID)), search))
	}
}

type annotationsBody struct {
	Jobs   []jobView
	Filter filter
	Groups []groupView
	// Next is the address of the page after this one, empty on the last.
	Next string
	// First is the address of the first page, empty on it.
	First string
	// Flip is the address of the list the other way round.
	Flip string
	// Looked says that the page ends where enough was looked at, not where the
	// matches do.
	Looked bool
	// Over is what is in the archive; nil if that could not be read.
	Over *overview
	// Back says that something was brought back, and nothing is left.
	Back bool
}

type groupView struct {
	Label, Link string
	Current     bool
}

const listPath = "/annotations"

func (s *Server) annotations(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	f, err := filterOf(c)
	if err != nil {
		return err
	}
	live := s.position(c)
	jobs, next, err := s.list(c, v, f)
	if err != nil {
		return err
	}
	body := annotationsBody{Jobs: jobs, Filter: f}
	if next != "" {
		body.Next = f.link(listPath, next)
		body.Looked = len(jobs) < s.cfg.PageSize
	}
	if f.cursor != "" {
		body.First = f.link(listPath, "")
	}
	flip := f
	flip.Oldest = !f.Oldest
	body.Flip = flip.link(listPath, "")
	for _, g := range groups() {
		to := f
		to.State = g.Name
		body.Groups = append(body.Groups, groupView{g.Label, to.link(listPath, ""), g.Name == f.State})
	}
	if body.Over, err = s.archived.of(c.Context(), v.account); err != nil {
		s.log.Warn("a list is shown without what is in the archive", "request", requestID(c), "error", err.Error())
	}
	body.Back = body.Over != nil && body.Over.Files == 0 && v.Premium() && slices.ContainsFunc(jobs, func(j jobView) bool { return j.BilledTier != "" })
	return s.views.render(c, "annotations", frame{Title: "Your annotations", Viewer: v, Section: "annotations", Live: live, Body: body})
}

// list returns a page of the viewer's jobs and the cursor of the next.
func (s *Server) list(c fiber.Ctx, v *viewer, f filter) (views []jobView, next string, err error) {
	jobs, next, err := s.deps.Jobs.Select(c.Context(), v.account.ID, archive.Selection{
		Cursor: f.cursor, Limit: s.cfg.PageSize, Oldest: f.Oldest, Match: f.match(v.account.Role), Look: maxLook,
	})
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
