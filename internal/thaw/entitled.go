package thaw

import (
	"context"
	"errors"
	"fmt"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/gate"
)

// refused returns the error of a task if the gate says Later or Operator.
func refused(a gate.Answer, job archive.Job) error {
	if a.Action == gate.Operator {
		return fault.Because(fault.Invalid, a.Cause, fmt.Errorf("archive %q is not requested again: %s. After you fix the cause, `gas thaw --job %s --again` allows one more try", job.ArchiveID, a.Why, job.ID))
	}
	return fault.After(fault.Wait, a.After, errors.New(a.Why))
}

// decide asks the gate about the job. It reads the account only if the gate needs the account.
func (r *Requester) decide(ctx context.Context, job archive.Job) (gate.Answer, error) {
	if job.ArchiveID == "" || job.RetrievalID != "" || job.Intent != nil {
		return gate.Decide(gate.Question{Job: job}), nil
	}
	answer, _, err := r.entitled(ctx, job)
	return answer, err
}

// entitled asks the gate about a job that has no retrieval and no intent. The account may
// be a second old.
func (r *Requester) entitled(ctx context.Context, job archive.Job) (gate.Answer, archive.Account, error) {
	var switches archive.Switches
	var err error
	if r.Switches != nil {
		if switches, err = r.Switches.Switches(ctx); err != nil {
			return gate.Answer{}, archive.Account{}, err
		}
	}
	ask := func(account archive.Account, err error) (gate.Answer, archive.Account, error) {
		if fault.Is(err, fault.NotFound) {
			account, err = archive.Account{ID: job.UserID}, nil // an account without a plan
		}
		if err != nil {
			return gate.Answer{}, account, err
		}
		return gate.Entitled(gate.Question{Job: job, Account: account, Switches: switches, Tiers: r.Tiers, Now: r.Now()}), account, nil
	}
	answer, account, err := ask(r.accounts.get(ctx, r.Now, job.UserID, r.Accounts.Account))
	if err == nil && answer.Action == gate.Drop {
		// The plan may have been opened within this second. So the account is read again
		// before the task is dropped.
		return ask(r.Accounts.Account(ctx, job.UserID))
	}
	return answer, account, err
}
