package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// scope says what a pause covers, for both commands.
type scope struct {
	All     bool          `xor:"what" help:"Everything."`
	User    string        `xor:"what" placeholder:"ID" help:"Everything of this user."`
	Tier    string        `xor:"what" placeholder:"TIER" help:"All requests in this tier: Expedited, Standard or Bulk."`
	JSON    bool          `help:"Write JSON."`
	Wait    time.Duration `default:"5s" help:"Return after this time: all thaws obey within five seconds."`
	Timeout time.Duration `default:"1m" help:"How long to try."`
	By      string        `help:"Who acts, for gas audit. Without it, the user of this machine." placeholder:"NAME"`
}

func (s scope) check() error {
	switch {
	case !s.All && s.User == "" && s.Tier == "":
		return errors.New("say what: --all, --user ID or --tier TIER")
	case s.Tier != "":
		return archive.Tiers{archive.Tier(s.Tier)}.Check()
	}
	return nil
}

// name returns in words what the pause covers.
func (s scope) name() string {
	switch {
	case s.All:
		return "everything"
	case s.User != "":
		return "user " + s.User
	}
	return "tier " + s.Tier
}

type pauseCmd struct {
	Reason []string `arg:"" help:"Why. The pages of the site and gas status show the reason."`
	scope
}

func (c *pauseCmd) Run(ctx context.Context, std streams, line commandLine) error {
	if err := c.check(); err != nil {
		return err
	}
	hold := archive.Hold{Reason: strings.Join(c.Reason, " "), At: time.Now().UTC()}
	if len(hold.Reason) > 500 {
		return fmt.Errorf("the reason has %d bytes, 500 at most", len(hold.Reason))
	}
	act := actor{c.By, hold.Reason}.act(line, events.ActPause, events.UserID(c.User), "")
	return c.change(ctx, std, act, "paused", func(s *archive.Switches) {
		switch {
		case c.All:
			s.All = &hold
		case c.User != "":
			if s.Users == nil {
				s.Users = map[events.UserID]archive.Hold{}
			}
			s.Users[events.UserID(c.User)] = hold
		default:
			if s.Tiers == nil {
				s.Tiers = map[archive.Tier]archive.Hold{}
			}
			s.Tiers[archive.Tier(c.Tier)] = hold
		}
	})
}

type resumeCmd struct {
	scope
	Why string `help:"Why, for gas audit." placeholder:"TEXT"`
}

func (c *resumeCmd) Run(ctx context.Context, std streams, line commandLine) error {
	if err := c.check(); err != nil {
		return err
	}
	act := actor{c.By, c.Why}.act(line, events.ActResume, events.UserID(c.User), "")
	return c.change(ctx, std, act, "resumed", func(s *archive.Switches) {
		switch {
		case c.All:
			s.All = nil
		case c.User != "":
			delete(s.Users, events.UserID(c.User))
		default:
			delete(s.Tiers, archive.Tier(c.Tier))
		}
	})
}

func (s scope) change(ctx context.Context, std streams, act acts.Act, did string, change func(*archive.Switches)) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	d, err := deployed(ctx, "gas-pause")
	if err != nil {
		return err
	}
	defer d.close()
	if s.User != "" {
		if _, err := d.account(ctx, events.UserID(s.User)); err != nil {
			return err
		}
	}
	var now archive.Switches
	if err := recorded(ctx, d.bus, act, func(ctx context.Context) (string, error) {
		var err error
		if now, err = d.catalog.ChangeSwitches(ctx, change); err != nil {
			return "", err
		}
		return did + ": " + s.name(), nil
	}); err != nil {
		return err
	}
	if s.Wait > 0 {
		if err := wait.For(ctx, s.Wait); err != nil {
			return err
		}
	}
	if s.JSON {
		return writeJSON(std.out, now)
	}
	fmt.Fprintf(std.out, "%s: %s. Archives that are already requested still come back.\n", did, s.name())
	if did == "resumed" {
		fmt.Fprintln(std.out, "Waiting tasks start again after at most a third of the time of the pause, and after 20 minutes at the latest.")
	}
	return nil
}
