package dynamodb

import (
	"math/big"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// number is an exact decimal: 0.digits × 10^exp, negative if neg. digits has
// neither leading nor trailing zeros; it is empty for zero.
type number struct {
	neg    bool
	digits string
	exp    int
}

const (
	maxDigits = 38
	maxExp    = 126  // below 10^126
	minExp    = -129 // from 10^-130 on
)

// parseNumber reads a number as the wire has it, within DynamoDB's range.
func parseNumber(s string) (number, *world.Error) {
	bad := func() (number, *world.Error) {
		return number{}, invalid("The parameter cannot be converted to a numeric value: %s", clip(s))
	}
	rest := s
	var n number
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		n.neg = rest[0] == '-'
		rest = rest[1:]
	}
	mantissa, exponent := rest, ""
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent = rest[:i], rest[i+1:]
		if exponent == "" {
			return bad()
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole == "" && fraction == "" || !isDigits(whole) || !isDigits(fraction) {
		return bad()
	}
	e := 0
	if exponent != "" {
		sign := 1
		switch exponent[0] {
		case '-':
			sign, exponent = -1, exponent[1:]
		case '+':
			exponent = exponent[1:]
		}
		if exponent == "" || !isDigits(exponent) {
			return bad()
		}
		exponent = strings.TrimLeft(exponent, "0")
		if len(exponent) > 6 {
			exponent = "999999"
		}
		for _, c := range []byte(exponent) {
			e = e*10 + int(c-'0')
		}
		e *= sign
	}
	digits := whole + fraction
	n.exp = len(whole) + e
	trimmed := strings.TrimLeft(digits, "0")
	n.exp -= len(digits) - len(trimmed)
	n.digits = strings.TrimRight(trimmed, "0")
	return n.check()
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (n number) check() (number, *world.Error) {
	switch {
	case n.digits == "":
		return number{}, nil
	case len(n.digits) > maxDigits:
		return number{}, invalid("Attempting to store more than 38 significant digits in a Number")
	case n.exp > maxExp:
		return number{}, invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case n.exp < minExp:
		return number{}, invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return n, nil
}

// mustNumber reads a number that was checked before.
func mustNumber(s string) number {
	n, err := parseNumber(s)
	if err != nil {
		panic("dynamodb: stored number: " + err.Message)
	}
	return n
}

// String returns the canonical form, without an exponent, as DynamoDB answers it.
func (n number) String() string {
	if n.digits == "" {
		return "0"
	}
	var b strings.Builder
	if n.neg {
		b.WriteByte('-')
	}
	switch {
	case n.exp <= 0:
		b.WriteString("0.")
		b.WriteString(strings.Repeat("0", -n.exp))
		b.WriteString(n.digits)
	case n.exp >= len(n.digits):
		b.WriteString(n.digits)
		b.WriteString(strings.Repeat("0", n.exp-len(n.digits)))
	default:
		b.WriteString(n.digits[:n.exp])
		b.WriteByte('.')
		b.WriteString(n.digits[n.exp:])
	}
	return b.String()
}

// cmp returns -1, 0 or 1 as n is below, equal to or above m.
func (n number) cmp(m number) int {
	return strings.Compare(n.sortable(), m.sortable())
}

// sortable returns a string that orders as the numbers do, in which no number's
// string is the beginning of another's. It is ASCII apart from its end.
func (n number) sortable() string {
	if n.digits == "" {
		return "2\x00"
	}
	e := n.exp + 500
	b := make([]byte, 0, len(n.digits)+5)
	if !n.neg {
		b = append(b, '3', byte('0'+e/100), byte('0'+e/10%10), byte('0'+e%10))
		b = append(b, n.digits...)
		return string(append(b, 0))
	}
	e = 999 - e
	b = append(b, '1', byte('0'+e/100), byte('0'+e/10%10), byte('0'+e%10))
	for i := range len(n.digits) {
		b = append(b, '0'+'9'-n.digits[i])
	}
	return string(append(b, '~'))
}

// add returns n+m, or an error if that has no place in a DynamoDB number.
func (n number) add(m number) (number, *world.Error) {
	low := min(n.exp-len(n.digits), m.exp-len(m.digits))
	sum := new(big.Int).Add(n.scaled(low), m.scaled(low))
	text := new(big.Int).Abs(sum).String()
	if sum.Sign() == 0 {
		return number{}, nil
	}
	return number{neg: sum.Sign() < 0, digits: strings.TrimRight(text, "0"), exp: len(text) + low}.check()
}

// scaled returns n × 10^-low, which must be whole.
func (n number) scaled(low int) *big.Int {
	if n.digits == "" {
		return new(big.Int)
	}
	i, _ := new(big.Int).SetString(n.digits+strings.Repeat("0", n.exp-len(n.digits)-low), 10)
	if n.neg {
		i.Neg(i)
	}
	return i
}

func (n number) negate() number {
	if n.digits != "" {
		n.neg = !n.neg
	}
	return n
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
