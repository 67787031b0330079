package dynamodb_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestAPlanIsNotOpenedOnAnAccountOnWhichAnotherWasMeanwhile: a writer that read the
// account and the table of plans before a plan was opened and closed would open that plan
// a second time.
func TestAPlanIsNotOpenedOnAnAccountOnWhichAnotherWasMeanwhile(t *testing.T) {
	for _, role := range []archive.Role{archive.Free, archive.Premium} {
		a := testenv.NewAWS(t)
		at := time.Now().UTC().Truncate(time.Millisecond)
		if err := a.Catalog.EnsureAccount(t.Context(), archive.Account{ID: "u", Role: role}); err != nil {
			t.Fatal(err)
		}
		plan := func(id string) archive.Plan {
			return archive.Plan{ID: id, Why: archive.Announcement, State: archive.PlanOpen, OpenedAt: at, Due: at}
		}
		for n, id := range []string{"first", "second", "third"} {
			before, err := a.Catalog.Account(t.Context(), "u")
			if err != nil || before.PlansOpened != n {
				t.Fatalf("%d plans were opened, want %d: %v", before.PlansOpened, n, err)
			}
			if err := a.Catalog.OpenPlan(t.Context(), before, plan(id)); err != nil {
				t.Fatalf("%s plan: %v", id, err)
			}
			if err := a.Catalog.ClosePlan(t.Context(), "u", plan(id), at); err != nil {
				t.Fatal(err)
			}
			if err := a.Catalog.OpenPlan(t.Context(), before, plan("late")); !fault.Is(err, fault.Conflict) {
				t.Errorf("%s, after the %s plan: got %v of who read the account before, want a conflict", role, id, err)
			}
		}
	}
}

func TestASizeThatGlacierDoesNotTellIsNotWritten(t *testing.T) {
	for told, want := range map[int64]int64{0: -1, 1: 1, 4096: 4096} {
		a := testenv.NewAWS(t)
		job := archive.Job{ID: "j", UserID: "u", Status: "COMPLETED", ArchiveID: "a", ArchiveSize: -1}
		intent := archive.Intent{Token: "t", At: time.Now()}
		if err := a.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if err := a.Catalog.SaveIntent(t.Context(), job, intent); err != nil {
			t.Fatal(err)
		}
		if err := a.Catalog.SaveRetrieval(t.Context(), job, intent, archive.Retrieval{ID: "r", Tier: archive.Standard, RequestedAt: time.Now(), Size: told}); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Catalog.Job(t.Context(), "j"); err != nil || got.ArchiveSize != want || got.RetrievalID != "r" {
			t.Errorf("Glacier told %d: the catalog has size %d and retrieval %q, want size %d; %v", told, got.ArchiveSize, got.RetrievalID, want, err)
		}
	}
}
