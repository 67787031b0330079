package web

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/pkg/events"
)

// paused is the state of a file that the pipeline would request if operators had not stopped
// that.
const paused archive.State = "paused"

// owner is a user, with the reason why the pipeline requests none of the user's files.
type owner struct {
	archive.Account
	halt halt
	// givenUp reports whether the pipeline gave up a job, as far as the site can tell; nil if
	// it cannot.
	givenUp func(archive.Job) bool
}

// halt is such a reason. It is zero if the pipeline requests files.
type halt struct {
	// state is the state of each file that waits.
	state archive.State
	// sentence tells the reason to the user.
	sentence string
}

// approval is the sentence about a plan that is held. The operator's reason is about money,
// and not for the user.
const approval = "Your files wait for approval by our team."

// told returns the sentence about the halt, with the number of files that wait if over has it.
// It is empty if nothing waits.
func (h halt) told(over *overview) string {
	switch {
	case h.state == "" || over != nil && over.Waiting == 0 && !over.More:
		return ""
	case h.state == summary.Held && over != nil && over.Waiting == 1:
		return "1 file waits for approval by our team."
	case h.state == summary.Held && over != nil && over.Waiting > 1:
		more := ""
		if over.More {
			more = " and more"
		}
		return humanCount(over.Waiting) + more + " files wait for approval by our team."
	}
	return h.sentence
}

// haltOf returns why the pipeline requests none of the account's files.
func (s *Server) haltOf(ctx context.Context, account archive.Account) halt {
	if account.Plan == nil {
		return halt{}
	}
	if s.deps.Switches != nil {
		// The page can do without this.
		if stops, err := s.deps.Switches.Switches(ctx); err != nil {
			s.lack(ctx, "the site does not know what operators have stopped", err)
		} else if reason, ok := stopOf(stops, account, s.cfg.Tiers); ok {
			return halt{paused, "The service has paused bringing files back: " + strings.TrimSuffix(reason, ".") + "."}
		}
	}
	if account.Plan.State == archive.PlanHeld {
		return halt{summary.Held, approval}
	}
	return halt{}
}

// stopOf returns an operator's reason to stop all work for the account.
func stopOf(stops archive.Switches, account archive.Account, tiers archive.Tiers) (reason string, ok bool) {
	if hold, ok := stops.Of(account.ID); ok {
		return hold.Reason, true
	}
	if len(tiers) > 0 && len(stops.Open(tiers)) == 0 {
		return stops.Tiers[tiers[0]].Reason, true
	}
	return "", false
}

// ownerOf returns the account as the owner of files, for the time of ctx.
func (s *Server) ownerOf(ctx context.Context, account archive.Account, h halt) owner {
	return owner{account, h, s.givenUp(ctx, account)}
}

// givenUp returns a function that reports whether the pipeline gave up a job of the account.
// A page can do without this, so the function does not fail.
func (s *Server) givenUp(ctx context.Context, account archive.Account) func(archive.Job) bool {
	if s.deps.Letters == nil {
		return nil
	}
	letters := func(e events.Event) (events.DeadLetter, bool, error) { return s.deps.Letters.Letter(ctx, e) }
	var once sync.Once
	return func(j archive.Job) bool {
		_, yes, err := summary.GivenUp(j, account, letters)
		if err != nil {
			once.Do(func() {
				s.lack(ctx, "the site does not know which files need an operator", err)
			})
		}
		return yes
	}
}

// since returns the time from which on files that come back belong to the user's last upgrade.
// It is zero if there was none.
func (o owner) since() time.Time {
	switch {
	case o.Role != archive.Premium:
		return time.Time{}
	case o.Plan != nil:
		return o.Plan.OpenedAt
	}
	return o.RoleChangedAt
}

// state returns how far the job is.
func (o owner) state(j archive.Job) archive.State {
	st := j.State(o.Role)
	if st == archive.Archived && (o.Plan != nil || j.Ordered) {
		// An operator can bring back the files of a Free user, too.
		st = archive.Planned
	}
	if (st == archive.Planned || st == archive.Requested) && o.givenUp != nil && o.givenUp(j) {
		return summary.Attention
	}
	if st != archive.Planned || o.halt.state == "" || j.Intent != nil || j.Ordered && o.halt.state == summary.Held {
		return st
	}
	return o.halt.state
}
