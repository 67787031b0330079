package cost_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/cost"
)

func TestPricesAreThoseOfAmazonsOwnExample(t *testing.T) {
	// 15,000,000 objects of 100 TB together, as
	// https://repost.aws/knowledge-center/s3-manage-data-retrieval reckons.
	p := cost.Public().In("us-east-1")
	const n, size = 15_000_000, 102_400 << 30
	for tier, want := range map[archive.Tier]string{archive.Standard: "$1774.00", archive.Expedited: "$153072.00"} {
		if got := p.Of(archive.Vault, tier, n, size).String(); got != want {
			t.Errorf("%s: got %s, want %s", tier, got, want)
		}
	}
	if got := p.Of(archive.Vault, archive.Bulk, 1_000_000, 0); got != 25*archive.Dollar {
		t.Errorf("a million Bulk requests cost %s, want $25.00", got)
	}
	if got := p.Of(archive.Vault, archive.Bulk, 0, 1); got != 1 {
		t.Errorf("one byte costs %d millionths, want it rounded up to 1", got)
	}
}

func TestAnUnknownTierCostsAsMuchAsTheDearest(t *testing.T) {
	p := cost.Public().In("us-east-1")
	if got, want := p.Of(archive.Vault, "Fast", 3, 1<<30), p.Of(archive.Vault, archive.Expedited, 3, 1<<30); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestARegionWithoutPricesSaysWhoseItGets(t *testing.T) {
	p := cost.Public().In("ap-south-2")
	if p.StandIn != "us-east-1" || p.Of(archive.Vault, archive.Standard, 1000, 0) == 0 {
		t.Errorf("got %+v", p)
	}
	if p := cost.Public().In("us-west-2"); p.StandIn != "" {
		t.Errorf("us-west-2: got the prices of %s", p.StandIn)
	}
}

const own = `{"as_of": "2027-01-01", "regions": {"eu-west-1": {
	"Expedited": {"per_1000_requests": 11, "per_gib": 0.033},
	"Standard": {"per_1000_requests": 0.055, "per_gib": 0.011},
	"Bulk": {"per_1000_requests": 0.0275, "per_gib": 0.00275}}}}`

func TestAPriceListOfOnesOwnIsReadStrictly(t *testing.T) {
	table, err := cost.Read(strings.NewReader(own))
	if err != nil {
		t.Fatal(err)
	}
	if got := table.In("eu-west-1").Of(archive.Vault, archive.Expedited, 1000, 10<<30); got != 11*archive.Dollar+330_000 {
		t.Errorf("got %s", got)
	}
	if got := table.In("eu-west-3").StandIn; got != "eu-west-1" {
		t.Errorf("another region gets the prices of %q", got)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"a word it does not know": {"as_of", "asof", "unknown field"},
		"no date":                 {"2027-01-01", "", "as_of is missing"},
		"a tier too few":          {"Bulk", "Bulks", "tier Bulk"},
		"a negative price":        {"0.033", "-0.033", "tier Expedited"},
		"a price without a point": {"0.055", "55000", "tier Standard"},
		"half a list":             {"}}}}", "", "unexpected EOF"},
		"twice":                   {"}}}}", "}}}} {}", "more than one"},
	} {
		if _, err := cost.Read(strings.NewReader(strings.Replace(own, c.old, c.new, 1))); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
	}
}

// Each retrieval is billed alone and rounded up. A plan with a lower estimate would be
// let through or approved, and then cost more.
func TestAnEstimateIsNeverLessThanItsPartsCost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := cost.Public().In("us-east-1")
		tier := rapid.SampledFrom([]archive.Tier{archive.Expedited, archive.Standard, archive.Bulk}).Draw(t, "tier")
		var e cost.Estimate
		var parts archive.MicroUSD
		n := rapid.IntRange(1, 50).Draw(t, "n")
		for range n {
			size := rapid.Int64Range(-1, 40<<40).Draw(t, "size")
			e.Add(archive.Job{ArchiveSize: size}, 1<<20)
			if size < 0 {
				size = 1 << 20
			}
			parts = parts.Plus(p.Of("", tier, 1, size))
		}
		whole := e.In(p, tier)
		if whole < parts || whole-parts > archive.MicroUSD(n) {
			t.Fatalf("whole %d, parts %d of %d archives", whole, parts, n)
		}
		if most := e.AtMost(p, archive.Tiers{archive.Standard, archive.Expedited, archive.Bulk}); most < whole {
			t.Fatalf("at most %d, in %s %d", most, tier, whole)
		}
	})
}

func TestAnArchiveOfUnknownSizeCountsAsAssumedAndIsNamed(t *testing.T) {
	var e cost.Estimate
	e.Add(archive.Job{ArchiveSize: -1}, 7)
	e.Add(archive.Job{ArchiveSize: 3}, 7)
	if want := (cost.Sum{Archives: 2, Bytes: 10}); e.Sum != want || e.Unsized != 1 || e.ByClass[archive.Vault] != want {
		t.Errorf("got %+v", e)
	}
}

