package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
)

type provisionCmd struct {
	Timeout time.Duration `default:"30s" help:"How long to try."`
}

func (c *provisionCmd) Run(ctx context.Context, std streams) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: "operator", Password: cfg.OperatorPassword.Reveal(), CAFile: cfg.NATSCAFile, Name: "gas-provision"})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := bus.Provision(ctx, b.JS, bus.Settings{Replicas: cfg.Replicas}); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "streams, consumers and buckets are as they should be at %s\n", cfg.NATSURL)
	return nil
}
