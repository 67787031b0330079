package wiring

import (
	"context"
	"log/slog"
	"os"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
)

// Main runs one service as the environment says, until a signal, and returns
// the exit code.
func Main(name config.Need, build func(context.Context, Env) (daemon.Part, error)) int {
	cfg, err := config.Load(name)
	log := daemon.Logger(os.Stderr, cfg.LogFormat, cfg.LogLevel)
	return daemon.Main(string(name), log, cfg.StopGrace, cfg.HealthListen, err,
		func(ctx context.Context, log *slog.Logger) ([]daemon.Part, error) {
			part, err := build(ctx, Env{Config: cfg, Log: log})
			return []daemon.Part{part}, err
		})
}
