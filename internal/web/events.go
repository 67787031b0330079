package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/sse"

	"github.com/gas-restore/gas/pkg/events"
)

const (
	// eventsPath is where a page follows its user's changes.
	eventsPath = "/events"
	// streamLifetime ends a stream. Then the browser comes back, and the site checks the
	// session again.
	streamLifetime = 15 * time.Minute
	// checkEvery is how often a stream checks that its session is still there.
	checkEvery = time.Minute
	// reconnect is how soon a browser comes back after a cut.
	reconnect = 2 * time.Second
	// lastWrite is how long a stopped stream may take for its last write.
	lastWrite = time.Second
)

// events streams the user's status changes after the last one that the page or an earlier
// stream saw.
func (s *Server) events(c fiber.Ctx) error {
	// An open page does not mean that its user is there.
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
	lifetime := min(streamLifetime, v.until().Sub(s.cfg.Now()))
	// The stream does not end with the request's own time limit.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), lifetime)
	conn := c.RequestCtx().Conn()
	cut := func() {
		cancel()
		// Otherwise a write to a browser that does not read would never end.
		_ = conn.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	user, request := v.account.ID, requestOf(c.Context()).id
	token, of := "", "access token of "+string(user)
	if v.session != nil {
		token, of = v.session.token, hashOf(v.session.token)
	}
	l, err := s.hub.listen(c.Context(), user, cut)
	if err != nil {
		cancel()
		return &problem{status: http.StatusServiceUnavailable, title: "No live updates", sentence: "The page does not follow your files at the moment. Reload it to see how far they are.", retry: 5, err: err}
	}
	done, ok := s.streams.enter(of, cut)
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
			return s.follow(stream.Context(), l, after, token, func(at events.Position, name, data string) error {
				return stream.Event(sse.Event{ID: at.String(), Name: name, Data: data})
			})
		},
		OnClose: func(_ fiber.Ctx, err error) {
			cancel()
			s.hub.leave(l)
			done()
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				s.log.Debug("live stream ended", "user", user, "request", request, "err", err.Error())
			}
		},
	})(c)
}

// after returns the position that the browser has seen. It is in Last-Event-ID when the
// browser comes back, and in the page's address at first. Without either it is now.
func (s *Server) after(c fiber.Ctx) (events.Position, error) {
	seen := c.Get(fiber.HeaderLastEventID)
	if seen == "" {
		seen = c.Query("after")
	}
	if seen == "" {
		// This is the hub's position if the hub knows one: the listener starts there.
		return s.where(c.Context())
	}
	at, err := events.ParsePosition(seen)
	if err != nil {
		return at, &problem{status: http.StatusBadRequest, title: "The request cannot be read", sentence: "Reload the page.", err: err}
	}
	return at, nil
}
