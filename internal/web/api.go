package web

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// apiPath is the path of the JSON API. The API has the same sessions, checks and use cases
// as the pages. Only the answers are in JSON.
const apiPath = "/api/v1"

//go:embed openapi.json
var openAPI []byte

// mimeProblem is the media type of RFC 9457.
const mimeProblem = "application/problem+json"

// csrfHeader carries the session's token if there is no form. Another site cannot send it:
// no form and no image has this header.
const csrfHeader = "X-CSRF-Token"

func (s *Server) routeAPI(app *fiber.App) {
	app.Get(apiPath+"/openapi.json", func(c fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
		return c.Send(openAPI)
	})
	app.Get(apiPath+"/account", s.apiAccount)
	app.Get(apiPath+"/jobs", s.apiJobs)
	app.Get(apiPath+"/jobs/:id", s.apiJob)
	app.Get(apiPath+"/jobs/:id/download", s.apiDownload)
	app.Post(apiPath+"/jobs/:id"+firstPath, s.apiFirst)
	app.Get(manifestPath, s.manifest)
	app.Get(apiPath+"/archive", s.apiArchive)
	app.Post(apiPath+"/subscription", s.apiSubscribe)
	app.Delete(apiPath+"/subscription", s.apiUnsubscribe)
	app.Get(apiPath+"/events", s.events)
}

// forAPI reports whether a program asks. It gets an answer in JSON.
func forAPI(c fiber.Ctx) bool { return strings.HasPrefix(c.Path(), "/api/") }

// apiViewer returns the person who is signed in. It is an error if nobody is. used says
// whether the request shows that the person is there.
func (s *Server) apiViewer(c fiber.Ctx, used bool) (*viewer, error) {
	v, err := s.viewer(c, used)
	if err == nil && v == nil {
		p := &problem{status: http.StatusUnauthorized, title: "You are not signed in", sentence: "Sign in at /login; the session's cookie is the credential."}
		if s.cfg.APIAudience != "" {
			p.sentence, p.challenge = "Send an access token of the sign-in provider, or the cookie of a session.", "Bearer"
		}
		err = p
	}
	return v, err
}

type apiAccount struct {
	ID   events.UserID `json:"id"`
	Name string        `json:"name"`
	Plan string        `json:"plan"`
	// CSRF is the token for the header X-CSRF-Token. A program with an access token needs none.
	CSRF string `json:"csrf,omitempty"`
}

// planOf returns the plan in the words of the API, which are not those of the catalog.
func planOf(role archive.Role) string {
	if role == archive.Premium {
		return "premium"
	}
	return "free"
}

func (s *Server) apiAccount(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	a := apiAccount{ID: v.account.ID, Name: v.Name(), Plan: planOf(v.account.Role)}
	if v.session != nil {
		// The token is another text each time, and does not count for the name of the answer.
		data, err := json.Marshal(a)
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderETag, nameOfAnswer(append(data, hashOf(v.session.CSRF)...)))
		a.CSRF = v.CSRF()
	}
	return c.JSON(a)
}

