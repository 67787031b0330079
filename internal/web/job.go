package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

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
func (s *Server) stage(ctx context.Context, jv *jobView) {
	if jv.State != archive.Requested && jv.State != archive.Planned {
		return
	}
	e, ok, err := s.deps.Statuses.Last(ctx, jv.UserID, jv.ID)
	if err != nil {
		s.log.Warn("a page does not say how far a file is", "job", jv.ID, "request", requestOf(ctx).id, "error", err.Error())
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
func (s *Server) stageAll(ctx context.Context, rows []jobView) {
	var g errgroup.Group
	g.SetLimit(8)
	for i := range rows {
		if rows[i].State == archive.Requested {
			g.Go(func() error { s.stage(ctx, &rows[i]); return nil })
		}
	}
	_ = g.Wait()
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

// position is where the page's live stream begins. It is taken before the
// catalog is read, so that no change falls in between. Without it the page is
// shown all the same and does not follow.
func (s *Server) position(ctx context.Context) string {
	at, err := s.where(ctx)
	if err != nil {
		s.log.Warn("a page is shown without live updates", "request", requestOf(ctx).id, "error", err.Error())
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

// file returns what the page of a job shows.
func (s *Server) file(ctx context.Context, role archive.Role, j archive.Job) (annotationBody, error) {
	jv := viewJob(j, role)
	s.stage(ctx, &jv)
	body := annotationBody{Job: jv, Steps: stepsAt(jv.Look.Step), Fallback: s.fallback(jv)}
	// A second retrieval takes as long as the first one.
	if jv.Stage == "" || jv.State == archive.Planned {
		body.Expected = s.expected(jv)
	}
	there, err := s.there(ctx, jv)
	if err != nil {
		return annotationBody{}, err
	}
	if body.Missing = jv.State == archive.Available && !there; body.Missing {
		body.Job.Look = look{Label: "Not found", Icon: "cross", Tone: "bad"}
	}
	return body, nil
}
