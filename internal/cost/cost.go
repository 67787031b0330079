// Package cost calculates by the price list what retrievals from cold storage cost: for a
// plan before it is carried out, and for each retrieval that was requested.
//
// Each tier of a class has two prices, for a request and for a GiB, because AWS bills
// retrievals in this way. A retrieval of an S3 class also has the price of its temporary
// copy. Two other costs are not included: transfer out of AWS, and provisioned capacity.
// [Prices.EarlyAtMost] has the fee for archives that are deleted early.
package cost

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"

	"github.com/gas-restore/gas/internal/archive"
)

// Price is the price of retrievals in one tier, in US dollars. Prices are for a GiB, which
// AWS calls a GB. Parts of a GiB count too.
type Price struct {
	PerThousandRequests float64 `json:"per_1000_requests"`
	PerGiB              float64 `json:"per_gib"`
}

// Storage is the price of a class of cold storage, in US dollars.
type Storage struct {
	// PerGiBMonth is the price of an archive for a GiB and a month. MinimumDays is the least
	// time that AWS bills for: whoever deletes an archive earlier pays the rest.
	PerGiBMonth float64 `json:"per_gib_month"`
	MinimumDays int     `json:"minimum_days"`
	// CopyPerGiBMonth is the price of a temporary copy; zero for a class that makes none.
	CopyPerGiBMonth float64 `json:"copy_per_gib_month,omitempty"`
	// Tiers are the prices of retrievals.
	Tiers map[archive.Tier]Price `json:"tiers"`
}

// Table is a price list: the prices of each region's tiers.
type Table struct {
	// AsOf is the date of the prices, 2026-11-24 for example.
	AsOf string `json:"as_of"`
	// Source is the place that the prices come from.
	Source string `json:"source"`
	// Regions has the prices of retrievals from a vault, Classes those of the S3 classes. A
	// region without an S3 class has the class's prices of us-east-1.
	Regions map[string]map[archive.Tier]Price    `json:"regions"`
	Classes map[string]map[archive.Class]Storage `json:"classes,omitempty"`
}

// elsewhere is the region that gives the prices for regions that are not in the table.
const elsewhere = "us-east-1"

// Public returns the list prices on 2026-11-24 for retrievals over the Glacier vault API and
// for the S3 classes, in the three American regions that have the same prices. Amazon
// publishes them on https://aws.amazon.com/s3/glacier/pricing/, and uses the same prices in
// its article https://repost.aws/knowledge-center/s3-manage-data-retrieval. A deployment with
// other prices has them in a file, see [Read].
func Public() Table {
	usa := map[archive.Tier]Price{
		archive.Expedited: {PerThousandRequests: 10, PerGiB: 0.03},
		archive.Standard:  {PerThousandRequests: 0.05, PerGiB: 0.01},
		archive.Bulk:      {PerThousandRequests: 0.025, PerGiB: 0.0025},
	}
	return Table{
		AsOf:    "2026-11-24",
		Source:  "https://aws.amazon.com/s3/glacier/pricing/",
		Regions: map[string]map[archive.Tier]Price{"us-east-1": usa, "us-east-2": usa, "us-west-2": usa},
		Classes: map[string]map[archive.Class]Storage{"us-east-1": american, "us-east-2": american, "us-west-2": american},
	}
}

// standard is the price of S3 STANDARD, in which a temporary copy lies.
const standard = 0.023

// american are the prices of the S3 classes in those three regions.
var american = map[archive.Class]Storage{
	archive.Glacier: {
		PerGiBMonth: 0.0036, MinimumDays: 90, CopyPerGiBMonth: standard,
		Tiers: map[archive.Tier]Price{
			archive.Expedited: {PerThousandRequests: 10, PerGiB: 0.03},
			archive.Standard:  {PerThousandRequests: 0.05, PerGiB: 0.01},
			archive.Bulk:      {}, // free
		},
	},
	archive.DeepArchive: {
		PerGiBMonth: 0.00099, MinimumDays: 180, CopyPerGiBMonth: standard,
		Tiers: map[archive.Tier]Price{
			archive.Standard: {PerThousandRequests: 0.10, PerGiB: 0.02},
			archive.Bulk:     {PerThousandRequests: 0.025, PerGiB: 0.0025},
		},
	},
	archive.Instant: {
		PerGiBMonth: 0.004, MinimumDays: 90,
		Tiers: map[archive.Tier]Price{archive.Standard: {PerThousandRequests: 0.01, PerGiB: 0.03}},
	},
}

// vaultStorage is the storage of a vault. The price list has no prices for it: AWS bills it
// as the class GLACIER.
const (
	vaultPerGiBMonth = 0.0036
	vaultMinimumDays = 90
)

