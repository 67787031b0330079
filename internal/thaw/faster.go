package thaw

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
)

// FasterCatalog reads and writes jobs for [Faster]. An error of kind Conflict says that the
// job's retrieval is another one now, or in another tier.
type FasterCatalog interface {
	// SaveFaster writes that the job's retrieval is in the tier since the time, and adds the
	// price to the job's bill.
	SaveFaster(ctx context.Context, job archive.Job, tier archive.Tier, at time.Time, cost archive.MicroUSD) error
	// TakeBackFaster undoes SaveFaster.
	TakeBackFaster(ctx context.Context, job archive.Job, tier archive.Tier, cost archive.MicroUSD) error
}

// FasterStore moves a retrieval to a faster tier.
type FasterStore interface {
	// Faster returns a retrieval with the status Succeeded if the output is there already. The
	// error's kind is NotFound if nothing is on its way, and Conflict if the retrieval is in
	// that tier already.
	Faster(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error)
}

// Move is what became of an order to move a retrieval to a faster tier.
type Move string

// The moves.
const (
	Moved        Move = "moved"
	NotRequested Move = "not requested yet"
	AsFast       Move = "as fast already"
	Fixed        Move = "cannot be moved" // its class has no such tier, or moves nothing
	CopyThere    Move = "is there already"
)

// Faster moves retrievals that are on their way to a faster tier, for an operator. It pays
// for each move, and writes the price before it pays: if it dies in between, the bill is too
// high and never too low. The operator repeats the order, and pays only once.
type Faster struct {
	Catalog     FasterCatalog
	Store       FasterStore
	Budgets     Budgets // nil if there is no limit
	Prices      cost.Prices
	AssumedSize int64 // of an archive without a size, in bytes
	Now         func() time.Time
}

// Preview says what moving the job's retrieval to the tier would do and cost, by the catalog
// alone.
func (f *Faster) Preview(job archive.Job, tier archive.Tier) (Move, archive.MicroUSD) {
	switch {
	case job.RetrievalID == "":
		return NotRequested, 0
	case job.Copy.Class.CanMove(job.Tier, tier):
		size := job.ArchiveSize
		if size < 0 {
			size = f.AssumedSize
		}
		return Moved, f.Prices.Of(job.Copy.Class, tier, 1, size)
	case job.Copy.Class.CanMove("", tier):
		return AsFast, 0
	}
	return Fixed, 0
}

// Move moves the job's retrieval to the tier, and returns what that costs. job is as the
// catalog has it. If nobody knows after an error whether the store took the order, the price stays on
// the bill, and the operator can give the same order again.
func (f *Faster) Move(ctx context.Context, job archive.Job, tier archive.Tier) (Move, archive.MicroUSD, error) {
	move, cost := f.Preview(job, tier)
	if move == AsFast && job.Tier == tier {
		// An earlier order wrote the tier, and perhaps died before it reached the store.
		_, err := f.Store.Faster(ctx, job, tier)
		switch {
		case err == nil, fault.Is(err, fault.Conflict), fault.Is(err, fault.NotFound):
			return AsFast, 0, nil
		}
		return AsFast, 0, err
	}
	if move != Moved {
		return move, 0, nil
	}
	now := f.Now()
	s := archive.Spending{Day: dayOf(now), User: job.UserID, Amount: cost}
	if f.Budgets != nil { // an operator's order counts, and no budget stops it
		if _, err := f.Budgets.Spend(ctx, s); err != nil {
			return "", 0, err
		}
	}
	if err := f.Catalog.SaveFaster(ctx, job, tier, now, cost); err != nil {
		return "", 0, errors.Join(err, f.giveBack(ctx, s))
	}
	r, err := f.Store.Faster(ctx, job, tier)
	switch {
	case err == nil && r.Status != archive.Succeeded:
		return Moved, cost, nil
	case err == nil:
		move = CopyThere
	case fault.Is(err, fault.Conflict):
		move, err = AsFast, nil
	case fault.Is(err, fault.Capacity), fault.Is(err, fault.NotFound), fault.Is(err, fault.Denied), fault.Is(err, fault.Invalid), fault.Is(err, fault.Throttled):
		move = ""
	default:
		return "", cost, fmt.Errorf("nobody knows whether it was moved; the price is on the bill; give the same order again: %w", err)
	}
	undo := f.Catalog.TakeBackFaster(ctx, job, tier, cost)
	if fault.Is(undo, fault.Conflict) {
		undo = nil // the file is back, or the retrieval is over
	}
	return move, 0, errors.Join(err, undo, f.giveBack(ctx, s))
}

func (f *Faster) giveBack(ctx context.Context, s archive.Spending) error {
	if f.Budgets == nil {
		return nil
	}
	return f.Budgets.Return(ctx, s)
}
