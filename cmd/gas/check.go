package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/operator/checkup"
)

type checkCmd struct {
	For     []string      `help:"Check what these services need: bridge, thaw, restore, web. The default is all of them, and also what only an operator can see." placeholder:"SERVICE"`
	Timeout time.Duration `default:"5s" help:"How long to wait for each answer."`
	JSON    bool          `help:"Write JSON."`
	surveyFlags
}

func (c *checkCmd) Run(ctx context.Context, std streams) error {
	if c.Catalog {
		return c.survey(ctx, std, c.JSON)
	}
	var needs []config.Service
	for _, name := range c.For {
		if n := config.Service(name); slices.Contains(checkup.Services(), n) {
			needs = append(needs, n)
		} else {
			return fmt.Errorf("--for: %q is none of bridge, thaw, restore, web", name)
		}
	}
	all := needs
	if len(all) == 0 {
		all = checkup.Services()
	}
	cfg, err := config.Load(all...)
	found := checkup.Run(ctx, checkup.Options{For: needs, Timeout: c.Timeout, Environ: os.Environ(), Config: cfg, ConfigErr: err})
	bad := 0
	for _, f := range found {
		if f.State == checkup.Wrong {
			bad++
		}
	}
	if c.JSON {
		if err := writeJSON(std.out, found); err != nil {
			return err
		}
	} else {
		show(std, found)
	}
	if bad > 0 {
		fmt.Fprintf(std.err, "gas: %d of %d are wrong\n", bad, len(found))
		return errReported
	}
	return nil
}

// show writes the findings for people: the wrong ones last, where people see them.
func show(std streams, found []checkup.Finding) {
	for _, state := range []checkup.State{checkup.OK, checkup.Unproven, checkup.Wrong} {
		for _, f := range found {
			if f.State != state {
				continue
			}
			fmt.Fprintf(std.out, "%-13s %s: %s\n", state, f.What, f.Words)
			if f.Fix != "" {
				fmt.Fprintf(std.out, "%-13s to fix it: %s\n", "", f.Fix)
			}
		}
	}
}
