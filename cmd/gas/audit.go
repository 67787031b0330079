package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/pkg/events"
)

type auditCmd struct {
	Since moment `help:"Only acts since this time: an age like 24h or 7d, or a time like 2026-11-24 or 2026-11-24T10:00:00Z." placeholder:"TIME"`
	Until moment `help:"Only acts until this time." placeholder:"TIME"`
	User  string `help:"Only acts about this user." placeholder:"ID"`
	By    string `help:"Only acts of this operator." placeholder:"NAME"`
	Act   string `help:"Only these acts: thaw, approve, faster, pause, resume, replay, drop, import, erase or provision." placeholder:"ACT"`
	JSON  bool   `help:"Write JSON, one object a line."`
}

// Run lists the acts, the oldest first.
func (c *auditCmd) Run(ctx context.Context, std streams) error {
	f := acts.Filter{Since: c.Since.Time, Until: c.Until.Time, User: events.UserID(c.User), By: c.By, Kind: events.Act(strings.ToLower(c.Act))}
	switch {
	case f.Kind != "" && !f.Kind.Known():
		return fmt.Errorf("--act: there is no act %q", c.Act)
	case !f.Until.IsZero() && f.Until.Before(f.Since):
		return errors.New("--until is before --since")
	}
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	b, err := operatorBus(ctx, cfg, "gas-audit")
	if err != nil {
		return err
	}
	defer b.Close()
	all, err := acts.Open(b, operatorUser).Acts(ctx, f)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(std.out)
	if c.JSON {
		enc := jsonLines(out)
		for _, e := range all {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	const row = "%-20s %-20s %-9s %-24s %-8s %s\n"
	if len(all) > 0 {
		fmt.Fprintf(out, row, "AT", "BY", "ACT", "ABOUT", "OUTCOME", "WHAT AND WHY")
	}
	for _, e := range all {
		about := strings.Join(slices.DeleteFunc([]string{string(e.UserID), string(e.JobID)}, func(s string) bool { return s == "" }), " ")
		fmt.Fprintf(out, row, showTime(e.At), oneLine(e.By, 20), oneLine(string(e.Act), 9), oneLine(cmp.Or(about, "-"), 24), cmp.Or(string(e.Outcome), "unknown"), oneLine(whatAndWhy(e), 300))
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "no acts")
	} else {
		fmt.Fprintln(out, count(len(all), "act"))
	}
	return out.Flush()
}

// whatAndWhy returns what was done, the error, and the operator's reason.
func whatAndWhy(e events.OperatorActed) string {
	said := cmp.Or(e.Did, e.Command)
	if e.Error != "" {
		said += ": " + e.Error
	}
	if e.Outcome == "" && e.Error == "" {
		said += ": under way, or nobody knows how it ended"
	}
	if e.Why != "" {
		said += "; why: " + e.Why
	}
	return said
}
