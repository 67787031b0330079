package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// parseSize returns the number of bytes for digits and KiB, MiB, GiB or nothing.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	digits := strings.TrimSpace(s)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(digits, suffix); ok {
			digits, unit = strings.TrimSpace(rest), n
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("--size: %q is no size: want digits and KiB, MiB, GiB or nothing, such as 64KiB", s)
	}
	return n * unit, nil
}

// showBytes returns n for people.
func showBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
