// Package daemon has the code that all long-running commands of the pipeline share: the
// logger, the stop in two phases, health and metrics over HTTP, and the exit code.
package daemon

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/internal/version"
)

// Exit codes.
const (
	ExitOK      = 0
	ExitFailure = 1
	// ExitUsage means that the configuration or the command line is wrong. It does not help
	// to start the command again without a change.
	ExitUsage = 2
)

// Logger returns a logger that writes to w. Names from outside steer neither the terminal nor
// the direction of a line.
func Logger(w io.Writer, format string, level slog.Level) *slog.Logger {
	w = text.Plain(w)
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// readable writes durations and named values with their words: JSON would have numbers.
func readable(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case time.Duration:
		a.Value = slog.StringValue(v.String())
	case error, json.Marshaler, encoding.TextMarshaler: // JSON has words for these
	case fmt.Stringer:
		a.Value = slog.StringValue(v.String())
	}
	return a
}

// Check returns an error while the process lacks something that it needs.
type Check func(context.Context) error

// Part is a piece of the pipeline that runs until somebody stops it.
type Part struct {
	Name string
	// Run works until drain is closed, then finishes its work and returns nil. When ctx
	// ends it returns at once.
	Run func(ctx context.Context, drain <-chan struct{}) error
	// /readyz answers 503 while one of the Ready checks returns an error.
	Ready []Check
	// Notes are checks too, of things that the part can work without. /readyz shows their
	// errors, and answers 200 all the same.
	Notes []Check
	// Metrics are served on /metrics.
	Metrics []prometheus.Collector
	// Close frees the part's resources, after Run has returned.
	Close func()
}

// Stopper tells parts to stop, in two phases.
type Stopper struct {
	drain  chan struct{}
	once   sync.Once
	cancel context.CancelCauseFunc
}

// ErrStopped is the cause of a context that the second phase of a stop ended.
var ErrStopped = errors.New("process is stopping")

// NewStopper returns a stopper and the context that its second phase ends.
func NewStopper(ctx context.Context) (*Stopper, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Stopper{drain: make(chan struct{}), cancel: cancel}, ctx
}

// Drain is closed by the first phase.
func (s *Stopper) Drain() <-chan struct{} { return s.drain }

// Stop begins the first phase, and the second after grace.
func (s *Stopper) Stop(grace time.Duration) {
	s.once.Do(func() {
		close(s.drain)
		time.AfterFunc(grace, s.Now)
	})
}

// Now begins the second phase.
func (s *Stopper) Now() {
	s.once.Do(func() { close(s.drain) })
	s.cancel(ErrStopped)
}

// OnSignal makes SIGINT and SIGTERM stop the process. The first signal begins the first
// phase, the second begins the second phase, and the third exits at once. undo ends this.
func (s *Stopper) OnSignal(log *slog.Logger, grace time.Duration) (undo func()) {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case sig := <-signals:
				switch n {
				case 1:
					log.Info("stopping: finishing the work that has begun", "signal", sig.String(), "at_most", grace)
					s.Stop(grace)
				case 2:
					log.Warn("stopping now: giving back the work that has begun", "signal", sig.String())
					s.Now()
				default:
					os.Exit(ExitFailure)
				}
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// Run runs the parts until somebody stops them. If one fails, Run stops the others. At the
// end it closes all parts, the last one first.
func Run(ctx context.Context, s *Stopper, grace time.Duration, parts ...Part) error {
	var wg sync.WaitGroup
	errs := make([]error, len(parts))
	for i, p := range parts {
		wg.Go(func() {
			if err := p.Run(ctx, s.Drain()); err != nil && !errors.Is(context.Cause(ctx), ErrStopped) {
				errs[i] = fmt.Errorf("%s: %w", p.Name, err)
				s.Stop(grace)
			}
		})
	}
	wg.Wait()
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].Close != nil {
			parts[i].Close()
		}
	}
	return errors.Join(errs...)
}

// HealthOptions say how the health of a process can be asked.
type HealthOptions struct {
	// Addr is the address to listen on.
	Addr string
	// Profiles adds net/http/pprof, below /debug/pprof/.
	Profiles bool
	// Drain is closed when the process begins to stop: then it is not ready. It may be nil.
	Drain <-chan struct{}
}

