package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/internal/text"
)

// jobView is a job as a page shows it.
type jobView struct {
	archive.Job
	Look  look
	State archive.State
	// Stage is how far a retrieval under way is, if the stream says so.
	Stage archive.State
	// Bytes of Size are copied; both are 0 while nothing moves.
	Bytes, Size int64
	Name        string
	Link        string
	// ResultSize is the size of the file while it is in the store; 0 if nobody knows it.
	ResultSize int64
	// Found describes the file in the store; zero if the store was not asked.
	Found archive.Found
	// Note is one more sentence, if Look's does not say enough.
	Note string
	// From is the query that leads from the file's page back to the list; it may be empty.
	From string
}

func viewJob(j archive.Job, of owner) jobView {
	st := of.state(j)
	l := lookOf(st)
	if st == archive.Available && j.BilledTier != "" {
		// The file was in the archive, and came back.
		l = lookOf(archive.Restored)
	}
	note := ""
	if st == summary.Attention && j.RetrievalID != "" {
		// Other systems look for the sentence of a retrieval.
		l.Sentence, note = archive.Restoring, attention
	}
	size := int64(0)
	if j.ArchiveID == "" {
		size = j.ResultSize
	}
	return jobView{Job: j, ResultSize: size, State: st, Look: l, Note: note, Name: nameOf(j), Link: "/annotation/" + url.PathEscape(string(j.ID))}
}

// Weight is the size that a page shows, in bytes; 0 if nobody knows it.
func (v *jobView) Weight() int64 {
	if v.ArchiveID != "" {
		return max(v.ArchiveSize, 0)
	}
	return v.ResultSize
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
	// maxLook is how many jobs the site checks for one page. It bounds the cost of a search. A
	// longer search goes on with the next page.
	maxLook = 20_000
)

// filter says which of a user's jobs a list shows, and in which order.
type filter struct {
	// State is a group of states, empty for all.
	State string
	// Search is a part of the file's name or of the job's id. Upper and lower case are the
	// same.
	Search string
	// Sort is the name of the order in the address. The address does not name the usual order,
	// which is the newest first.
	Sort   string
	cursor string
	// before asks for the page in front of the cursor, and last for the last page.
	before, last bool
}

// groups are the groups of states to which a list can be narrowed, with their names in the
// address.
func groups() []group {
	return []group{
		{"", "All", nil},
		{"ready", "Ready", []archive.State{archive.Available}},
		{"coming", "Being restored", []archive.State{archive.Planned, archive.Requested}},
		{"waiting", "Waiting for approval", []archive.State{summary.Held}},
		{"archived", "Archived", []archive.State{archive.Archived, paused}},
		{"attention", "Needs attention", []archive.State{summary.Attention, archive.Unclear}},
		{"running", "Running", []archive.State{archive.Pending}},
		{"failed", "Failed", []archive.State{archive.Errored}},
	}
}

type group struct {
	Name, Label string
	states      []archive.State
}

// filterOf reads the query of a list's address.
func filterOf(query func(name string) string) (filter, error) {
	f := filter{State: query("state"), Search: strings.TrimSpace(query("q")), cursor: query("after"), Sort: cmp.Or(query("sort"), newest)}
	if before := query("before"); before != "" {
		f.cursor, f.before = before, true
	}
	if query("last") != "" {
		f.cursor, f.before, f.last = "", false, true
	}
	no := func(what string) (filter, error) {
		return filter{}, &problem{status: http.StatusBadRequest, title: "The request cannot be read", sentence: what, link: "/annotations", linkText: "Go to your annotations"}
	}
	if _, ok := orders()[f.Sort]; !ok {
		return no("You can sort the list by date, name, size or state.")
	}
	if !slices.ContainsFunc(groups(), func(g group) bool { return g.Name == f.State }) {
		return no("There is no such group of annotations.")
	}
	if len(f.Search) > maxSearch || !utf8.ValidString(f.Search) || text.Clip(f.Search, maxSearch) != f.Search {
		return no("The text to look for is too long, or is no text.")
	}
	if len(f.cursor) > maxCursor {
		return filter{}, fault.Errorf(fault.Invalid, "list jobs: the cursor has %d bytes", len(f.cursor))
	}
	return f, nil
}

