package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v3"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/pkg/events"
)

func (s *Server) home(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	return s.views.render(c, "home", frame{Title: "Genomics Annotation Service", Viewer: v, Section: "home"})
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

// expected is when the archive hands j over, as a rule: from when it was asked,
// or from now on if it is about to be, where any of the tiers may be used. nil
// if it is not on its way, or nobody knows since when.
func (s *Server) expected(j jobView) *span {
	switch {
	case j.State == archive.Planned && len(s.cfg.Tiers) > 0:
		from, to := within(s.cfg.Tiers)
		now := s.cfg.Now()
		return &span{now.Add(from), now.Add(to)}
	case j.State == archive.Requested && !j.RetrievalRequestedAt.IsZero() && j.Tier != "":
		from, to := j.Tier.Typically()
		return &span{j.RetrievalRequestedAt.Add(from), j.RetrievalRequestedAt.Add(to)}
	}
	return nil
}

// within returns the shortest and the longest that a retrieval typically takes
// in any of the tiers.
func within(tiers archive.Tiers) (from, to time.Duration) {
	for i, t := range tiers {
		short, long := t.Typically()
		if i == 0 || short < from {
			from = short
		}
		to = max(to, long)
	}
	return from, to
}

// stage brings a job's view up to what the stream says of its retrieval: the
// catalog knows that it is under way, and no more.
func (s *Server) stage(c fiber.Ctx, jv *jobView) {
	if jv.State != archive.Requested && jv.State != archive.Planned {
		return
	}
	e, ok, err := s.deps.Statuses.Last(c.Context(), jv.UserID, jv.ID)
	if err != nil {
		s.log.Warn("a page does not say how far a file is", "job", jv.ID, "request", requestID(c), "error", err.Error())
		return
	}
	if !ok || e.At.Before(jv.RetrievalRequestedAt) {
		return
	}
	switch st := e.State; {
	case jv.State == archive.Requested && (st == archive.Ready || st == archive.Copying || st == archive.Verifying),
		jv.State == archive.Planned && (st == archive.Failed || st == archive.Expired):
		jv.Stage, jv.Look = st, lookOf(st)
		if st == archive.Copying && e.Size > 0 {
			jv.Bytes, jv.Size = min(e.Bytes, e.Size), e.Size
		}
	}
}

// stageAll does it for the rows of a list, a few at a time. Only those of which the
// archive was asked can be further than the catalog says.
func (s *Server) stageAll(c fiber.Ctx, rows []jobView) {
	var g errgroup.Group
	g.SetLimit(8)
	for i := range rows {
		if rows[i].State == archive.Requested {
			g.Go(func() error { s.stage(c, &rows[i]); return nil })
		}
	}
	_ = g.Wait()
}

func (s *Server) annotation(c fiber.Ctx) error {
	live := s.position(c)
	v, err := s.page(c)
	if v == nil {
		return err
	}
	j, err := v.ownJob()
	if err != nil {
		return err
	}
	jv := viewJob(j, v.account.Role)
	s.stage(c, &jv)
	body := annotationBody{Job: jv, Steps: stepsAt(jv.Look.Step), Fallback: s.fallback(jv)}
	// What is asked for again takes as long as at first.
	if jv.Stage == "" || jv.State == archive.Planned {
		body.Expected = s.expected(jv)
	}
	if jv.State == archive.Available {
		there, err := s.deps.Downloads.Exists(c.Context(), j.Result)
		if err != nil {
			return err
		}
		if body.Missing = !there; body.Missing {
			body.Job.Look = look{Label: "Not found", Icon: "cross", Tone: "bad"}
		}
	}
	return s.views.render(c, "annotation", frame{Title: jv.Name, Viewer: v, Section: "annotations", Live: live, Body: body})
}

// fallback tells which tiers were full for a retrieval that is under way, the
// only reason for the pipeline to take a later one.
func (s *Server) fallback(j jobView) string {
	if j.State != archive.Requested {
		return ""
	}
	return fallback(s.cfg.Tiers, j.Tier)
}

// fallback tells which of the tiers were full for a retrieval in that one.
func fallback(tiers archive.Tiers, tier archive.Tier) string {
	switch i := slices.Index(tiers, tier); i {
	case -1, 0:
		return ""
	case 1:
		return fmt.Sprintf("%s was full, %s is used.", tiers[0], tier)
	default:
		var full []string
		for _, t := range tiers[:i] {
			full = append(full, string(t))
		}
		return fmt.Sprintf("%s were full, %s is used.", strings.Join(full, " and "), tier)
	}
}

// namedJob is the job that the address names; empty if it names none, or one that
// cannot be.
func namedJob(c fiber.Ctx) events.JobID {
	raw, err := url.PathUnescape(c.Params("id"))
	if err != nil || !utf8.ValidString(raw) || text.Clip(raw, events.MaxIDLength) != raw {
		return ""
	}
	return events.JobID(raw)
}

// ownJob returns the job that the address names, if it is the viewer's. Somebody
// else's is not found, in the same words as one that never was.
func (v *viewer) ownJob() (archive.Job, error) {
	if v.job.ID == "" || v.job.UserID != v.account.ID {
		return archive.Job{}, &problem{
			status: http.StatusNotFound, title: "There is no such annotation",
			sentence: "None of your annotations has this address.",
			link:     "/annotations", linkText: "Go to your annotations",
		}
	}
	return v.job, nil
}

// position is where the page's live stream begins. It is taken before the
// catalog is read, so that no change falls in between. Without it the page is
// shown all the same and does not follow.
func (s *Server) position(c fiber.Ctx) string {
	at, err := s.where(c.Context())
	if err != nil {
		s.log.Warn("a page is shown without live updates", "request", requestID(c), "error", err.Error())
		return ""
	}
	return at.String()
}

// where is up to where changes were handed out, or where their stream is.
func (s *Server) where(ctx context.Context) (events.Position, error) {
	if at, ok := s.hub.position(); ok {
		return at, nil
	}
	return s.deps.Statuses.Position(ctx)
}
