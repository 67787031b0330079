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

// Told returns the tier for events; empty if it is none of these. Other programs write
// the catalog too, and Glacier may have a new tier.
func (t Tier) Told() events.Tier {
	if told := events.Tier(t); told.Known() {
		return told
	}
	return ""
}

// Typically returns the shortest and the longest time that a retrieval in this tier takes
// according to AWS. It is no promise.
func (t Tier) Typically() (from, to time.Duration) {
	switch t {
	case Expedited:
		return time.Minute, 5 * time.Minute
	case Bulk:
		return 5 * time.Hour, 12 * time.Hour
	default:
		return 3 * time.Hour, 5 * time.Hour
	}
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
		if tier.Told() == "" {
			return fmt.Errorf("%q is no tier: want Expedited, Standard or Bulk", tier)
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
