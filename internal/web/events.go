package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
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
	// reconnect is how soon a browser comes back after a cut.
	reconnect = 2 * time.Second
	// lastWrite is how long a stream that is stopped may take to say so.
	lastWrite = time.Second
)

// change is an event on the wire: what the page shows, in the words that the
// page has them in.
type change struct {
	Job      events.JobID `json:"job"`
	State    string       `json:"state"`
	Label    string       `json:"label"`
	Icon     string       `json:"icon"`
	Tone     string       `json:"tone"`
	Step     int          `json:"step"`
	Sentence string       `json:"sentence"`
	At       time.Time    `json:"at"`
	Bytes    int64        `json:"bytes,omitempty"`
	Size     int64        `json:"size,omitempty"`
	Tier     string       `json:"tier,omitempty"`
}

func changeOf(e events.StatusChanged) change {
	l := lookOf(archive.State(e.State))
	return change{
		Job: e.JobID, State: e.State, Label: l.Label, Icon: l.Icon, Tone: l.Tone, Step: l.Step,
		Sentence: l.Sentence, At: e.At.UTC(), Bytes: e.Bytes, Size: e.Size, Tier: e.Tier,
	}
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
	done, ok := s.streams.enter(v.session.token, func() {
		cancel()
		// A write to a browser that does not read would not notice.
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
	})
	if !ok {
		cancel()
		return &problem{status: http.StatusTooManyRequests, title: "Too many pages are open", sentence: "Close some of the pages of this site and reload this one.", retry: 10}
	}
	c.SetContext(ctx)
	user, request := v.account.ID, requestID(c)
	return sse.New(sse.Config{
		Retry:             reconnect,
		HeartbeatInterval: s.cfg.Heartbeat,
		Handler: func(_ fiber.Ctx, stream *sse.Stream) error {
			return s.follow(stream, user, after)
		},
		OnClose: func(_ fiber.Ctx, err error) {
			cancel()
			done()
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				s.log.Debug("live stream ended", "user", user, "request", request, "error", err.Error())
			}
		},
	})(c)
}

// after is the sequence that the browser has seen: by Last-Event-ID when it
// comes back, by the page's word at first, or now.
func (s *Server) after(c fiber.Ctx) (uint64, error) {
	seen := c.Get(fiber.HeaderLastEventID)
	if seen == "" {
		seen = c.Query("after")
	}
	if seen == "" {
		return s.deps.Statuses.Position(c.Context())
	}
	n, err := strconv.ParseUint(seen, 10, 64)
	if err != nil {
		return 0, &problem{status: http.StatusBadRequest, title: "The request cannot be read", sentence: "Reload the page.", err: err}
	}
	return n, nil
}

func (s *Server) follow(stream *sse.Stream, user events.UserID, after uint64) error {
	for st, err := range s.deps.Statuses.Follow(stream.Context(), user, after) {
		if err != nil {
			return err
		}
		if st.UserID != user {
			s.log.Error("a status change of another user was dropped", "user", user, "seq", st.Seq)
			continue
		}
		err = stream.Event(sse.Event{ID: strconv.FormatUint(st.Seq, 10), Name: "status", Data: changeOf(st.StatusChanged)})
		if err != nil {
			return err
		}
	}
	return nil
}
