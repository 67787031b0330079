package archive

import (
	"math"
	"testing"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

func TestThePauseGrowsTenfoldUpToSixHours(t *testing.T) {
	for n, want := range map[int]time.Duration{
		1: time.Minute, 2: 10 * time.Minute, 3: 100 * time.Minute, 4: 6 * time.Hour, 5: 6 * time.Hour, 1000: 6 * time.Hour,
	} {
		if got := Pause(n); got != want {
			t.Errorf("after %d failures: got %s, want %s", n, got, want)
		}
	}
}

func TestCentsAreRoundedAtTheHalf(t *testing.T) {
	for amount, want := range map[MicroUSD]string{
		1_004_999: "$1.00", 1_005_000: "$1.01", 1_994_999: "$1.99", 1_995_000: "$2.00",
		Dollar: "$1.00", Dollar - 1: "$1.00", math.MaxInt64: "$9223372036854.78",
	} {
		if got := amount.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(amount), got, want)
		}
	}
	if got, err := ParseUSD("1"); err != nil || got != Dollar {
		t.Errorf("one dollar is %d (%v), want %d", got, err, Dollar)
	}
}

func TestASumIsExactUpToTheLargestAmount(t *testing.T) {
	for _, c := range []struct{ m, n, want MicroUSD }{
		{1, 2, 3}, {math.MaxInt64 - 6, 5, math.MaxInt64 - 1}, {math.MaxInt64 - 5, 5, math.MaxInt64},
		{math.MaxInt64, 1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64, math.MaxInt64},
	} {
		if got := c.m.Plus(c.n); got != c.want {
			t.Errorf("%d and %d: got %d, want %d", c.m, c.n, got, c.want)
		}
	}
}

func TestWhatIsNoAmountIsNothing(t *testing.T) {
	for _, s := range []string{"x", "-1", "1.0000001", "9999999999"} {
		if got, err := ParseUSD(s); err == nil || got != 0 {
			t.Errorf("%q: got %d, %v; want 0 and an error", s, got, err)
		}
	}
}

// The times of two machines are compared for Free users alone.
func TestAPremiumUserGetsAPlanByAnOldMessageToo(t *testing.T) {
	change := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	old := events.UserUpgraded{ID: "m", UserID: "u", UpgradedAt: change.Add(-time.Hour), Via: events.ViaSNS}
	for role, want := range map[Role]Entitlement{Premium: Open, Free: Nothing} {
		if got := (Account{Role: role, RoleChangedAt: change}).Opens(old); got != want {
			t.Errorf("%s: got %s, want %s", role, got, want)
		}
	}
}
