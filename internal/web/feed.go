package web

import (
	"context"
	"errors"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// change is an event for the page, with the same words that the page has.
type change struct {
	Job      events.JobID  `json:"job"`
	State    archive.State `json:"state"`
	Label    string        `json:"label"`
	Icon     string        `json:"icon"`
	Tone     string        `json:"tone"`
	Step     int           `json:"step"`
	Sentence string        `json:"sentence"`
	At       time.Time     `json:"at"`
	Bytes    int64         `json:"bytes,omitempty"`
	Size     int64         `json:"size,omitempty"`
	Tier     events.Tier   `json:"tier,omitempty"`
	// From and To say when the archive usually hands the file over.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Fallback says why a slower tier is used; empty if none is.
	Fallback string `json:"fallback,omitempty"`
}

// changeOf returns the change for e. tiers is the order in which the tiers are tried.
func changeOf(e events.StatusChanged, tiers archive.Tiers) change {
	l := lookOf(e.State)
	c := change{
		Job: e.JobID, State: e.State, Label: l.Label, Icon: l.Icon, Tone: l.Tone, Step: l.Step,
		Sentence: l.Sentence, At: e.At.UTC(), Tier: e.Tier,
	}
	// Only a copy has bytes to report.
	if e.State == archive.Copying {
		c.Bytes, c.Size = e.Bytes, e.Size
	}
	if e.State == archive.Requested && e.Tier != "" {
		class := archive.Class(e.Class)
		if from, to, err := class.Typically(archive.Tier(e.Tier)); err == nil {
			c.From, c.To = e.At.Add(from).UTC(), e.At.Add(to).UTC()
		}
		c.Fallback = fallback(tiers.In(class), archive.Tier(e.Tier))
	}
	return c
}

// mostKept is how many kept changes a browser gets if nobody knows its position.
const mostKept = 1000

// place returns the position, in the stream of from, of a browser that has seen the changes
// up to seen. sure is false if the browser may have missed changes that this stream does
// not have.
func (s *Server) place(ctx context.Context, seen, from events.Position) (at events.Position, sure bool, err error) {
	beginning := events.Position{Incarnation: from.Incarnation}
	switch {
	case seen == events.Position{}:
		return beginning, true, nil // the browser wants all changes of any stream
	case seen.Incarnation == "":
		// A page or a client of an older release sends a bare number. It means this stream, if it
		// is in there.
		if seen.Seq > from.Seq {
			return beginning, false, nil
		}
		return events.Position{Incarnation: from.Incarnation, Seq: seen.Seq}, false, nil
	case seen.Incarnation != from.Incarnation:
		return from, false, nil
	case seen.Seq > from.Seq:
		// Another replica was faster, or the stream lost its end.
		last, err := s.deps.Statuses.Position(ctx)
		if err != nil {
			return seen, false, err
		}
		if last.Incarnation != seen.Incarnation || last.Seq < seen.Seq {
			return from, false, nil
		}
	}
	return seen, true, nil
}

// errSlow ends the stream of a browser that does not keep up.
var errSlow = errors.New("the browser reads too slowly")

// follow tells the browser the changes that it missed, and then each new one. It ends with
// ctx, and with the session of token.
func (s *Server) follow(ctx context.Context, l *listener, after events.Position, token string, tell func(at events.Position, name, data string) error) error {
	after, sure, err := s.place(ctx, after, l.from)
	if err != nil {
		return err
	}
	if !sure {
		// The stream may not have the changes that the browser missed. The page itself has the
		// truth.
		if err := tell(after, "reload", "{}"); err != nil {
			return err
		}
	}
	send := func(d *delivery) error {
		if d.user != l.user {
			s.log.Error("a status change of another user was dropped", "user", l.user, "position", d.at.String())
			return nil
		}
		if d.at.Seq <= after.Seq {
			return nil
		}
		after = d.at
		return tell(d.at, "status", d.data)
	}
	if after.Seq < l.from.Seq {
		told := 0
		for st, err := range s.deps.Statuses.Kept(ctx, l.user, after, l.from) {
			if err == nil {
				err = send(s.hub.deliveryOf(st))
			}
			if err != nil {
				return err
			}
			if told++; !sure && told == mostKept {
				break
			}
		}
	}
	// Another replica, or the provider, may sign the user out. Nobody can take an access token
	// back, so its stream ends with the token.
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-check.C:
			if token == "" {
				continue // an access token ends with ctx
			}
			checkCtx, cancel := context.WithTimeout(ctx, requestTimeout)
			sess, err := s.sessions.find(checkCtx, token, false)
			cancel()
			if err == nil && sess == nil {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case d, ok := <-l.changes:
			if !ok {
				return errSlow
			}
			if err := send(d); err != nil {
				return err
			}
		}
	}
}
