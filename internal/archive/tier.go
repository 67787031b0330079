package archive

import (
	"fmt"
	"slices"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Tier is the speed and price of a retrieval.
type Tier events.Tier

// Glacier's tiers.
const (
	Expedited = Tier(events.TierExpedited)
	Standard  = Tier(events.TierStandard)
	Bulk      = Tier(events.TierBulk)
)

// tiers are all tiers, fastest first, with how long a retrieval takes, as AWS documents it.
var tiers = []struct {
	tier     Tier
	from, to time.Duration
}{
	{Expedited, time.Minute, 5 * time.Minute},
	{Standard, 3 * time.Hour, 5 * time.Hour},
	{Bulk, 5 * time.Hour, 12 * time.Hour},
}

// AllTiers returns all tiers, fastest first.
func AllTiers() Tiers {
	all := make(Tiers, len(tiers))
	for i, t := range tiers {
		all[i] = t.tier
	}
	return all
}

// Typically returns how long a retrieval of this tier takes, from and to, as
// AWS documents it. It is no promise. An unknown tier is an error.
func (t Tier) Typically() (from, to time.Duration, err error) {
	for _, known := range tiers {
		if known.tier == t {
			return known.from, known.to, nil
		}
	}
	return 0, 0, fmt.Errorf("%q is no tier: want one of %v", t, AllTiers())
}

// Told returns the tier as events tell it; empty if it is none of these. Other programs
// write the catalog too, and Glacier may have a new tier.
func (t Tier) Told() events.Tier {
	if told := events.Tier(t); told.Known() {
		return told
	}
	return ""
}

// Tiers is the order in which tiers are tried, fastest first.
type Tiers []Tier

// DefaultTiers is the order of the service if no other is set.
func DefaultTiers() Tiers { return Tiers{Expedited, Standard} }

// Check returns an error if t is empty, has a tier twice, or names none.
func (t Tiers) Check() error {
	if len(t) == 0 {
		return fmt.Errorf("no tier")
	}
	for i, tier := range t {
		if _, _, err := tier.Typically(); err != nil {
			return err
		}
		if slices.Contains(t[:i], tier) {
			return fmt.Errorf("%s stands twice", tier)
		}
	}
	return nil
}

// After returns the tier to try when from had no capacity. ok is false if from
// was the last.
func (t Tiers) After(from Tier) (next Tier, ok bool) {
	i := slices.Index(t, from)
	if i < 0 || i+1 >= len(t) {
		return "", false
	}
	return t[i+1], true
}
