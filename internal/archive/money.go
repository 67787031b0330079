package archive

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/pkg/events"
)

// MicroUSD is an amount in millionths of a US dollar: a retrieval costs less
// than a cent, and sums of whole numbers are exact. It is never negative.
type MicroUSD int64

// Dollar is one US dollar.
const Dollar MicroUSD = 1_000_000

// String returns the amount in dollars: with cents, or with all six places if
// it is less than a dime.
func (m MicroUSD) String() string {
	if m != 0 && m < Dollar/10 {
		return fmt.Sprintf("$%d.%06d", m/Dollar, m%Dollar)
	}
	cents := m / (Dollar / 100)
	if m%(Dollar/100) >= Dollar/200 {
		cents++
	}
	return fmt.Sprintf("$%d.%02d", cents/100, cents%100)
}

// Plus returns the sum; it stays at the largest amount in place of overflowing.
func (m MicroUSD) Plus(n MicroUSD) MicroUSD {
	if m > math.MaxInt64-n {
		return math.MaxInt64
	}
	return m + n
}

// ParseUSD returns the amount that s says in dollars: digits with at most six
// after a point, "12.50" for example. Empty is zero.
func ParseUSD(s string) (MicroUSD, error) {
	if s == "" {
		return 0, nil
	}
	whole, frac, _ := strings.Cut(s, ".")
	bad := fmt.Errorf("%q is no amount in US dollars: want digits and at most six after a point, such as 12.50", s)
	if whole == "" || len(whole) > 9 || len(frac) > 6 || strings.HasSuffix(s, ".") {
		return 0, bad
	}
	n, err := strconv.ParseUint(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 63)
	if err != nil {
		return 0, bad
	}
	return MicroUSD(n), nil
}

// Spending is what a retrieval may cost, and the limits that it is held to. Zero is
// no limit.
type Spending struct {
	Amount MicroUSD
	// Day is the day of UTC that it counts for, as 2026-11-26.
	Day string
	// User is for whom, Plan by which plan.
	User events.UserID
	Plan string
	// UserLimit and DayLimit are the budgets of one user's day, and of everybody's.
	UserLimit, DayLimit MicroUSD
	// Approved is what an operator lets the plan cost in place of the budgets.
	Approved MicroUSD
}
