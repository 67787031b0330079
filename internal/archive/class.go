package archive

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Class is a class of cold storage. It decides how an archive is retrieved, how long that
// takes, and what it costs.
type Class string

// The classes. The names of S3's are S3's own.
const (
	// Vault is a Glacier vault.
	Vault Class = "VAULT"
	// Glacier is S3 Glacier Flexible Retrieval.
	Glacier Class = "GLACIER"
	// DeepArchive is S3 Glacier Deep Archive.
	DeepArchive Class = "DEEP_ARCHIVE"
	// Instant is S3 Glacier Instant Retrieval: its objects can be read at any time.
	Instant Class = "GLACIER_IR"
)

// Ability says what a class can do. The times are those that AWS documents; they are no
// promise.
type Ability struct {
	Class Class
	// Tiers are the tiers of a retrieval, fastest first.
	Tiers []TierTime
	// OutputLifetime is how long an output can be read at least; zero if it never expires.
	OutputLifetime time.Duration
	// Faster: a retrieval on its way can be moved to a faster tier.
	Faster bool
	// Listed: the store lists its retrievals with their ids. If it does not, only a look at
	// the archive shows whether there is a retrieval.
	Listed bool
}

// TierTime says how long a retrieval in a tier takes, from and to.
type TierTime struct {
	Tier     Tier
	From, To time.Duration
}

// abilities is the one table of the abilities of all classes.
var abilities = []Ability{
	{
		Class: Vault, OutputLifetime: 24 * time.Hour, Listed: true,
		Tiers: []TierTime{{Expedited, time.Minute, 5 * time.Minute}, {Standard, 3 * time.Hour, 5 * time.Hour}, {Bulk, 5 * time.Hour, 12 * time.Hour}},
	},
	{
		// A temporary copy lives for the days of its request, and then until the next midnight
		// of UTC. A request has one day at least.
		Class: Glacier, OutputLifetime: 24 * time.Hour, Faster: true,
		Tiers: []TierTime{{Expedited, time.Minute, 5 * time.Minute}, {Standard, 3 * time.Hour, 5 * time.Hour}, {Bulk, 5 * time.Hour, 12 * time.Hour}},
	},
	{
		Class: DeepArchive, OutputLifetime: 24 * time.Hour, Faster: true,
		Tiers: []TierTime{{Standard, 9 * time.Hour, 12 * time.Hour}, {Bulk, 12 * time.Hour, 48 * time.Hour}},
	},
	{Class: Instant, Tiers: []TierTime{{Tier: Standard}}},
}

// Ability returns what the class can do. An unknown class is an error.
func (c Class) Ability() (Ability, error) {
	for _, a := range abilities {
		if a.Class == c {
			return a, nil
		}
	}
	return Ability{}, fmt.Errorf("%q is no class of cold storage that can be restored from", string(c))
}

// Typically returns how long a retrieval of the class takes in the tier, from and to. A tier
// that the class does not have is an error.
func (c Class) Typically(t Tier) (from, to time.Duration, err error) {
	a, err := cmp.Or(c, Vault).Ability()
	if err != nil {
		return 0, 0, err
	}
	for _, known := range a.Tiers {
		if known.Tier == t {
			return known.From, known.To, nil
		}
	}
	return 0, 0, fmt.Errorf("%q is no tier of %s", string(t), a.Class)
}

// Longest returns the longest time that a retrieval of the class takes in the tier. If the
// class does not have the tier, it is the longest time of all tiers: a retrieval that is paid
// for counts in any case.
func (c Class) Longest(t Tier) time.Duration {
	if _, to, err := c.Typically(t); err == nil {
		return to
	}
	var longest time.Duration
	a, _ := cmp.Or(c, Vault).Ability() // an unknown class has no tiers
	for _, known := range a.Tiers {
		longest = max(longest, known.To)
	}
	return longest
}

// fastest returns the fastest tier of the class; empty if the class is not known.
func (c Class) fastest() Tier {
	a, err := cmp.Or(c, Vault).Ability()
	if err != nil {
		return ""
	}
	return a.Tiers[0].Tier
}

// OutputLifetime returns how long an output of the class can be read at least; zero if it
// never expires.
func (c Class) OutputLifetime() time.Duration {
	a, _ := cmp.Or(c, Vault).Ability() // an unknown class has no outputs
	return a.OutputLifetime
}

// CanMove reports whether a retrieval of the class that is on its way in the tier from can be
// moved to the tier to. A retrieval of an unknown tier may be slower than any.
func (c Class) CanMove(from, to Tier) bool {
	a, err := cmp.Or(c, Vault).Ability()
	if err != nil || !a.Faster {
		return false
	}
	order := AllTiers()
	_, _, err = c.Typically(to)
	return err == nil && (from == "" || slices.Index(order, to) < slices.Index(order, from))
}

// In returns the tiers of the order that the class has. If it has none of them, In returns
// the fastest tier of the class that is not faster than the order: a plan is not held up by a
// tier that its archives do not know.
func (t Tiers) In(c Class) Tiers {
	a, err := cmp.Or(c, Vault).Ability()
	if err != nil {
		return nil
	}
	var has Tiers
	for _, tier := range t {
		if _, _, err := c.Typically(tier); err == nil {
			has = append(has, tier)
		}
	}
	if len(has) == 0 && len(t) > 0 {
		has = Tiers{a.Tiers[0].Tier}
	}
	return has
}