// apiJob is a job in JSON. Times are in UTC; an unknown time is left out.
type apiJob struct {
	ID          events.JobID  `json:"id"`
	Name        string        `json:"name"`
	State       archive.State `json:"state"`
	Label       string        `json:"label"`
	Sentence    string        `json:"sentence"`
	Note        string        `json:"note,omitempty"`
	SubmittedAt time.Time     `json:"submitted_at,omitzero"`
	CompletedAt time.Time     `json:"completed_at,omitzero"`
	// ArchiveSize is in bytes. It is 0 if the result is not in the archive.
	ArchiveSize int64 `json:"archive_size,omitempty"`
	// Size is the size of the result, if the object is there.
	Size int64 `json:"size,omitempty"`
	// RestoredAt is when the file came back from the archive.
	RestoredAt time.Time `json:"restored_at,omitzero"`
	// Checksums are those of the result, if the object is there.
	Checksums *checks `json:"checksums,omitempty"`
	// Stage is how far a retrieval is, and BytesCopied says how much of ArchiveSize is copied.
	Stage       archive.State `json:"stage,omitempty"`
	BytesCopied int64         `json:"bytes_copied,omitempty"`
	Tier        archive.Tier  `json:"tier,omitempty"`
	RequestedAt time.Time     `json:"requested_at,omitzero"`
	// Expected is when the archive usually hands the file over.
	Expected *apiSpan `json:"expected,omitempty"`
	// LateSince is when the archive should have handed the file over, if that is over.
	LateSince time.Time `json:"late_since,omitzero"`
	// First says that the user has chosen the file to come before the others.
	First bool `json:"first,omitempty"`
	// Fallback says which tiers were full. Only a single job has it.
	Fallback string `json:"fallback,omitempty"`
	// Download is the address of the result, if the object is there.
	Download string `json:"download,omitempty"`
	// Log is the address of the log, if there is one. Only a single job has it.
	Log string `json:"log,omitempty"`
}

type apiSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func (s *Server) apiJobOf(v jobView, of owner) apiJob {
	j := apiJob{
		ID: v.ID, Name: v.Name, State: v.State, Label: v.Look.Label, Sentence: v.Look.Sentence, Note: v.Note,
		SubmittedAt: v.SubmittedAt.UTC(), CompletedAt: v.CompletedAt.UTC(),
		Stage: v.Stage, BytesCopied: v.Bytes, First: isFirst(of, v.Job),
	}
	if v.ArchiveID != "" {
		j.ArchiveSize = max(v.ArchiveSize, 0)
	}
	if v.RetrievalID != "" {
		j.Tier, j.RequestedAt = v.Tier, v.RetrievalRequestedAt.UTC()
	}
	if at, late := s.outlook(of, v.Job); at != nil {
		j.Expected = &apiSpan{at.From.UTC(), at.To.UTC()}
	} else if v.Stage == "" && !late.IsZero() {
		j.LateSince = late.UTC()
	}
	if v.Here() && v.Found.Object.Key != "" {
		j.Download, j.Size, j.RestoredAt = apiDownload(v.ID), v.ResultSize, restoredAt(v.Job, v.Found)
		if sums := checksOf(v.Found); sums != (checks{}) {
			j.Checksums = &sums
		}
	}
	return j
}

// tooManyToSort explains maxSorted.
const tooManyToSort = "With more than 10 000 annotations the list can be sorted by date only."

func (s *Server) apiJobs(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	f, err := filterOf(queryOf(c))
	if err != nil {
		return err
	}
	l, err := s.list(c.Context(), v.owner(), f)
	if err != nil {
		return err
	}
	if l.tooMany {
		return &problem{status: http.StatusBadRequest, title: "There are too many to sort", sentence: tooManyToSort}
	}
	// The list says the same as the page.
	s.stageAll(c.Context(), l.Jobs)
	s.thereAll(c.Context(), l.Jobs)
	page := struct {
		Jobs []apiJob `json:"jobs"`
		// Next is the address of the page behind this one.
		Next string `json:"next,omitempty"`
		// Prev is the address of the page in front of this one.
		Prev string `json:"prev,omitempty"`
		// First and Last are the addresses of the first page and of the last one, if this is
		// another page.
		First string `json:"first,omitempty"`
		Last  string `json:"last,omitempty"`
		// Count is how many jobs there are in all, if that is known.
		Count int64 `json:"count,omitempty"`
	}{Jobs: []apiJob{}, Count: l.Count}
	for _, j := range l.Jobs {
		page.Jobs = append(page.Jobs, s.apiJobOf(j, v.owner()))
	}
	if l.next != "" {
		page.Next, page.Last = f.link(apiPath+"/jobs", l.next, false), f.lastLink(apiPath+"/jobs")
	}
	if l.prev != "" {
		page.Prev, page.First = f.link(apiPath+"/jobs", l.prev, true), f.link(apiPath+"/jobs", "", false)
	}
	return c.JSON(page)
}

