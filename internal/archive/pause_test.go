package archive_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

func TestWorkLooksAgainAfterAQuarterOfThePause(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for age, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Minute, 0: time.Minute, 4 * time.Minute: time.Minute, 5 * time.Minute: 75 * time.Second,
		40 * time.Minute: 10 * time.Minute, time.Hour: 15 * time.Minute, 30 * 24 * time.Hour: 15 * time.Minute,
	} {
		if got := (archive.Hold{At: now.Add(-age)}).LookAgain(now); got != want {
			t.Errorf("a pause of %s: look again after %s, want %s", age, got, want)
		}
	}
}

func TestWhatAPauseCovers(t *testing.T) {
	all, ofUser := archive.Hold{Reason: "all"}, archive.Hold{Reason: "user"}
	users := map[events.UserID]archive.Hold{"u": ofUser}
	expedited := map[archive.Tier]archive.Hold{archive.Expedited: {}}
	for _, c := range []struct {
		name     string
		switches archive.Switches
		u, v     string // the reason of the pause of each user
		open     archive.Tiers
		any      bool
	}{
		{"nothing", archive.Switches{}, "", "", archive.DefaultTiers(), false},
		{"everything", archive.Switches{All: &all}, "all", "all", archive.DefaultTiers(), true},
		{"a user", archive.Switches{Users: users}, "user", "", archive.DefaultTiers(), true},
		{"everything, and a user", archive.Switches{All: &all, Users: users}, "all", "all", archive.DefaultTiers(), true},
		{"a tier", archive.Switches{Tiers: expedited}, "", "", archive.Tiers{archive.Standard}, true},
		{"every tier", archive.Switches{Tiers: map[archive.Tier]archive.Hold{archive.Expedited: {}, archive.Standard: {}}}, "", "", nil, true},
		{"no user any more", archive.Switches{Users: map[events.UserID]archive.Hold{}, Tiers: map[archive.Tier]archive.Hold{}}, "", "", archive.DefaultTiers(), false},
	} {
		for user, want := range map[events.UserID]string{"u": c.u, "v": c.v} {
			if got, ok := c.switches.Of(user); got.Reason != want || ok != (want != "") {
				t.Errorf("%s is paused: user %s has %q, %v, want %q", c.name, user, got.Reason, ok, want)
			}
		}
		if got := c.switches.Open(archive.DefaultTiers()); !slices.Equal(got, c.open) {
			t.Errorf("%s is paused: open are %v, want %v", c.name, got, c.open)
		}
		if got := c.switches.Any(); got != c.any {
			t.Errorf("%s is paused: Any is %v, want %v", c.name, got, c.any)
		}
	}
}
