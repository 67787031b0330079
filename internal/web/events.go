package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/sse"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// eventsPath is where a page follows its user's changes.
	eventsPath = "/events"
	// streamLifetime ends a stream, so that the browser comes back and is asked
	// who it is again.
	streamLifetime = 15 * time.Minute
	// checkEvery is how often a stream looks whether its session still is.
	checkEvery = time.Minute
	// reconnect is how soon a browser comes back after a cut.
	reconnect = 2 * time.Second
	// lastWrite is how long a stream that is stopped may take to say so.
	lastWrite = time.Second
)

// change is an event on the wire: what the page shows, in the words that the
// page has them in.
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
	// From and To are when the archive hands the file over, as a rule.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Fallback says why the tier is a slower one; empty if it is not.
	Fallback string `json:"fallback,omitempty"`
}

// changeOf returns the change where tiers are the order in which they are tried.
func changeOf(e events.StatusChanged, tiers archive.Tiers) change {
	l := lookOf(e.State)
	c := change{
		Job: e.JobID, State: e.State, Label: l.Label, Icon: l.Icon, Tone: l.Tone, Step: l.Step,
		Sentence: l.Sentence, At: e.At.UTC(), Tier: e.Tier,
	}
	// Bytes are told while they move, and only then.
	if e.State == archive.Copying {
		c.Bytes, c.Size = e.Bytes, e.Size
	}
	if archive.State(e.State) == archive.Requested && e.Tier != "" {
		if from, to, err := archive.Tier(e.Tier).Typically(); err == nil {
			c.From, c.To = e.At.Add(from).UTC(), e.At.Add(to).UTC()
		}
		c.Fallback = fallback(tiers, archive.Tier(e.Tier))
	}
	return c
}

// events streams the user's status changes from where the page, or the last
// stream, left off.
func (s *Server) events(c fiber.Ctx) error {
	// A page that stays open is no sign of life from its user.
	v, err := s.viewer(c, false)
	if err != nil {
		return err
	}
	if v == nil {
		return &problem{status: http.StatusUnauthorized, title: "You are not signed in", sentence: "Please sign in to follow your files.", link: "/login", linkText: "Sign in"}
	}
	if c.Method() != fiber.MethodGet {
		return fiber.ErrMethodNotAllowed
	}
	after, err := s.after(c)
	if err != nil {
		return err
	}
	lifetime := min(streamLifetime, v.session.ExpiresAt.Sub(s.cfg.Now()))
	// The request's own time limit is not for this.
	ctx, cancel := context.WithTimeout(context.Background(), lifetime)
	conn := c.RequestCtx().Conn()
	cut := func() {
		cancel()
		// A write to a browser that does not read would not notice.
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	user, token, request := v.account.ID, v.session.token, requestID(c)
	l, err := s.hub.listen(c.Context(), user, cut)
	if err != nil {
		cancel()
		return &problem{status: http.StatusServiceUnavailable, title: "No live updates", sentence: "The page does not follow your files at the moment. Reload it to see how far they are.", retry: 5, err: err}
	}
	done, ok := s.streams.enter(hashOf(v.session.token), cut)
	if !ok {
		s.hub.leave(l)
		cancel()
		return &problem{status: http.StatusServiceUnavailable, title: "One moment, please", sentence: "The site is being restarted. Reload the page.", retry: 5}
	}
	c.SetContext(ctx)
	return sse.New(sse.Config{
		Retry:             reconnect,
		HeartbeatInterval: s.cfg.Heartbeat,
		Handler: func(_ fiber.Ctx, stream *sse.Stream) error {
			return s.follow(stream, l, after, token)
		},
		OnClose: func(_ fiber.Ctx, err error) {
			cancel()
			s.hub.leave(l)
			done()
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				s.log.Debug("live stream ended", "user", user, "request", request, "error", err.Error())
			}
		},
	})(c)
}

// after is the position that the browser has seen: by Last-Event-ID when it
// comes back, by the page's word at first, or now.
func (s *Server) after(c fiber.Ctx) (events.Position, error) {
	seen := c.Get(fiber.HeaderLastEventID)
	if seen == "" {
		seen = c.Query("after")
	}
	if seen == "" {
		// The hub's own place: it is asked first by whoever listens.
		return s.where(c.Context())
	}
	at, err := events.ParsePosition(seen)
	if err != nil {
		return at, &problem{status: http.StatusBadRequest, title: "The request cannot be read", sentence: "Reload the page.", err: err}
	}
	return at, nil
}

// mostKept is how many changes a browser is told of whose position is not known.
const mostKept = 1000

// place returns where in the stream of from a browser is that has seen what is before
// seen. sure is false if it may have missed what that stream cannot tell.
func (s *Server) place(ctx context.Context, seen, from events.Position) (at events.Position, sure bool, err error) {
	beginning := events.Position{Incarnation: from.Incarnation}
	switch {
	case seen == events.Position{}:
		return beginning, true, nil // it wants all, of whichever stream
	case seen.Incarnation == "":
		// A bare number, from a page or a client of an older release: of this stream, if it is in there.
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

// errSlow ends a stream whose browser does not keep up.
var errSlow = errors.New("the browser reads too slowly")

// follow sends what the browser missed, and then what comes.
func (s *Server) follow(stream *sse.Stream, l *listener, after events.Position, token string) error {
	after, sure, err := s.place(stream.Context(), after, l.from)
	if err != nil {
		return err
	}
	if !sure {
		// What it missed may be nowhere any more: the page itself is the truth.
		if err := stream.Event(sse.Event{ID: after.String(), Name: "reload", Data: "{}"}); err != nil {
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
		return stream.Event(sse.Event{ID: d.at.String(), Name: "status", Data: d.data})
	}
	if after.Seq < l.from.Seq {
		told := 0
		for st, err := range s.deps.Statuses.Kept(stream.Context(), l.user, after, l.from) {
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
	// Another replica, or the provider, may sign the user out.
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-check.C:
			ctx, cancel := context.WithTimeout(stream.Context(), requestTimeout)
			sess, err := s.sessions.find(ctx, token, false)
			cancel()
			if err == nil && sess == nil {
				return nil
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
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