// Health returns a part that serves three addresses for the other parts: /healthz (the
// process lives), /readyz (it has what it needs) and /metrics.
func Health(o HealthOptions, log *slog.Logger, parts ...Part) (Part, error) {
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return Part{}, fmt.Errorf("GAS_HEALTH_LISTEN: listen for health checks on %s: %w", o.Addr, err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(buildInfo(version.Read()), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, p := range parts {
		registry.MustRegister(p.Metrics...)
	}
	registry.MustRegister(readiness(parts))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		answer := map[string]string{}
		status := http.StatusOK
		select {
		case <-o.Drain:
			answer["process"], status = "stopping", http.StatusServiceUnavailable
		default:
		}
		for _, p := range parts {
			answer[p.Name] = "ready"
			for _, note := range p.Notes {
				if err := note(ctx); err != nil {
					answer[p.Name] += "; " + err.Error()
				}
			}
			if err := p.notReady(ctx); err != nil {
				answer[p.Name] = err.Error()
				status = http.StatusServiceUnavailable
			}
		}
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(answer)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if o.Profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	log.Info("health and metrics", "url", "http://"+ln.Addr().String()+"/readyz")
	return serve("health", ln, mux, profileTime), nil
}

// profileTime is the longest time of an answer of the health address. A profile takes 30 s
// unless its reader says otherwise.
const profileTime = 2 * time.Minute

// notReady returns the errors of the part's checks.
func (p Part) notReady(ctx context.Context) error {
	var errs []error
	for _, check := range p.Ready {
		errs = append(errs, check(ctx))
	}
	return errors.Join(errs...)
}

// readiness exports at each scrape what /readyz answers.
type readiness []Part

// scrapeTime bounds the checks of a scrape.
const scrapeTime = 3 * time.Second

var readyDesc = prometheus.NewDesc("gas_ready", "1 while the part is ready: its next piece of work would succeed.", []string{"part"}, nil)

func (r readiness) Describe(ch chan<- *prometheus.Desc) { ch <- readyDesc }

func (r readiness) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	for _, p := range r {
		ready := 1.0
		if p.notReady(ctx) != nil {
			ready = 0
		}
		ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready, p.Name)
	}
}

// buildInfo is a metric that names the running build.
func buildInfo(b version.Build) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gas_build_info", Help: "Always 1: the version, the revision and the version of Go are in the labels.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	}, func() float64 { return 1 })
}

// HTTP returns a part that serves h on ln. It closes the connections of slow clients.
func HTTP(name string, ln net.Listener, h http.Handler) Part {
	return serve(name, ln, h, 30*time.Second)
}

func serve(name string, ln net.Listener, h http.Handler, write time.Duration) Part {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      write,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	return Part{Name: name, Run: func(ctx context.Context, drain <-chan struct{}) error { return Serve(ctx, drain, server, ln) }}
}

// Serve runs server on ln until drain is closed. Then it lets the calls in flight finish,
// until ctx ends.
func Serve(ctx context.Context, drain <-chan struct{}, server *http.Server, ln net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-drain:
		err := server.Shutdown(ctx)
		if err != nil {
			server.Close()
		}
		<-failed
		return nil
	case <-ctx.Done():
		server.Close()
		<-failed
		return nil
	}
}

// Misconfigured is an error of the configuration that shows only when a service starts: a
// file that is not there, for example. It does not help to start the service again.
type Misconfigured struct{ Err error }

// Error implements error.
func (m Misconfigured) Error() string { return m.Err.Error() }

// Unwrap returns the cause.
func (m Misconfigured) Unwrap() error { return m.Err }

// codeOf returns the exit code for an error.
func codeOf(err error) int {
	if _, ours := errors.AsType[Misconfigured](err); ours {
		return ExitUsage
	}
	return ExitFailure
}

// Main does everything that a service's main does. It runs the parts that build makes, and a
// part for health, until a signal, and returns the exit code. The health is there until all
// other parts have ended. configErr is the error of reading the configuration.
func Main(name string, log *slog.Logger, grace time.Duration, health HealthOptions, configErr error, build func(context.Context, *slog.Logger) ([]Part, error)) int {
	log = log.With("service", name)
	if configErr != nil {
		log.Error("the configuration is not usable", "err", configErr)
		return ExitUsage
	}
	stopper, ctx := NewStopper(context.Background())
	defer stopper.OnSignal(log, grace)()
	parts, err := build(ctx, log)
	if err != nil {
		log.Error("not started", "err", err)
		return codeOf(err)
	}
	health.Drain = stopper.Drain()
	healthPart, err := Health(health, log, parts...)
	if err != nil {
		log.Error("not started", "err", err)
		return ExitFailure
	}
	undo := beside(healthPart, log)
	defer undo()
	log.Info("started", "version", version.Read().String())
	if err := Run(ctx, stopper, grace, parts...); err != nil {
		log.Error("stopped", "err", err)
		return codeOf(err)
	}
	log.Info("stopped")
	return ExitOK
}

// beside runs a part until stop is called, which waits for its end.
func beside(p Part, log *slog.Logger) (stop func()) {
	drain, done := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		if err := p.Run(ctx, drain); err != nil {
			log.Error("ended before the others", "part", p.Name, "err", err)
		}
	}()
	return func() {
		close(drain)
		late := time.AfterFunc(time.Second, cancel) // an answer under way may finish
		<-done
		late.Stop()
		cancel()
	}
}