// Read reads a price list as JSON. The list must have a date, and each of its regions must
// have all three tiers. Unknown fields are an error.
func Read(r io.Reader) (Table, error) {
	var t Table
	dec := json.NewDecoder(io.LimitReader(r, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return Table{}, fmt.Errorf("price list: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Table{}, errors.New("price list: more than one JSON value")
	}
	return t, t.check()
}

func (t Table) check() error {
	var errs []error
	if t.AsOf == "" {
		errs = append(errs, errors.New("price list: as_of is missing"))
	}
	if len(t.Regions) == 0 {
		errs = append(errs, errors.New("price list: regions is empty"))
	}
	for _, region := range slices.Sorted(maps.Keys(t.Regions)) {
		prices := t.Regions[region]
		for tier := range prices {
			if err := tier.Check(); err != nil {
				errs = append(errs, fmt.Errorf("price list: region %s: %w", region, err))
			}
		}
		for _, tier := range archive.AllTiers() {
			p, ok := prices[tier]
			// No price is above a thousand dollars. A higher number has its point in the wrong
			// place.
			if !ok || p.PerGiB < 0 || p.PerThousandRequests < 0 || p.PerGiB > 1000 || p.PerThousandRequests > 1000 {
				errs = append(errs, fmt.Errorf("price list: region %s, tier %s: want per_1000_requests and per_gib from 0 to 1000", region, tier))
			}
		}
	}
	for _, region := range slices.Sorted(maps.Keys(t.Classes)) {
		for _, class := range slices.Sorted(maps.Keys(t.Classes[region])) {
			if err := t.Classes[region][class].check(class); err != nil {
				errs = append(errs, fmt.Errorf("price list: classes, region %s, %s: %w", region, class, err))
			}
		}
	}
	return errors.Join(errs...)
}

// check returns an error if s is no price of the class.
func (s Storage) check(class archive.Class) error {
	a, err := class.Ability()
	switch {
	case err != nil:
		return err
	case class == archive.Vault:
		return errors.New("the prices of vaults are in regions")
	case s.PerGiBMonth < 0 || s.PerGiBMonth > 1000 || s.CopyPerGiBMonth < 0 || s.CopyPerGiBMonth > 1000 || s.MinimumDays < 0 || s.MinimumDays > 3650:
		return errors.New("want per_gib_month and copy_per_gib_month from 0 to 1000, and minimum_days from 0 to 3650")
	}
	for _, known := range a.Tiers {
		p, ok := s.Tiers[known.Tier]
		if !ok || p.PerGiB < 0 || p.PerThousandRequests < 0 || p.PerGiB > 1000 || p.PerThousandRequests > 1000 {
			return fmt.Errorf("tier %s: want per_1000_requests and per_gib from 0 to 1000", known.Tier)
		}
	}
	if len(s.Tiers) > len(a.Tiers) {
		return fmt.Errorf("it has %d tiers, and the class has %d", len(s.Tiers), len(a.Tiers))
	}
	return nil
}

// In returns the prices of a region. If the table does not have the region, it returns the
// prices of us-east-1, or of the table's first region, and [Prices.StandIn] names that
// region.
func (t Table) In(region string) Prices {
	p := Prices{AsOf: t.AsOf, Region: region, CopyDays: 1, classes: maps.Clone(american)}
	tiers := t.Regions[region]
	if tiers == nil {
		p.StandIn = elsewhere
		if t.Regions[elsewhere] == nil {
			if names := slices.Sorted(maps.Keys(t.Regions)); len(names) > 0 {
				p.StandIn = names[0]
			}
		}
		tiers = t.Regions[p.StandIn]
	}
	for class, storage := range t.Classes[cmp.Or(p.StandIn, region)] {
		p.classes[class] = storage
	}
	p.classes[archive.Vault] = Storage{PerGiBMonth: vaultPerGiBMonth, MinimumDays: vaultMinimumDays, Tiers: tiers}
	return p
}

// Prices are the prices of one region. The zero Prices are zero.
type Prices struct {
	AsOf   string
	Region string
	// StandIn is the region that the prices come from; empty if they are Region's own.
	StandIn string
	// CopyDays is the number of days for which a temporary copy is requested. It lives until
	// the next midnight of UTC after that, so a day more is billed at most.
	CopyDays int
	classes  map[archive.Class]Storage
}

// Of returns the price of n retrievals of the class in the tier, with size bytes together. It
// rounds up to a millionth of a dollar, because an estimate must not be too low. A tier that
// the class does not have costs as much as the dearest one that it has.
func (p Prices) Of(class archive.Class, tier archive.Tier, n, size int64) archive.MicroUSD {
	storage := p.classes[cmp.Or(class, archive.Vault)]
	price, ok := storage.Tiers[tier]
	if !ok {
		var most archive.MicroUSD
		for known := range storage.Tiers {
			most = max(most, p.Of(class, known, n, size))
		}
		return most
	}
	// This calculates with rational numbers: a float64 cannot count the bytes of a million
	// archives of 4 GiB exactly.
	sum := new(big.Rat).Mul(rat(price.PerThousandRequests), big.NewRat(n, 1000))
	sum.Add(sum, new(big.Rat).Mul(rat(price.PerGiB), big.NewRat(size, 1<<30)))
	// A month has 28 days here, so that no price is too low.
	perDay := new(big.Rat).Mul(rat(storage.CopyPerGiBMonth), big.NewRat(1, 28))
	sum.Add(sum, perDay.Mul(perDay, new(big.Rat).Mul(big.NewRat(int64(p.CopyDays)+1, 1), big.NewRat(size, 1<<30))))
	return dollars(sum)
}

// EarlyAtMost returns the fee for deleting archives of the class with size bytes together
// before their least time is over. It is the highest fee, for archives of today.
func (p Prices) EarlyAtMost(class archive.Class, size int64) archive.MicroUSD {
	storage := p.classes[cmp.Or(class, archive.Vault)]
	sum := new(big.Rat).Mul(rat(storage.PerGiBMonth), big.NewRat(int64(storage.MinimumDays), 28))
	return dollars(sum.Mul(sum, big.NewRat(size, 1<<30)))
}

// dollars returns an amount in dollars as millionths, rounded up.
func dollars(sum *big.Rat) archive.MicroUSD {
	sum.Mul(sum, big.NewRat(int64(archive.Dollar), 1))
	q, rest := new(big.Int).QuoRem(sum.Num(), sum.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return 1<<63 - 1
	}
	return archive.MicroUSD(q.Int64())
}

// rat returns the decimal number that was read as f: 1/100 for 0.01, which a float64 only
// comes close to.
func rat(f float64) *big.Rat {
	r, ok := new(big.Rat).SetString(fmt.Sprint(f))
	if !ok {
		return new(big.Rat)
	}
	return r
}

// Sum is a number of archives and their size.
type Sum struct {
	Archives int64 `json:"archives"`
	// Bytes is the size of all archives. Archives of unknown size count with the assumed
	// size.
	Bytes int64 `json:"bytes"`
}

// Estimate adds up what a plan will cost. The zero Estimate is an empty plan.
type Estimate struct {
	Sum
	// Unsized is the number of archives of unknown size.
	Unsized int64 `json:"unsized,omitempty"`
	// ByClass has the archives of each class.
	ByClass map[archive.Class]Sum `json:"by_class,omitempty"`
}

// Add adds the job's archive. An archive of unknown size (-1) counts with assumed bytes.
func (e *Estimate) Add(job archive.Job, assumed int64) {
	size := job.ArchiveSize
	if size < 0 {
		e.Unsized++
		size = assumed
	}
	if e.ByClass == nil {
		e.ByClass = map[archive.Class]Sum{}
	}
	class := job.Copy.StorageClass()
	e.ByClass[class] = Sum{e.ByClass[class].Archives + 1, e.ByClass[class].Bytes + size}
	e.Archives++
	e.Bytes += size
}

// In returns the highest price of the plan if all of its archives are retrieved in the
// tier, or, where a class does not have the tier, in the class's next one. Each retrieval is
// billed alone, and rounded up to a millionth of a dollar.
func (e Estimate) In(p Prices, tier archive.Tier) archive.MicroUSD {
	return e.AtMost(p, archive.Tiers{tier})
}

// AtMost returns the price of the plan if all archives of a class are retrieved in the
// dearest of these tiers. Which tier it is depends on AWS's capacity.
func (e Estimate) AtMost(p Prices, order archive.Tiers) archive.MicroUSD {
	var sum archive.MicroUSD
	for class, s := range e.ByClass {
		var most archive.MicroUSD
		for _, tier := range order.In(class) {
			most = max(most, p.Of(class, tier, s.Archives, s.Bytes).Plus(archive.MicroUSD(max(s.Archives-1, 0))))
		}
		sum = sum.Plus(most)
	}
	return sum
}

// EarlyAtMost returns the highest fee for deleting the archives of the plan early.
func (e Estimate) EarlyAtMost(p Prices) archive.MicroUSD {
	var sum archive.MicroUSD
	for class, s := range e.ByClass {
		sum = sum.Plus(p.EarlyAtMost(class, s.Bytes))
	}
	return sum
}
