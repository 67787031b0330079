package wiring

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
)

// Main runs one service until a signal, and returns the exit code. The environment has the
// settings. With --help, Main only prints them.
func Main(name config.Service, build func(context.Context, Env) (daemon.Part, error)) int {
	if code, done := command(name, os.Args[1:], os.Stdout, os.Stderr); done {
		return code
	}
	cfg, err := config.Load(name)
	log := daemon.Logger(os.Stderr, cfg.LogFormat, cfg.LogLevel)
	warnOfUnknown(os.Environ(), log.Warn)
	return daemon.Main(string(name), log, cfg.StopGrace, daemon.HealthOptions{Addr: cfg.HealthListen, Profiles: cfg.Profiles}, err,
		func(ctx context.Context, log *slog.Logger) ([]daemon.Part, error) {
			stop, err := Traces(ctx, name)
			var part daemon.Part
			if err == nil {
				part, err = build(ctx, Env{Config: cfg, Log: log})
				part.Close = both(part.Close, stop)
			}
			if _, ours := errors.AsType[config.Fault](err); ours {
				err = daemon.Misconfigured{Err: err}
			}
			return []daemon.Part{part}, err
		})
}

// both returns a function that calls both; the first may be nil.
func both(first, second func()) func() {
	return func() {
		if first != nil {
			first()
		}
		second()
	}
}
