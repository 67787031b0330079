package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// listed is the greatest number of movements in a report.
const listed = 20

// stale is the age at which a copy without news no longer counts as moving. A copy
// reports every second, so its worker is probably gone.
const stale = 24 * time.Hour

// movement is the last status change of a restore, which may be newer than the catalog.
type movement struct {
	Job   events.JobID  `json:"job"`
	User  events.UserID `json:"user"`
	State archive.State `json:"state"`
	// Bytes of Size are copied and have matched.
	Bytes int64     `json:"bytes,omitempty"`
	Size  int64     `json:"size,omitempty"`
	At    time.Time `json:"at"`
	// Why says what happened in between.
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

// moves reports whether the list needs a job with this last change.
func moves(e events.StatusChanged, now time.Time) bool {
	switch e.State {
	case archive.Copying, archive.Verifying, archive.Failed, archive.Expired:
		return now.Sub(e.At) < stale
	}
	return false
}

// follow adds the movements of the report's user, or of all users.
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
