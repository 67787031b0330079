package archive

import (
	"fmt"
	"slices"

	"github.com/gas-restore/gas/pkg/events"
)

// Tier is the speed and price of a retrieval.
type Tier events.Tier

// The tiers. [Ability] says which class has which of them.
const (
	Expedited = Tier(events.TierExpedited)
	Standard  = Tier(events.TierStandard)
	Bulk      = Tier(events.TierBulk)
)

// AllTiers returns all tiers, fastest first.
func AllTiers() Tiers { return Tiers{Expedited, Standard, Bulk} }

// Check returns an error if the tier is none of AllTiers.
func (t Tier) Check() error {
	if !slices.Contains(AllTiers(), t) {
		return fmt.Errorf("%q is no tier: want one of %v", t, AllTiers())
	}
	return nil
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
		if err := tier.Check(); err != nil {
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
