package summary_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
)

func TestJobsAreCountedByState(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	c := summary.New(now)
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

func TestWhatAPlanBringsBackIsPlannedWhateverItsUserPaysFor(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	open, held := &archive.Plan{State: archive.PlanOpen}, &archive.Plan{State: archive.PlanHeld}
	for _, c := range []struct {
		name string
		role archive.Role
		plan *archive.Plan
		job  archive.Job
		want archive.State
	}{
		{"Free", archive.Free, nil, archive.Job{}, archive.Archived},
		{"Free, and announced", archive.Free, nil, archive.Job{}, summary.Queued},
		{"Free, and an announcement opened a plan", archive.Free, open, archive.Job{}, archive.Planned},
		{"Free, with a plan that is held", archive.Free, held, archive.Job{}, summary.Held},
		{"Free, and an operator wants this one", archive.Free, nil, archive.Job{Ordered: true}, archive.Planned},
		{"Premium", archive.Premium, open, archive.Job{}, archive.Planned},
		{"Premium, the plan not opened yet", archive.Premium, nil, archive.Job{}, archive.Planned},
		{"Premium, held", archive.Premium, held, archive.Job{}, summary.Held},
		{"held, but this one is being asked for", archive.Premium, held, archive.Job{Intent: &archive.Intent{}}, archive.Planned},
		{"held, but an operator wants this one", archive.Premium, held, archive.Job{Ordered: true}, archive.Planned},
		{"held, but this one was requested", archive.Premium, held, archive.Job{RetrievalID: "r"}, archive.Requested},
	} {
		n := summary.New(now)
		c.job.ArchiveID = "a"
		n.AddOf(c.job, archive.Account{Role: c.role, Plan: c.plan}, c.want == summary.Queued || c.want == archive.Requested)
		if rows := n.Rows(); len(rows) != 1 || rows[0].State != c.want || n.Of(c.want) != 1 {
			t.Errorf("%s: got %+v, want %s", c.name, rows, c.want)
		}
	}
}

func TestWhatIsLeftAloneForAWhileIsBackLater(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	c := summary.New(now)
	premium := archive.Account{Role: archive.Premium}
	c.AddOf(archive.Job{ArchiveID: "a", History: archive.History{NotBefore: now.Add(6 * time.Hour)}}, premium, false)
	c.AddOf(archive.Job{ArchiveID: "b"}, premium, false)
	if by, ok := c.ReadyBy(archive.Tiers{archive.Bulk}); !ok || !by.Equal(now.Add(18*time.Hour)) {
		t.Errorf("back by %s, %v, want 18 hours from now", by, ok)
	}
	held := summary.New(now)
	held.AddOf(archive.Job{ArchiveID: "a"}, archive.Account{Role: archive.Premium, Plan: &archive.Plan{State: archive.PlanHeld}}, false)
	if by, ok := held.ReadyBy(archive.Tiers{archive.Bulk}); ok {
		t.Errorf("a held archive is back by %s", by)
	}
}
