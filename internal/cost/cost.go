// Package cost tells what retrievals from a Glacier vault cost by the price
// list: before a plan is carried out, and of each retrieval that was requested.
//
// It knows two prices for each tier, of a request and of a GiB, as Glacier
// bills retrievals. Transfer out of AWS, provisioned capacity, and the fee for
// an archive that is deleted before it is 90 days old are not in it.
package cost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"

	"github.com/gas-restore/gas/internal/archive"
)

// Price is what a retrieval costs in one tier, in US dollars. The bytes count as
// they are, by the GiB: AWS calls that a GB.
type Price struct {
	PerThousandRequests float64 `json:"per_1000_requests"`
	PerGiB              float64 `json:"per_gib"`
}

// Table is a price list: the prices of each region's tiers.
type Table struct {
	// AsOf says of when the prices are, as 2026-11-24.
	AsOf string `json:"as_of"`
	// Source says where they are from.
	Source  string                            `json:"source"`
	Regions map[string]map[archive.Tier]Price `json:"regions"`
}

// elsewhere is the region that gives the prices for regions that are not in the table.
const elsewhere = "us-east-1"

// Public returns the list prices of the Glacier vault API's retrievals in the
// three American regions that share them, as they were known on 2026-11-24.
// Amazon keeps them on https://aws.amazon.com/s3/glacier/pricing/; its article
// https://repost.aws/knowledge-center/s3-manage-data-retrieval reckons with the
// same. A deployment that pays others overrides them with a file, see [Read].
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
	}
}

// Read reads a price list as JSON, strictly: it names a date and all three tiers
// of each region that it has.
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
			if _, _, err := tier.Typically(); err != nil {
				errs = append(errs, fmt.Errorf("price list: region %s: %w", region, err))
			}
		}
		for _, tier := range archive.AllTiers() {
			p, ok := prices[tier]
			// A thousand dollars is no price of any of them; it is a slip of the point.
			if !ok || p.PerGiB < 0 || p.PerThousandRequests < 0 || p.PerGiB > 1000 || p.PerThousandRequests > 1000 {
				errs = append(errs, fmt.Errorf("price list: region %s, tier %s: want per_1000_requests and per_gib from 0 to 1000", region, tier))
			}
		}
	}
	return errors.Join(errs...)
}

// In returns the prices of a region. Of one that the table does not have, they
// are those of us-east-1, or of the table's first, and [Prices.StandIn] names it.
func (t Table) In(region string) Prices {
	p := Prices{AsOf: t.AsOf, Region: region, tiers: t.Regions[region]}
	if p.tiers != nil {
		return p
	}
	p.StandIn = elsewhere
	if t.Regions[elsewhere] == nil {
		if names := slices.Sorted(maps.Keys(t.Regions)); len(names) > 0 {
			p.StandIn = names[0]
		}
	}
	p.tiers = t.Regions[p.StandIn]
	return p
}

// Prices are the prices of one region. The zero Prices are zero.
type Prices struct {
	AsOf   string
	Region string
	// StandIn is the region that the prices come from; empty if that is Region.
	StandIn string
	tiers   map[archive.Tier]Price
}

// Of returns what n retrievals of together size bytes cost in the tier, rounded
// up to a millionth of a dollar: an estimate that is too low is worth nothing. An unknown
// tier costs as much as the dearest one.
func (p Prices) Of(tier archive.Tier, n, size int64) archive.MicroUSD {
	if _, _, err := tier.Typically(); err != nil {
		var most archive.MicroUSD
		for _, known := range archive.AllTiers() {
			most = max(most, p.Of(known, n, size))
		}
		return most
	}
	price := p.tiers[tier]
	// In rationals: a million archives of 4 GiB are more bytes than a float64
	// counts exactly.
	sum := new(big.Rat).Mul(rat(price.PerThousandRequests), big.NewRat(n, 1000))
	sum.Add(sum, new(big.Rat).Mul(rat(price.PerGiB), big.NewRat(size, 1<<30)))
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

// rat returns the decimal number that f was written as.
func rat(f float64) *big.Rat {
	r, ok := new(big.Rat).SetString(fmt.Sprint(f))
	if !ok {
		return new(big.Rat)
	}
	return r
}

// Estimate adds up what a plan will cost. The zero Estimate is an empty plan.
type Estimate struct {
	Archives int64 `json:"archives"`
	// Bytes are those of all archives, with [Estimate.Unsized] as they were assumed.
	Bytes int64 `json:"bytes"`
	// Unsized is how many archives the catalog has no size of.
	Unsized int64 `json:"unsized,omitempty"`
}

// Add adds an archive of size bytes; one of unknown size (-1) counts as assumed.
func (e *Estimate) Add(size, assumed int64) {
	e.Archives++
	if size < 0 {
		e.Unsized++
		size = assumed
	}
	e.Bytes += size
}

// In returns the highest price of the plan if all of its archives are retrieved in the
// tier. Each retrieval is billed alone, and rounded up to a millionth of a dollar.
func (e Estimate) In(p Prices, tier archive.Tier) archive.MicroUSD {
	return p.Of(tier, e.Archives, e.Bytes).Plus(archive.MicroUSD(max(e.Archives-1, 0)))
}

// AtMost returns the price of the plan if all of its archives are retrieved in the
// dearest of the tiers. Glacier decides which tier it will be.
func (e Estimate) AtMost(p Prices, order archive.Tiers) archive.MicroUSD {
	var most archive.MicroUSD
	for _, tier := range order {
		most = max(most, e.In(p, tier))
	}
	return most
}
