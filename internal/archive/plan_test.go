package archive

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// TestWhoGetsAPlan is the table of role, last change of role, plan that stands, and
// message: who sent it, and when.
func TestWhoGetsAPlan(t *testing.T) {
	change := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	before, after := change.Add(-time.Hour), change.Add(time.Hour)
	plan := &Plan{ID: "p1", State: PlanOpen}
	site := func(plan string, at time.Time) events.UserUpgraded {
		return events.UserUpgraded{ID: "m", UserID: "u", Plan: plan, UpgradedAt: at, Via: events.ViaSNS}
	}
	operator := func(at time.Time) events.UserUpgraded {
		return events.UserUpgraded{ID: "m", UserID: "u", UpgradedAt: at, Via: events.ViaSNS}
	}
	for _, c := range []struct {
		name    string
		account Account
		message events.UserUpgraded
		want    Entitlement
	}{
		{"the site upgrades", Account{Role: Premium, RoleChangedAt: change, Plan: plan}, site("p1", change), Go},
		{"the site's message comes twice, and late", Account{Role: Premium, RoleChangedAt: change}, site("p1", change), Nothing},
		{"the site's message comes after a downgrade", Account{Role: Free, RoleChangedAt: after}, site("p1", change), Nothing},
		{"and the clock of the site that downgraded was behind", Account{Role: Free, RoleChangedAt: before}, site("p1", change), Nothing},
		{"the site's message comes after a downgrade and another upgrade", Account{Role: Premium, RoleChangedAt: after, Plan: &Plan{ID: "p2"}}, site("p1", change), Go},
		{"a held plan's message comes again", Account{Role: Premium, Plan: &Plan{ID: "p1", State: PlanHeld}}, site("p1", change), Go},
		{"an operator publishes for a Premium user with a closed plan", Account{Role: Premium, RoleChangedAt: change}, operator(after), Open},
		{"an operator publishes for a Premium user with an open plan", Account{Role: Premium, RoleChangedAt: change, Plan: plan}, operator(after), Go},
		{"an operator publishes for a Free user who never was Premium", Account{Role: Free}, operator(after), Open},
		{"an operator publishes for a user who left Premium since", Account{Role: Free, RoleChangedAt: change}, operator(after), Open},
		{"an operator's message of before the downgrade", Account{Role: Free, RoleChangedAt: change}, operator(before), Nothing},
		{"an operator's message of the moment of the downgrade", Account{Role: Free, RoleChangedAt: change}, operator(change), Nothing},
		{"another system writes the role and when, and publishes", Account{Role: Premium, RoleChangedAt: change}, operator(after), Open},
		{"another system writes the role alone, and publishes", Account{Role: Premium}, operator(after), Open},
		{"its message comes after it wrote the role back and when", Account{Role: Free, RoleChangedAt: after}, operator(change), Nothing},
	} {
		if got := c.account.Opens(c.message); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAnArchiveIsTriedABoundedNumberOfTimes(t *testing.T) {
	for _, c := range []struct {
		name  string
		h     History
		cause string
	}{
		{"never tried", History{}, ""},
		{"failed twice, expired twice", History{Tries: 4, Failed: map[Failure]int{GlacierFailed: 2, OutputExpired: 2}}, ""},
		{"failed three times", History{Tries: 3, Failed: map[Failure]int{GlacierFailed: 3}}, "retrieval failed"},
		{"expired three times", History{Tries: 3, Failed: map[Failure]int{OutputExpired: 3}}, "retrieval expired"},
		{"asked for five times", History{Tries: 5, Failed: map[Failure]int{GlacierFailed: 2, OutputExpired: 2}}, "retrievals used up"},
		{"failed three times, one more allowed", History{Tries: 3, Failed: map[Failure]int{GlacierFailed: 3}, Allowed: 1}, ""},
		{"failed four times, one more allowed", History{Tries: 4, Failed: map[Failure]int{GlacierFailed: 4}, Allowed: 1}, "retrieval failed"},
		{"asked for five times, one more allowed", History{Tries: 5, Allowed: 1}, ""},
	} {
		cause, why := c.h.Spent()
		if cause != c.cause || (why == "") != (cause == "") {
			t.Errorf("%s: got %q, %q, want %q", c.name, cause, why, c.cause)
		}
	}
	last := time.Duration(0)
	for n := 1; n < 10; n++ {
		if d := Pause(n); d < last || d < time.Minute || d > LongestPause {
			t.Errorf("the pause after %d is %s, after one less %s", n, d, last)
		} else {
			last = d
		}
	}
}

func TestAnAccountKeepsItsLastChanges(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := Account{Role: Premium, RoleChangedAt: at}
	// The account is from before there were histories.
	a.RoleHistory = a.Changed(Free, at.Add(time.Hour))
	if h := a.RoleChanges(); len(h) != 2 || h[0] != (RoleChange{Premium, at}) || h[1] != (RoleChange{Free, at.Add(time.Hour)}) {
		t.Errorf("the history is %v", h)
	}
	for i := range 3 * maxRoleChanges {
		a.RoleHistory = a.Changed(Free, at.Add(time.Duration(i+2)*time.Hour))
	}
	h := a.RoleChanges()
	if n := len(h); n != maxRoleChanges || !h[n-1].At.Equal(at.Add(time.Duration(3*maxRoleChanges+1)*time.Hour)) {
		t.Errorf("the history has %d changes: %v", n, h)
	}
	for text, want := range map[string]int{"": 0, "premium_user": 0, "premium_user x": 0, "premium_user 1 free_user -1": 1, "premium_user 9999999999999999": 0} {
		if got := (Account{RoleHistory: text}).RoleChanges(); len(got) != want {
			t.Errorf("%q has the changes %v, want %d", text, got, want)
		}
	}
}
