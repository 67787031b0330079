package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

type subscribeBody struct {
	// Over is the overview of the archive; nil if it could not be read.
	Over *overview
	// Left says that the user is Premium, and that the archive has files that were not
	// requested yet. Waits says that they wait for somebody at the service.
	Left, Waits bool
	// Price is the price of Premium in the operator's words. It may be empty.
	Price string
}

// upgrade makes the user Premium and tells the pipeline. It may be repeated. One write sets
// the role, the plan, and that the announcement is due. If the site crashes before the
// announcement, [Server.heal] makes it, or the user's next request. If the files wait for
// somebody at the service, upgrade announces nothing again: each message of a held plan is
// one more for the operator to read.
func (s *Server) upgrade(ctx context.Context, of owner) (err error) {
	account := of.Account
	was, changed := account.Role, false
	if was != archive.Premium {
		// The catalog keeps milliseconds.
		at := s.cfg.Now().UTC().Truncate(time.Millisecond)
		if changed, err = s.deps.Accounts.SetRole(ctx, account.ID, archive.Premium, at); err != nil {
			return err
		}
		if account, err = s.deps.Accounts.Account(ctx, account.ID); err != nil {
			return err
		}
	}
	if changed {
		s.audit(ctx, "plan changed", "user", account.ID, "from", was, "to", archive.Premium)
	} else if account.AnnounceDue.IsZero() {
		if of.halt.state != "" {
			return nil
		}
		left, err := s.deps.Jobs.HasArchived(ctx, account.ID)
		if err != nil || !left {
			return err
		}
		if account, err = s.planned(ctx, account); err != nil {
			return err
		}
	}
	if err := s.announce(ctx, account); err != nil {
		return &problem{
			status: http.StatusServiceUnavailable, title: "You are Premium",
			sentence: "Your plan has changed. Bringing your files back could not be started right now. We try again automatically in a moment.",
			link:     listPath, linkText: "Go to your annotations",
			err: errors.Join(errors.New("announce the upgrade of "+string(account.ID)), err),
		}
	}
	s.audit(ctx, "upgrade announced", "user", account.ID, "again", !changed)
	return nil
}

// planned returns the Premium user's account with a plan on it. This is the plan that
// stands, in whatever state, or a new one.
func (s *Server) planned(ctx context.Context, account archive.Account) (archive.Account, error) {
	if account.Plan != nil {
		return account, nil
	}
	now := s.cfg.Now().UTC()
	plan := archive.Plan{ID: "again-" + rand.Text(), UpgradedAt: account.RoleChangedAt, Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: now, Due: now}
	if err := s.deps.Accounts.OpenPlan(ctx, account, plan); err != nil && !fault.Is(err, fault.Conflict) {
		return account, err
	}
	return s.deps.Accounts.Account(ctx, account.ID)
}

// announce tells the pipeline which plan stands, and since when the user is Premium. Then
// it removes AnnounceDue, if that is set. If the removal fails, the upgrade is announced
// again, and the pipeline plans the files that are left. An account without a plan has
// nothing to announce.
func (s *Server) announce(ctx context.Context, account archive.Account) error {
	due := account.AnnounceDue
	if account.Plan != nil {
		if err := s.deps.Announcer.AnnounceUpgrade(ctx, events.UpgradeMessage{
			UserID: account.ID, PlanID: account.Plan.ID, UpgradedAt: cmp.Or(account.Plan.UpgradedAt, due),
		}); err != nil {
			return err
		}
	}
	if due.IsZero() {
		return nil
	}
	if err := s.deps.Accounts.Announced(ctx, account.ID, due); err != nil {
		s.log.Warn("an upgrade will be announced twice", "user", account.ID, "err", err.Error())
	}
	return nil
}

const (
	// healAfter is how long an announcement may take before another request makes it.
	healAfter = 10 * time.Second
	// healEvery is the time between two looks at all accounts.
	healEvery = 5 * time.Minute
)

// overdue reports whether the account's announcement is late, so that nobody may be making
// it any more.
func (s *Server) overdue(a archive.Account) bool {
	return a.Role == archive.Premium && !a.AnnounceDue.IsZero() && s.cfg.Now().Sub(a.AnnounceDue) > healAfter
}

// heal announces the upgrades that a crash left unannounced. It does so at the start and
// then every few minutes, until ctx ends.
func (s *Server) heal(ctx context.Context) {
	tick := time.NewTicker(healEvery)
	defer tick.Stop()
	for {
		s.healOnce(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) healOnce(ctx context.Context) {
	for a, err := range s.deps.Accounts.Unannounced(ctx) {
		if err == nil && s.overdue(a) {
			if a, err = s.planned(ctx, a); err == nil {
				err = s.announce(ctx, a)
			}
			if err == nil {
				s.log.Info("upgrade announced", "user", a.ID, "again", true, "due", a.AnnounceDue)
			}
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("an upgrade is not announced yet", "user", a.ID, "err", err.Error())
		}
	}
}

type accountBody struct {
	Price string
	Over  *overview
	// Changed is the plan to which the viewer has just changed; empty if the viewer has not.
	Changed string
	// Devices are the viewer's sessions; nil if they could not be read.
	Devices []device
}

// downgrade makes the user Free, and removes the plan. Files with a retrieval come back all
// the same, because it is paid. Without a plan the pipeline asks for no others.
func (s *Server) downgrade(ctx context.Context, account archive.Account) error {
	changed, err := s.deps.Accounts.SetRole(ctx, account.ID, archive.Free, s.cfg.Now().UTC())
	if err != nil {
		return err
	}
	if changed {
		s.audit(ctx, "plan changed", "user", account.ID, "from", account.Role, "to", archive.Free)
	}
	return nil
}

// subscribeBodyOf returns what the plan page shows.
func (s *Server) subscribeBodyOf(ctx context.Context, of owner) (body subscribeBody, err error) {
	body.Price = s.cfg.PremiumPrice
	if of.Role == archive.Premium {
		if body.Left, err = s.deps.Jobs.HasArchived(ctx, of.ID); err != nil {
			return subscribeBody{}, err
		}
	}
	body.Waits = of.halt.state != ""
	body.Over = s.overviewOf(ctx, of, "the plan page")
	return body, nil
}
