package dynamodb

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// value is an attribute value.
type value struct {
	typ string // as on the wire: S, N, B, BOOL, NULL, M, L, SS, NS, BS
	// str is the string, the canonical number or the raw bytes.
	str  string
	bool bool
	m    attrs
	list []value  // of L
	set  []string // elements as in str
}

// attrs are named values: an item or a map. A name is in it once.
type attrs []attr

type attr struct {
	name string
	v    value
}

func (a attrs) get(name string) *value {
	for i := range a {
		if a[i].name == name {
			return &a[i].v
		}
	}
	return nil
}

func (a *attrs) put(name string, v value) {
	if old := a.get(name); old != nil {
		*old = v
		return
	}
	*a = append(*a, attr{name, v})
}

func (a *attrs) remove(name string) {
	*a = slices.DeleteFunc(*a, func(x attr) bool { return x.name == name })
}

// typeNames are the words that DynamoDB's messages have for the types.
var typeNames = map[string]string{
	"S": "STRING", "N": "NUMBER", "B": "BINARY", "BOOL": "BOOLEAN", "NULL": "NULL",
	"M": "MAP", "L": "LIST", "SS": "STRING_SET", "NS": "NUMBER_SET", "BS": "BINARY_SET",
}

func (v *value) isSet() bool { return len(v.typ) == 2 && v.typ[1] == 'S' }

// element returns the type of a set's elements.
func (v *value) element() string { return v.typ[:1] }

func stringValue(s string) value { return value{typ: "S", str: s} }

func numberValue(n number) value { return value{typ: "N", str: n.String()} }

// equal tells whether v and w are of one type and the same.
func (v *value) equal(w *value) bool {
	if v.typ != w.typ {
		return false
	}
	switch v.typ {
	case "BOOL":
		return v.bool == w.bool
	case "NULL":
		return true
	case "M":
		if len(v.m) != len(w.m) {
			return false
		}
		for i := range v.m {
			other := w.m.get(v.m[i].name)
			if other == nil || !v.m[i].v.equal(other) {
				return false
			}
		}
		return true
	case "L":
		return slices.EqualFunc(v.list, w.list, func(a, b value) bool { return a.equal(&b) })
	case "SS", "NS", "BS":
		if len(v.set) != len(w.set) {
			return false
		}
		in := make(map[string]bool, len(v.set))
		for _, s := range v.set {
			in[s] = true
		}
		for _, s := range w.set {
			if !in[s] {
				return false
			}
		}
		return true
	default:
		return v.str == w.str
	}
}

// compare orders two values of the same type S, N or B. ok is false for others.
func (v *value) compare(w *value) (c int, ok bool) {
	if v.typ != w.typ {
		return 0, false
	}
	switch v.typ {
	case "S", "B":
		return strings.Compare(v.str, w.str), true
	case "N":
		return mustNumber(v.str).cmp(mustNumber(w.str)), true
	}
	return 0, false
}

// size is the number of bytes that DynamoDB counts for v.
func (v *value) size() int {
	switch v.typ {
	case "S", "B":
		return len(v.str)
	case "N":
		return numberSize(v.str)
	case "M":
		return 3 + v.m.size() + len(v.m)
	case "L":
		n := 3
		for i := range v.list {
			n += v.list[i].size() + 1
		}
		return n
	case "SS", "BS":
		n := 0
		for _, s := range v.set {
			n += len(s)
		}
		return n
	case "NS":
		n := 0
		for _, s := range v.set {
			n += numberSize(s)
		}
		return n
	default:
		return 1
	}
}

func numberSize(s string) int {
	digits := 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			digits++
		}
	}
	n := (min(digits, maxDigits)+1)/2 + 1
	if s[0] == '-' {
		n++
	}
	return n
}

// size is the number of bytes that DynamoDB counts for an item.
func (a attrs) size() int {
	n := 0
	for i := range a {
		n += len(a[i].name) + a[i].v.size()
	}
	return n
}

// appendJSON appends the wire form of an item to b.
func (a attrs) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for i := range a {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, a[i].name)
		b = append(b, ':')
		b = a[i].v.appendJSON(b)
	}
	return append(b, '}')
}

// appendJSON appends the wire form of v to b.
func (v *value) appendJSON(b []byte) []byte {
	b = append(b, '{', '"')
	b = append(b, v.typ...)
	b = append(b, '"', ':')
	switch v.typ {
	case "BOOL":
		b = strconv.AppendBool(b, v.bool)
	case "NULL":
		b = append(b, "true"...)
	case "M":
		b = v.m.appendJSON(b)
	case "L":
		b = append(b, '[')
		for i := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.list[i].appendJSON(b)
		}
		b = append(b, ']')
	case "SS", "NS", "BS":
		b = append(b, '[')
		for i, s := range v.set {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendScalar(b, v.typ[0], s)
		}
		b = append(b, ']')
	default:
		b = appendScalar(b, v.typ[0], v.str)
	}
	return append(b, '}')
}

func appendScalar(b []byte, typ byte, s string) []byte {
	if typ == 'B' {
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, []byte(s))
		return append(b, '"')
	}
	return appendString(b, s)
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plus returns the sum of two numbers.
func (v *value) plus(w *value, minus bool) (value, *world.Error) {
	m := mustNumber(w.str)
	if minus {
		m = m.negate()
	}
	sum, err := mustNumber(v.str).add(m)
	if err != nil {
		return value{}, err
	}
	return numberValue(sum), nil
}

// describe shows v as DynamoDB's messages do.
func (v *value) describe() string {
	switch v.typ {
	case "B":
		return "{B:" + base64.StdEncoding.EncodeToString([]byte(v.str)) + "}"
	case "S", "N":
		return "{" + v.typ + ":" + v.str + "}"
	}
	return string(v.appendJSON(nil))
}
