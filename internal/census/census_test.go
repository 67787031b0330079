package census_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/census"
)

func TestJobsAreCountedByState(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	c := census.New(now)
	if _, ok := c.ReadyBy(archive.DefaultTiers()); ok {
		t.Error("nothing is on its way, and there is a time when it is back")
	}
	requested := archive.Job{ArchiveID: "a", ArchiveSize: 10, RetrievalID: "r", Tier: archive.Standard, RetrievalRequestedAt: ago(time.Hour), Billed: 5, SubmittedAt: ago(99 * time.Hour)}
	late := requested
	late.Tier, late.RetrievalRequestedAt, late.ArchiveSize = archive.Expedited, ago(2*time.Hour), -1
	c.Add(requested, archive.Premium)
	c.Add(late, archive.Premium)
	c.Add(archive.Job{ArchiveID: "a", ArchiveSize: 3, SubmittedAt: ago(3 * time.Hour)}, archive.Free)
	c.Add(archive.Job{Status: "COMPLETED", Result: archive.Object{Key: "k"}, SubmittedAt: ago(time.Hour), Billed: 2}, archive.Free)
	rows := c.Rows()
	if len(rows) != 3 || rows[0].State != archive.Archived || rows[1].State != archive.Requested || rows[2].State != archive.Available {
		t.Fatalf("got %+v", rows)
	}
	r := rows[1]
	if r.Jobs != 2 || r.Bytes != 10 || r.Unsized != 1 || r.Overdue != 1 || !r.Oldest.Equal(ago(2*time.Hour)) || !r.ReadyBy.Equal(now.Add(4*time.Hour)) ||
		r.ByTier[archive.Standard] != 1 || r.ByTier[archive.Expedited] != 1 {
		t.Errorf("requested: %+v", r)
	}
	if c.Billed != 12 {
		t.Errorf("billed %d, want 12", c.Billed)
	}
	if by, ok := c.ReadyBy(archive.DefaultTiers()); !ok || !by.Equal(now.Add(4*time.Hour)) {
		t.Errorf("all back by %s, %v", by, ok)
	}
	c.Add(archive.Job{ArchiveID: "a", SubmittedAt: ago(time.Hour)}, archive.Premium)
	if by, _ := c.ReadyBy(archive.Tiers{archive.Expedited, archive.Bulk}); !by.Equal(now.Add(12 * time.Hour)) {
		t.Errorf("with one that is only planned, all back by %s, want 12 hours from now", by)
	}
}
