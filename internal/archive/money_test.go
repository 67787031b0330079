package archive

import (
	"math"
	"testing"
)

func TestAnAmountIsReadAndWrittenInDollars(t *testing.T) {
	for in, want := range map[string]MicroUSD{"": 0, "0": 0, "12": 12_000_000, "12.5": 12_500_000, "0.000001": 1, "999999999.999999": 999_999_999_999_999} {
		if got, err := ParseUSD(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"-1", "+1", ".5", "5.", "1.0000001", "1e3", "$5", "1,5", "9999999999", " 1", "1.-5", "NaN"} {
		if got, err := ParseUSD(bad); err == nil {
			t.Errorf("%q is accepted as %d", bad, got)
		}
	}
	for in, want := range map[MicroUSD]string{0: "$0.00", 1: "$0.000001", 10_001: "$0.010001", 99_999: "$0.099999", 100_000: "$0.10", 1_234_567: "$1.23", 1_995_000: "$2.00"} {
		if got := in.String(); got != want {
			t.Errorf("%d: got %s, want %s", in, got, want)
		}
	}
	if got := MicroUSD(math.MaxInt64 - 1).Plus(5); got != math.MaxInt64 {
		t.Errorf("a sum that is too large: got %d", got)
	}
}
