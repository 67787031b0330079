package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// listed is how many movements a report has at the most.
const listed = 20

// stale is after how long without news a copy is not said to move: one tells of
// itself every second, and its worker may be gone.
const stale = 24 * time.Hour

// movement is how far a restore is beyond what the catalog knows: its last status
// change.
type movement struct {
	Job   events.JobID  `json:"job"`
	User  events.UserID `json:"user"`
	State archive.State `json:"state"`
	// Bytes of Size are copied and match.
	Bytes int64     `json:"bytes,omitempty"`
	Size  int64     `json:"size,omitempty"`
	At    time.Time `json:"at"`
	// Why says what came in between.
	Why string `json:"why,omitempty"`
}

func (m movement) progress() string {
	switch {
	case m.State == archive.Copying && m.Size > 0:
		return fmt.Sprintf("%s of %s, %d %%", showBytes(m.Bytes), showBytes(m.Size), 100*m.Bytes/m.Size)
	case m.State == archive.Verifying:
		return showBytes(m.Size)
	}
	return "-"
}

// moves tells whether a job whose last change is e is one of those to list.
func moves(e events.StatusChanged, now time.Time) bool {
	switch e.State {
	case archive.Copying, archive.Verifying, archive.Failed, archive.Expired:
		return now.Sub(e.At) < stale
	}
	return false
}

// follow fills in what moves, of the report's user or of all.
func (r *statusReport) follow(ctx context.Context, d *deployment) error {
	for e, err := range d.bus.LatestStatuses(ctx, r.User) {
		if err != nil {
			return err
		}
		if moves(e, r.At) {
			r.Moving = append(r.Moving, movement{e.JobID, e.UserID, e.State, min(e.Bytes, e.Size), e.Size, e.At, e.Detail})
		}
	}
	slices.SortFunc(r.Moving, func(a, b movement) int { return b.At.Compare(a.At) })
	if n := len(r.Moving); n > listed {
		r.Moving, r.More = r.Moving[:listed:listed], n-listed
	}
	return nil
}
