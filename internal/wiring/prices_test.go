package wiring_test

import (
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wiring"
)

func TestThePriceOfATemporaryCopyGoesByItsDays(t *testing.T) {
	price := func(days int) archive.MicroUSD {
		p, err := wiring.Prices(config.Config{ArchiveDays: days}, "us-east-1")
		if err != nil {
			t.Fatal(err)
		}
		return p.Of(archive.Glacier, archive.Bulk, 1, 28<<30)
	}
	// Bulk is free. A copy of 28 GiB costs 0.023 dollars a day, and lives for up to a day more.
	for days, want := range map[int]archive.MicroUSD{1: 46_000, 29: 690_000} {
		if got := price(days); got != want {
			t.Errorf("%d days cost %s, want %s", days, got, want)
		}
	}
}