func FuzzPriceList(f *testing.F) {
	f.Add(own)
	f.Fuzz(func(t *testing.T, s string) {
		table, err := cost.Read(strings.NewReader(s))
		if err != nil {
			return
		}
		for region := range table.Regions {
			if p := table.In(region); p.StandIn != "" || p.Of(archive.Vault, archive.Expedited, 1<<40, 1<<62) < 0 {
				t.Errorf("region %s: %+v", region, p)
			}
		}
	})
}

func TestEachClassHasItsPrices(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		class archive.Class
		tier  archive.Tier
		days  int
		want  archive.MicroUSD // of 1,000 retrievals of one GiB together
		early archive.MicroUSD // of one GiB
	}{
		{archive.Vault, archive.Standard, 1, 60_000, 11_572},
		{"", archive.Standard, 1, 60_000, 11_572},
		// The temporary copy costs 0.023 dollars for 28 days: two of them, or eight.
		{archive.Glacier, archive.Expedited, 1, 10_031_643, 11_572},
		{archive.Glacier, archive.Standard, 1, 61_643, 11_572},
		{archive.Glacier, archive.Standard, 7, 66_572, 11_572},
		{archive.Glacier, archive.Bulk, 1, 1_643, 11_572},
		{archive.DeepArchive, archive.Standard, 1, 121_643, 6_365},
		{archive.DeepArchive, archive.Bulk, 1, 29_143, 6_365},
		{archive.DeepArchive, archive.Expedited, 1, 121_643, 6_365}, // the dearest that it has
		{archive.Instant, archive.Standard, 1, 40_000, 12_858},
	} {
		p := cost.Public().In("us-east-1")
		p.CopyDays = c.days
		if got := p.Of(c.class, c.tier, 1000, gib); got != c.want {
			t.Errorf("%s %s for %d days: got %d, want %d", c.class, c.tier, c.days, got, c.want)
		}
		if got := p.EarlyAtMost(c.class, gib); got != c.early {
			t.Errorf("%s deleted early: got %d, want %d", c.class, got, c.early)
		}
	}
}

func TestAPlanOfSeveralClassesCostsTheSumOfEach(t *testing.T) {
	p := cost.Public().In("us-east-1")
	var e cost.Estimate
	for _, class := range []archive.Class{"", archive.Glacier, archive.DeepArchive, archive.Instant} {
		e.Add(archive.Job{ArchiveSize: 1 << 30, Copy: archive.Copy{Class: class}}, 0)
	}
	want := p.Of("", archive.Expedited, 1, 1<<30) + p.Of(archive.Glacier, archive.Expedited, 1, 1<<30) +
		p.Of(archive.DeepArchive, archive.Standard, 1, 1<<30) + p.Of(archive.Instant, archive.Standard, 1, 1<<30)
	if got := e.AtMost(p, archive.DefaultTiers()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if e.Archives != 4 || e.Bytes != 4<<30 || len(e.ByClass) != 4 {
		t.Errorf("got %+v", e)
	}
}

func TestAPriceListMayHaveClassesOfItsOwn(t *testing.T) {
	list := func(classes string) string {
		return strings.TrimSuffix(own, "}") + `, "classes": {"eu-west-1": ` + classes + `}}`
	}
	const deep = `{"DEEP_ARCHIVE": {"per_gib_month": 0.002, "minimum_days": 180, "copy_per_gib_month": 0, "tiers": {"Standard": {"per_1000_requests": 0.5, "per_gib": 0.04}, "Bulk": {"per_1000_requests": 0, "per_gib": 0}}}}`
	table, err := cost.Read(strings.NewReader(list(deep)))
	if err != nil {
		t.Fatal(err)
	}
	p := table.In("eu-west-1")
	if got := p.Of(archive.DeepArchive, archive.Standard, 1000, 0); got != 500_000 {
		t.Errorf("got %s, want the price of the list", got)
	}
	if got := p.Of(archive.Glacier, archive.Standard, 1000, 0); got != 50_000 {
		t.Errorf("got %s, want the built-in price of a class that the list does not have", got)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"an unknown class":       {"DEEP_ARCHIVE", "GLACIERS", "no class of cold storage"},
		"a vault":                {"DEEP_ARCHIVE", "VAULT", "in regions"},
		"a tier too few":         {`"Bulk"`, `"Bulks"`, "tier Bulk"},
		"a tier that it has not": {`"tiers": {`, `"tiers": {"Expedited": {"per_1000_requests": 1, "per_gib": 1}, `, "has 3 tiers"},
		"a negative storage":     {"0.002", "-0.002", "per_gib_month"},
		"years of least time":    {"180", "18000", "minimum_days"},
		"a negative price":       {"0.04", "-0.04", "tier Standard"},
	} {
		if _, err := cost.Read(strings.NewReader(list(strings.Replace(deep, c.old, c.new, 1)))); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
	}
}
