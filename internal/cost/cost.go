// Package cost calculates by the price list what retrievals from a Glacier vault cost: for a
// plan before it is carried out, and for each retrieval that was requested.
//
// Each tier has two prices, for a request and for a GiB, because Glacier bills retrievals in
// this way. Three other costs are not included: transfer out of AWS, provisioned capacity,
// and the fee for an archive that is deleted before it is 90 days old.
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

// Price is the price of retrievals in one tier, in US dollars. Prices are for a GiB, which
// AWS calls a GB. Parts of a GiB count too.
type Price struct {
	PerThousandRequests float64 `json:"per_1000_requests"`
	PerGiB              float64 `json:"per_gib"`
}

// Table is a price list: the prices of each region's tiers.
type Table struct {
	// AsOf is the date of the prices, 2026-11-24 for example.
	AsOf string `json:"as_of"`
	// Source is the place that the prices come from.
	Source  string                            `json:"source"`
	Regions map[string]map[archive.Tier]Price `json:"regions"`
}

// elsewhere is the region that gives the prices for regions that are not in the table.
const elsewhere = "us-east-1"

// Public returns the list prices on 2026-11-24 for retrievals over the Glacier vault API, in
// the three American regions that have the same prices. Amazon publishes them on
// https://aws.amazon.com/s3/glacier/pricing/, and uses the same prices in its article
// https://repost.aws/knowledge-center/s3-manage-data-retrieval. A deployment with other
// prices has them in a file, see [Read].
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
			if _, _, err := tier.Typically(); err != nil {
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
	return errors.Join(errs...)
}

// In returns the prices of a region. If the table does not have the region, it returns the
// prices of us-east-1, or of the table's first region, and [Prices.StandIn] names that
// region.
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
	// StandIn is the region that the prices come from; empty if they are Region's own.
	StandIn string
	tiers   map[archive.Tier]Price
}

// Of returns the price of n retrievals in the tier, with size bytes together. It rounds up
// to a millionth of a dollar, because an estimate must not be too low. An unknown tier costs
// as much as the dearest one.
func (p Prices) Of(tier archive.Tier, n, size int64) archive.MicroUSD {
	if _, _, err := tier.Typically(); err != nil {
		var most archive.MicroUSD
		for _, known := range archive.AllTiers() {
			most = max(most, p.Of(known, n, size))
		}
		return most
	}
	price := p.tiers[tier]
	// This calculates with rational numbers: a float64 cannot count the bytes of a million
	// archives of 4 GiB exactly.
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

// rat returns the decimal number that was read as f: 1/100 for 0.01, which a float64 only
// comes close to.
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
	// Bytes is the size of all archives. Archives of unknown size count with the assumed
	// size.
	Bytes int64 `json:"bytes"`
	// Unsized is the number of archives of unknown size.
	Unsized int64 `json:"unsized,omitempty"`
}

// Add adds an archive of size bytes. An archive of unknown size (-1) counts with assumed
// bytes.
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

// AtMost returns the price of the plan if all of its archives are retrieved in the dearest
// of these tiers. Which tier it is depends on Glacier's capacity.
func (e Estimate) AtMost(p Prices, order archive.Tiers) archive.MicroUSD {
	var most archive.MicroUSD
	for _, tier := range order {
		most = max(most, e.In(p, tier))
	}
	return most
}
