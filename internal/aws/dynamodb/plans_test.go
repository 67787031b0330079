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
