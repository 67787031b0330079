package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// maxSending is how many long answers, zips and manifests, one user gets at once, and
	// maxSendingAll how many this process sends at once.
	maxSending, maxSendingAll = 2, 64
	// sendingLifetime ends a long answer, and sendingStall ends one that nobody reads.
	sendingLifetime, sendingStall = 12 * time.Hour, time.Minute
)

// zipPath and manifestPath are the addresses of the long answers.
const zipPath, manifestPath = "/annotations/results.zip", apiPath + "/manifest"

// sendings are the long answers under way. The zero value is ready.
type sendings struct {
	wg sync.WaitGroup

	// mu guards the fields below.
	mu     sync.Mutex
	closed bool
	of     map[events.UserID]int
	cuts   map[*sending]struct{}
}

// sending is a long answer.
type sending struct{ cut func() }

// begin counts a long answer to the user. Call done once, at its end.
func (s *sendings) begin(user events.UserID, cut func()) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || len(s.cuts) >= maxSendingAll:
		return nil, &problem{status: http.StatusServiceUnavailable, title: "One moment, please", sentence: "Many people are downloading at the moment. Please try again in a minute.", retry: 30}
	case s.of[user] >= maxSending:
		return nil, &problem{status: http.StatusTooManyRequests, title: "Two downloads are under way", sentence: "You can download two zips or lists at once. Please wait until one of them is done.", retry: 30, link: listPath, linkText: "Go to your annotations"}
	}
	if s.of == nil {
		s.of, s.cuts = map[events.UserID]int{}, map[*sending]struct{}{}
	}
	one := &sending{cut}
	s.cuts[one] = struct{}{}
	s.of[user]++
	s.wg.Add(1)
	return func() {
		defer s.wg.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.cuts, one)
		if s.of[user]--; s.of[user] == 0 {
			delete(s.of, user)
		}
	}, nil
}

// close lets no new answer begin, and cuts those that are not done after the time.
func (s *sendings) close(after time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	s.mu.Lock()
	for one := range s.cuts {
		one.cut()
	}
	s.mu.Unlock()
	<-done
}

// errEnded ends a long answer when its time is over.
var errEnded = errors.New("the session has ended, or the site stops")

// send answers with what write writes. If write fails, the connection is closed, so that the
// browser sees that the answer is not whole. write calls its last argument now and then, and ends
// with the error that it returns.
func (s *Server) send(c fiber.Ctx, v *viewer, kind, name, what string, write func(ctx context.Context, w io.Writer, goOn func() error) error) error {
	head := func() {
		c.Set(fiber.HeaderContentType, kind)
		c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	}
	if c.Method() == fiber.MethodHead {
		head()
		return nil
	}
	lifetime := min(sendingLifetime, v.until().Sub(s.cfg.Now()))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), lifetime)
	conn := c.RequestCtx().Conn()
	cut := func() {
		cancel()
		_ = conn.SetWriteDeadline(time.Now())
	}
	done, err := s.sendings.begin(v.account.ID, cut)
	if err != nil {
		cancel()
		return err
	}
	head()
	user, session, request, log := v.account.ID, v.session, requestOf(c.Context()).id, trace.Log(c.Context(), s.log)
	checked := s.cfg.Now()
	goOn := func() error {
		if ctx.Err() != nil {
			return errEnded
		}
		if now := s.cfg.Now(); session != nil && now.Sub(checked) > checkEvery {
			checked = now
			if sess, err := s.sessions.find(ctx, session.token, false); err == nil && sess == nil {
				return errEnded
			}
		}
		return nil
	}
	c.RequestCtx().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer done()
		defer cancel()
		err := write(ctx, &patient{w: w, extend: func() { _ = conn.SetWriteDeadline(time.Now().Add(sendingStall)) }}, goOn)
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			log.Info(what+" was cut", "user", user, "request", request, "err", err.Error())
			// Without this, the answer would look whole.
			_ = conn.Close()
			return
		}
		log.Info(what, "user", user, "request", request)
	})
	return nil
}

// patient gives a reader a new time limit for each piece.
type patient struct {
	w      *bufio.Writer
	extend func()
	begun  bool
}

func (p *patient) Write(b []byte) (int, error) {
	p.extend()
	n, err := p.w.Write(b)
	if err == nil && !p.begun {
		p.begun, err = true, p.w.Flush()
	}
	return n, err
}

// zip answers with the files of a set in one zip.
func (s *Server) zip(c fiber.Ctx) error {
	v, err := s.page(c)
	if v == nil {
		return err
	}
	set, err := setOf(c.Query("set"))
	if err != nil {
		return err
	}
	of := v.owner()
	return s.send(c, v, "application/zip", "results.zip", "a zip", func(ctx context.Context, w io.Writer, goOn func() error) error {
		_, err := s.writeZip(ctx, w, of, set, goOn)
		return err
	})
}

// manifest answers with the list of the files of a set.
func (s *Server) manifest(c fiber.Ctx) error {
	v, err := s.apiViewer(c, true)
	if err != nil {
		return err
	}
	set, err := setOf(c.Query("set"))
	if err != nil {
		return err
	}
	of := v.owner()
	return s.send(c, v, fiber.MIMEApplicationJSON, "manifest.json", "a manifest", func(ctx context.Context, w io.Writer, goOn func() error) error {
		if err := goOn(); err != nil {
			return err
		}
		return s.writeManifest(ctx, w, of, set)
	})
}