// link returns the address of the list with the filter, after the cursor or before it.
func (f filter) link(path, cursor string, before bool) string {
	q := url.Values{}
	where := "after"
	if before {
		where = "before"
	}
	for key, value := range map[string]string{"state": f.State, "q": f.Search, where: cursor} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Sort != newest {
		q.Set("sort", f.Sort)
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// lastLink returns the address of the list's last page.
func (f filter) lastLink(path string) string {
	to := f.link(path, "", false)
	if strings.Contains(to, "?") {
		return to + "&last=1"
	}
	return to + "?last=1"
}

// here returns the address of the page that f asks for.
func (f filter) here(path string) string {
	if f.last {
		return f.lastLink(path)
	}
	return f.link(path, f.cursor, f.before)
}

// backTo returns the address of the list from which somebody came to a file, and what that
// list shows. query is the query of the list's address, as the file's address has it.
func backTo(query string) (link, shows string) {
	v, err := url.ParseQuery(query)
	if err != nil || len(query) > maxCursor+1000 {
		return listPath, ""
	}
	f, err := filterOf(v.Get)
	if err != nil {
		return listPath, ""
	}
	for _, g := range groups() {
		if g.Name == f.State && f.State != "" {
			shows = g.Label
		}
	}
	if f.Search != "" {
		shows = strings.TrimPrefix(shows+", “"+text.Isolate(f.Search)+"”", ", ")
	}
	return f.here(listPath), shows
}

// narrow reports whether the filter leaves jobs out.
func (f filter) narrow() bool { return f.State != "" || f.Search != "" }

// match returns a function that says which jobs of the user pass the filter. It is nil if
// all do.
func (f filter) match(of owner) func(archive.Job) bool {
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
		return (states == nil || slices.Contains(states, of.state(j))) &&
			(search == "" || strings.Contains(strings.ToLower(j.InputFileName), search) || strings.Contains(strings.ToLower(string(j.ID)), search))
	}
}

type annotationsBody struct {
	listing
	Filter  filter
	Groups  []groupView
	Columns []columnView
	// Earlier, Later, First and Last are the addresses of the page in front, of the page behind,
	// of the first page and of the last page. They are empty if there is no such page, or if it
	// is this one.
	Earlier, Later, First, Last string
	// Looked says that the site stopped checking jobs before the page was full. More jobs may
	// match.
	Looked bool
	// Most is how many annotations can be sorted by anything but their date. It is 0 if there
	// are no more than that.
	Most int64
	// Over is the overview of the archive; nil if it could not be read.
	Over *overview
	// Changed is the plan to which the viewer has just changed; empty if the viewer has not.
	Changed string
	// Back says that files were brought back, and that none is left in the archive.
	Back bool
}

// Here is the address of this page.
func (b annotationsBody) Here() string { return b.Filter.here(listPath) }

// groupView is a group with the number of jobs in it. Counted says that the number is known.
type groupView struct {
	Label, Link string
	Current     bool
	Count       int64
	Counted     bool
}

const listPath = "/annotations"

// listing is a page of a list.
type listing struct {
	Jobs []jobView
	// prev and next are the cursors of the pages around it.
	prev, next string
	// sort is the order of the page. It is the usual one if there are tooMany to sort.
	sort    string
	tooMany bool
	// Count is how many jobs there are in all, and From is the place of the first one here,
	// counted from one. Both are 0 if only reading all jobs could tell.
	Count, From int64
}

// To is the place of the last one here.
func (l listing) To() int64 { return l.From + int64(len(l.Jobs)) - 1 }

// list returns a page of the user's jobs.
func (s *Server) list(ctx context.Context, of owner, f filter) (listing, error) {
	if orders()[f.Sort].place != nil {
		l, err := s.sorted(ctx, of, f)
		if err != nil || !l.tooMany {
			return l, err
		}
		f.Sort, f.cursor, f.before = newest, "", false
		l, err = s.list(ctx, of, f)
		l.tooMany = true
		return l, err
	}
	page, err := s.deps.Jobs.Select(ctx, of.ID, archive.Selection{
		Cursor: f.cursor, Before: f.before, Limit: s.cfg.PageSize, Oldest: (f.Sort == oldest) != f.last, Match: f.match(of), Look: maxLook,
	})
	if err != nil {
		return listing{}, err
	}
	if f.last {
		// It was read from the other end.
		slices.Reverse(page.Jobs)
		page.Prev, page.Next = page.Next, ""
	}
	l := listing{Jobs: s.own(ctx, of, page.Jobs), prev: page.Prev, next: page.Next, sort: f.Sort}
	if l.prev == "" && l.next == "" && f.cursor == "" && len(l.Jobs) > 0 {
		l.Count, l.From = int64(len(l.Jobs)), 1
	}
	return l, nil
}

// own returns the views of the jobs. All jobs should be the user's.
func (s *Server) own(ctx context.Context, of owner, jobs []archive.Job) []jobView {
	views := make([]jobView, 0, len(jobs))
	for _, j := range jobs {
		if j.UserID != of.ID {
			s.log.Error("a job of another user was dropped from a list", "user", of.ID, "job", j.ID, "request", requestOf(ctx).id)
			continue
		}
		views = append(views, viewJob(j, of))
	}
	return views
}

// listPage returns what the page of a list shows.
func (s *Server) listPage(ctx context.Context, of owner, f filter) (annotationsBody, error) {
	l, err := s.list(ctx, of, f)
	if err != nil {
		return annotationsBody{}, err
	}
	s.stageAll(ctx, l.Jobs)
	s.thereAll(ctx, l.Jobs)
	f.Sort = l.sort
	body := annotationsBody{listing: l, Filter: f, Columns: columns(f), Over: s.overviewOf(ctx, of, "a list")}
	body.number(body.Over)
	if _, query, ok := strings.Cut(body.Here(), "?"); ok {
		for i := range body.Jobs {
			body.Jobs[i].From = "?list=" + url.QueryEscape(query)
		}
	}
	if l.tooMany {
		body.Most = maxSorted
	}
	if l.next != "" {
		body.Later = f.link(listPath, l.next, false)
		body.Looked = len(l.Jobs) < s.cfg.PageSize
	}
	if l.prev != "" {
		body.Earlier = f.link(listPath, l.prev, true)
	}
	if f.last && l.prev != "" || f.cursor != "" && !(f.before && l.prev == "") {
		body.First = f.link(listPath, "", false)
	}
	if l.next != "" {
		body.Last = f.lastLink(listPath)
	}
	for _, g := range groups() {
		if g.Name == "waiting" && f.State != g.Name && of.halt.state != summary.Held {
			continue
		}
		to := f
		to.State = g.Name
		view := groupView{Label: g.Label, Link: to.link(listPath, "", false), Current: g.Name == f.State}
		if body.Over != nil && !body.Over.TotalMore {
			view.Count, view.Counted = body.Over.in(g.Name), true
		}
		body.Groups = append(body.Groups, view)
	}
	body.Back = body.Over != nil && body.Over.Files == 0 && of.Role == archive.Premium &&
		(body.Over.Back > 0 || slices.ContainsFunc(l.Jobs, func(j jobView) bool { return j.BilledTier != "" }))
	return body, nil
}

// number says how many jobs there are in all, if the overview tells, and where the page is
// among them, for the first page and the last.
func (b *annotationsBody) number(over *overview) {
	if b.Count > 0 || over == nil || over.TotalMore || b.Filter.Search != "" {
		return
	}
	n, here := over.in(b.Filter.State), int64(len(b.Jobs))
	if n < here {
		return // the overview is older than the page
	}
	b.Count = n
	switch {
	case b.prev == "":
		b.From = 1
	case b.next == "":
		b.From = n - here + 1
	}
}
