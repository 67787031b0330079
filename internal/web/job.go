package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/pkg/events"
)

type annotationBody struct {
	Job jobView
	// Size is the size of the file in bytes; 0 if nobody knows it.
	Size int64
	// Steps are the steps of the way back; nil if the file is not on it.
	Steps []step
	// RestoredAt is when the file came back; zero if it was never in the archive, or is not
	// back. Checks are its checksums.
	RestoredAt time.Time
	Checks     checks
	// HasLog says that there is a log. LogEnd has the last lines of the log of a failed job.
	HasLog bool
	LogEnd string
	// Missing says that the store does not have the file, although it should.
	Missing bool
	// Expected is when Glacier will usually be done; nil if nobody knows.
	Expected *span
	// Late is when Glacier should have been done, if that is over; zero otherwise.
	Late time.Time
	// List is the address of the list from which the viewer came, and ListShows says what it
	// shows; empty if that is all.
	List, ListShows string
	// From is the query of that list.
	From string
	// First says that the viewer has chosen this file to come before the others, and MayBeFirst
	// that the viewer can.
	First, MayBeFirst bool
	// Fallback says why a slower tier is used; empty if none is.
	Fallback string
}

// ID is the job's id as a text.
func (b annotationBody) ID() string { return string(b.Job.ID) }

// moving reports whether the page may change without an event.
func (b annotationBody) moving() bool {
	switch b.Job.State {
	case archive.Pending, archive.Planned, archive.Requested, summary.Held, paused, summary.Attention:
		return true
	}
	return false
}

type span struct{ From, To time.Time }

// expected returns when the archive will usually hand the file over. It counts from the
// request, or from the plan if the request is still to come and may use any of the tiers. It
// returns nil if the file is not on its way, or if nobody knows since when.
func expected(tiers archive.Tiers, of owner, j archive.Job) *span {
	switch of.state(j) {
	case archive.Planned:
		if of.Plan == nil {
			return nil
		}
		begin := of.Plan.OpenedAt
		if j.History.NotBefore.After(begin) {
			begin = j.History.NotBefore
		}
		return after(begin, tiers, j.Copy.Class)
	case archive.Requested:
		from, to, err := j.Copy.Class.Typically(j.Tier)
		if err != nil || j.RetrievalRequestedAt.IsZero() {
			return nil
		}
		return &span{j.RetrievalRequestedAt.Add(from), j.RetrievalRequestedAt.Add(to)}
	}
	return nil
}

// outlook returns when the archive will usually hand the file over. If that time is over,
// outlook returns since when the file is late instead. It returns neither if nobody knows.
func (s *Server) outlook(of owner, j archive.Job) (at *span, late time.Time) {
	at = expected(s.cfg.Tiers, of, j)
	switch {
	case at == nil || at.To.After(s.cfg.Now()):
		return at, time.Time{}
	case of.state(j) == archive.Requested:
		return nil, at.To
	}
	return nil, time.Time{}
}

// handed reports whether the archive handed the file over, as far as the stream says.
func (s *Server) handed(ctx context.Context, of owner, j archive.Job) bool {
	jv := viewJob(j, of)
	s.stage(ctx, &jv)
	return jv.Stage != ""
}

// after returns when a file of the class is usually handed over that is requested at a time,
// in any of the tiers.
func after(begin time.Time, tiers archive.Tiers, class archive.Class) *span {
	if len(tiers) == 0 || begin.IsZero() {
		return nil
	}
	from, to := within(tiers, class)
	return &span{begin.Add(from), begin.Add(to)}
}

// spans say when the last of several files is handed over.
type spans struct {
	span
	n, unknown int
}

func (s *spans) add(at *span) {
	s.n++
	if at == nil {
		s.unknown++
		return
	}
	if at.From.After(s.From) {
		s.From = at.From
	}
	if at.To.After(s.To) {
		s.To = at.To
	}
}

// known reports whether the time of each file is known.
func (s *spans) known() bool { return s.n > 0 && s.unknown == 0 }

// within returns the shortest and the longest time that a retrieval of the class usually
// takes in any of the tiers.
func within(tiers archive.Tiers, class archive.Class) (from, to time.Duration) {
	for i, t := range tiers.In(class) {
		short, long, err := class.Typically(t)
		if err != nil {
			continue // the configuration is checked: there is none
		}
		if i == 0 || short < from {
			from = short
		}
		to = max(to, long)
	}
	return from, to
}

// stage adds what the stream says about the job's retrieval: the catalog knows only that it
// is under way.
func (s *Server) stage(ctx context.Context, jv *jobView) {
	if jv.State != archive.Requested && jv.State != archive.Planned {
		return
	}
	e, ok, err := s.deps.Statuses.Last(ctx, jv.UserID, jv.ID)
	if err != nil {
		s.lack(ctx, "a page does not say how far a file is", err, "job", jv.ID)
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

// stageAll does so for the rows of a list, a few at a time. Only a job with a retrieval can
// be further than the catalog says.
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

// fallback says which tiers were full for a retrieval under way. The pipeline takes a later
// tier for no other reason.
func (s *Server) fallback(j jobView) string {
	if j.State != archive.Requested {
		return ""
	}
	return fallback(s.cfg.Tiers.In(j.Copy.Class), j.Tier)
}

// fallback says which of the tiers were full for a retrieval in tier.
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

// position returns the position at which the page's live stream begins. Call it before the
// catalog is read, so that no change is lost in between. It is empty if nobody knows: then
// the page has no live updates.
func (s *Server) position(ctx context.Context) string {
	at, err := s.where(ctx)
	if err != nil {
		s.lack(ctx, "a page is shown without live updates", err)
		return ""
	}
	return at.String()
}

// where returns the position of the last change that the hub handed out, or the end of the
// stream.
func (s *Server) where(ctx context.Context) (events.Position, error) {
	if at, ok := s.hub.position(); ok {
		return at, nil
	}
	return s.deps.Statuses.Position(ctx)
}

// file returns what the page of a job shows.
func (s *Server) file(ctx context.Context, of owner, j archive.Job) (annotationBody, error) {
	jv := viewJob(j, of)
	s.stage(ctx, &jv)
	body := annotationBody{Job: jv, Steps: stepsAt(jv.Look.Step), Fallback: s.fallback(jv)}
	// A second retrieval takes as long as the first one.
	if jv.Stage == "" || jv.State == archive.Planned {
		body.Expected, body.Late = s.outlook(of, j)
	}
	if body.First = isFirst(of, j); !body.First && canBeFirst(of, j, jv.Stage) {
		over := s.overviewOf(ctx, of, "the page of a file")
		body.MayBeFirst = over == nil || over.Coming > 1 || over.More
	}
	var there bool
	var g errgroup.Group
	g.Go(func() (err error) {
		there, err = s.there(ctx, &body.Job)
		return err
	})
	g.Go(func() error {
		found, hasLog, err := s.logOf(ctx, j)
		if body.HasLog = hasLog; err == nil && hasLog && jv.State == archive.Errored {
			body.LogEnd, err = s.endOfLog(ctx, found)
		}
		if err != nil {
			s.lack(ctx, "a page is shown without the log", err, "job", j.ID)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return annotationBody{}, err
	}
	if there {
		body.RestoredAt, body.Checks = restoredAt(j, body.Job.Found), checksOf(body.Job.Found)
	}
	if body.Missing = jv.State == archive.Available && !there; body.Missing {
		body.Job.Look = notThere
	}
	body.Size = body.Job.Weight()
	return body, nil
}
