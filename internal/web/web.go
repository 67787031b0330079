// Package web is the site: sign-in, the list of jobs with their states, the upgrade to
// Premium, and the download of a result.
//
// The site renders every page itself, and pages work without JavaScript. A small script
// follows the user's status changes and keeps the page up to date. The session alone
// decides which user's jobs a page shows.
//
// The files of handlers (pages.go, help.go, api.go, events.go, sending.go, signin.go,
// safety.go, compress.go, conditional.go, web.go) parse the request, call a use case, and
// answer. The use cases take a context and plain values.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"

	"github.com/gas-restore/gas/internal/signin"
)

const (
	// maxBody bounds the body of a request. It is far more than any form of the site needs.
	maxBody = 64 << 10
	// maxHeader bounds the request line and the headers.
	maxHeader = 16 << 10
	// requestTimeout bounds the work for one request.
	requestTimeout = 10 * time.Second
	writeTimeout   = 30 * time.Second
	keepAlive      = time.Minute
	// maxSessions and maxLogins bound the stores in memory.
	maxSessions = 100_000
	maxLogins   = 10_000
)

// Server is the site; make one with [New].
type Server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	app      *fiber.App
	views    *views
	sessions *sessions
	logins   *logins
	provider *signin.Provider
	streams  *streams
	hub      *hub
	limits   *limits
	archived *overviews
	objects  objects
	lacks    lacks
	sendings sendings
	// routeNames are sorted.
	routeNames []string
	// origin is the base URL without a slash at its end.
	origin string
	secure bool
	// support and security are contacts; nil if they are not set.
	support, security *contact
}

// New returns the site. It connects to nothing. The error names every mistake in cfg and
// deps.
func New(cfg Config, deps Deps) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.check(), deps.check()); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if deps.Sessions == nil {
		// A session has four entries.
		deps.Sessions = newMemoryStore(4 * maxSessions)
	}
	if deps.Logins == nil {
		deps.Logins = newMemoryStore(maxLogins)
	}
	v, err := newViews()
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s := &Server{
		cfg:     cfg,
		deps:    deps,
		log:     cfg.Logger,
		views:   v,
		streams: newStreams(cfg.Meter),
		limits:  newLimits(cfg),
		origin:  strings.TrimSuffix(cfg.BaseURL, "/"),
		secure:  strings.HasPrefix(cfg.BaseURL, "https://"),
	}
	s.support, _ = contactOf(cfg.Support) // it was checked
	s.security, _ = contactOf(cfg.SecurityContact)
	s.sessions = &sessions{store: deps.Sessions, now: cfg.Now, lifetime: cfg.SessionLifetime, idle: cfg.SessionIdle}
	s.logins = &logins{store: deps.Logins, now: cfg.Now}
	s.provider = signin.New(signin.Config{
		Issuer: cfg.Issuer, ClientID: cfg.ClientID, Secret: cfg.secret, Scopes: cfg.Scopes, Redirect: s.origin + CallbackPath,
		HTTPClient: cfg.HTTPClient, Logger: cfg.Logger, Now: cfg.Now,
	})
	s.archived = newOverviews(deps.Jobs, cfg, s.ownerOf, s.handed)
	s.hub = newHub(deps.Statuses, cfg, s.archived.move)
	s.app = s.routes()
	s.routeNames = s.routeNamesOf()
	return s, nil
}

// Serve answers on ln until ctx ends, and then stops. It first closes the live streams, so
// that browsers go to another replica at once. Then requests under way may finish within
// the drain time. Serve returns nil after a clean stop. It closes ln in any case. A Server
// serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	// The work beside the requests stops after them.
	var beside sync.WaitGroup
	besideCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer beside.Wait()
	defer stop()
	beside.Go(func() { s.hub.run(besideCtx) })
	beside.Go(func() { s.heal(besideCtx) })
	done := make(chan error, 1)
	go func() { done <- s.app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true}) }()
	select {
	case err := <-done:
		s.streams.close()
		return fmt.Errorf("serve the site on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	s.streams.close()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
	defer cancel()
	beside.Go(func() { s.sendings.close(s.cfg.Drain * 3 / 4) })
	err := s.app.ShutdownWithContext(drain)
	// The app does not know a listener that it did not serve yet.
	_ = ln.Close()
	if serr := <-done; err == nil && serr != nil && !errors.Is(serr, net.ErrClosed) {
		err = serr
	}
	if err != nil {
		return fmt.Errorf("stop the site on %s: %w", ln.Addr(), err)
	}
	return nil
}

func (s *Server) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		AppName:       "gas",
		CaseSensitive: true,
		// Values from a request outlive the request: they go into sessions, logs and streams.
		Immutable:          true,
		BodyLimit:          maxBody,
		ReadBufferSize:     maxHeader,
		ReadTimeout:        s.cfg.ReadTimeout,
		WriteTimeout:       writeTimeout,
		IdleTimeout:        keepAlive,
		TrustProxy:         len(s.cfg.TrustProxy) > 0,
		TrustProxyConfig:   fiber.TrustProxyConfig{Proxies: s.cfg.TrustProxy},
		ProxyHeader:        proxyHeader(s.cfg.TrustProxy),
		EnableIPValidation: true,
		ErrorHandler:       s.fail,
	})
	// A live stream is one long response, and has its own time limit for writing.
	app.Server().HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
		uri := string(h.RequestURI())
		if strings.HasPrefix(uri, eventsPath) || strings.HasPrefix(uri, apiPath+eventsPath) {
			return fasthttp.RequestConfig{WriteTimeout: streamLifetime + writeTimeout}
		}
		if strings.HasPrefix(uri, zipPath) || strings.HasPrefix(uri, manifestPath) {
			return fasthttp.RequestConfig{WriteTimeout: sendingLifetime}
		}
		return fasthttp.RequestConfig{}
	}
	app.Use(s.frame)
	app.Get("/assets/:name", s.asset)
	app.Get("/favicon.ico", s.favicon)
	app.Get("/.well-known/security.txt", s.securityText)
	app.Get("/", s.home)
	app.Get("/help", s.help)
	app.Get("/login", s.login)
	app.Get(CallbackPath, s.callback)
	app.Post(backChannelPath, s.backChannel)
	app.Post("/logout", s.logout)
	// Somebody may reload the answer to a form, or come back to it.
	for _, action := range []string{"/logout", "/account/free", "/account/sessions", "/annotations/seen", "/annotation/:id" + firstPath} {
		app.Get(action, func(c fiber.Ctx) error {
			return c.Redirect().Status(fiber.StatusSeeOther).To(pageOf(c.Path()))
		})
	}
	app.Get("/annotations", s.annotations)
	app.Post("/annotations/seen", s.seen)
	app.Get("/annotation/:id", s.annotation)
	app.Post("/annotation/:id"+firstPath, s.first)
	app.Get("/annotation/:id/download", s.download)
	app.Get("/annotation/:id/log", s.logFile)
	app.Get(zipPath, s.zip)
	app.Get("/subscribe", s.subscribePage)
	app.Post("/subscribe", s.subscribe)
	app.Get("/account", s.account)
	app.Post("/account/free", s.unsubscribe)
	app.Post("/account/sessions", s.endSessions)
	app.Get(eventsPath, s.events)
	s.routeAPI(app)
	return app
}

// proxyHeader is the header in which the proxies in front of the site name the browser's
// address.
func proxyHeader(proxies []string) string {
	if len(proxies) == 0 {
		return ""
	}
	return fiber.HeaderXForwardedFor
}