func (s *Server) apiJob(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	j, err := v.ownJob()
	if err != nil {
		return err
	}
	jv := viewJob(j, v.owner())
	s.stage(c.Context(), &jv)
	there, err := s.there(c.Context(), &jv)
	if err != nil {
		return err
	}
	if jv.State == archive.Available && !there {
		jv.Look = notThere
	}
	out := s.apiJobOf(jv, v.owner())
	out.Fallback = s.fallback(jv)
	if _, hasLog, err := s.logOf(c.Context(), j); err != nil {
		s.lack(c.Context(), "a page is shown without the log", err, "job", j.ID)
	} else if hasLog {
		out.Log = jv.Link + "/log"
	}
	return c.JSON(out)
}

// apiDownload is the address at which the API hands out a result.
func apiDownload(id events.JobID) string {
	return apiPath + "/jobs/" + url.PathEscape(string(id)) + "/download"
}

// apiDownload leads to the result. A client that goes on after a cut asks here again, with the
// range that it lacks, and gets a fresh link.
func (s *Server) apiDownload(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	return lead(c, v, s.downloadLink)
}

// apiFirst brings a file before the user's others.
func (s *Server) apiFirst(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
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
	return c.JSON(struct {
		ID    events.JobID `json:"id"`
		First bool         `json:"first"`
	}{j.ID, true})
}

func (s *Server) apiSubscribe(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	if err := s.upgrade(c.Context(), v.owner()); err != nil {
		return err
	}
	return c.JSON(struct {
		Plan string `json:"plan"`
	}{planOf(archive.Premium)})
}

func (s *Server) apiUnsubscribe(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	if err := s.checkForm(c, v); err != nil {
		return err
	}
	if err := s.downgrade(c.Context(), v.account); err != nil {
		return err
	}
	return c.JSON(struct {
		Plan string `json:"plan"`
	}{planOf(archive.Free)})
}

// apiArchive answers with the overview of the archive. Pages of older releases ask for it again
// and again while nobody is there.
func (s *Server) apiArchive(c fiber.Ctx) error {
	v, err := s.apiViewer(c, false)
	if err != nil {
		return err
	}
	over, err := s.archived.of(c.Context(), v.owner())
	if err != nil {
		return err
	}
	out := struct {
		Files  int64 `json:"files"`
		Coming int64 `json:"coming"`
		// Waiting is how many wait for an approval, or for the end of a pause.
		Waiting int64 `json:"waiting,omitempty"`
		// Attention is how many need an operator.
		Attention int64 `json:"attention,omitempty"`
		Bytes     int64 `json:"bytes"`
		// Back is how many files came back since the user became Premium, and BackBytes is their
		// size.
		Back      int64 `json:"back,omitempty"`
		BackBytes int64 `json:"back_bytes,omitempty"`
		// More says that there are more files than were counted.
		More bool     `json:"more,omitempty"`
		By   *apiSpan `json:"by,omitempty"`
		// Late is how many of those that come are late, and LateSince is since when.
		Late      int64     `json:"late,omitempty"`
		LateSince time.Time `json:"late_since,omitzero"`
	}{Files: over.Files, Coming: over.Coming, Waiting: over.Waiting, Attention: over.Attention, Late: over.Late, LateSince: over.LateSince.UTC(), Bytes: over.Bytes, Back: over.Back, BackBytes: over.BackBytes, More: over.More}
	if over.By != nil {
		out.By = &apiSpan{over.By.From.UTC(), over.By.To.UTC()}
	}
	return c.JSON(out)
}

// problemJSON answers in the form of RFC 9457.
func problemJSON(c fiber.Ctx, p *problem) error {
	return c.Status(p.status).JSON(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail"`
		Instance string `json:"instance"`
	}{"about:blank", p.title, p.status, p.sentence, "urn:gas:request:" + requestOf(c.Context()).id}, mimeProblem)
}
