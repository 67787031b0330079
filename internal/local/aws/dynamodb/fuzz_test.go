package dynamodb

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
)

func FuzzExpressionsNeverPanic(f *testing.F) {
	for _, s := range []string{"a = :v", "NOT (a.b[0] BETWEEN :v AND :w)", "SET a = if_not_exists(b, :v) + :w REMOVE c[1] ADD d :w DELETE e :x", "a, b.c[2], #n", "size(a) IN (:v, b)", "((("} {
		f.Add(s)
	}
	values := json.RawMessage(`{":v":{"S":"x"},":w":{"N":"1"},":x":{"SS":["a"]}}`)
	it, err := parseItem(json.RawMessage(`{"a":{"M":{"b":{"L":[{"N":"1"}]}}},"d":{"N":"2"},"e":{"SS":["a"]},"c":{"L":[{"S":""}]}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sc, err := newScope(map[string]string{"#n": "name"}, values, true, true)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parseCondition(sc, "FilterExpression", s); err == nil {
			c.holds(it)
			schema{hash: keyAttr{"a", "S"}, sort: keyAttr{"b", "N"}}.querySpan(c)
		}
		before := string(it.appendJSON(nil))
		if u, err := parseUpdate(sc, s); err == nil {
			if out, err := u.apply(it); err == nil {
				project(out, u.paths)
			}
		}
		if after := string(it.appendJSON(nil)); after != before {
			t.Fatalf("%q changed the old item: %s", s, after)
		}
		if p, err := parseProjection(sc, s); err == nil {
			project(it, p)
		}
	})
}

func FuzzAttributeValuesSurviveARoundTrip(f *testing.F) {
	f.Add(`{"a":{"S":"x\u0000\"\\"},"b":{"N":"-1.50e3"},"c":{"B":"AP8="},"d":{"L":[{"M":{"x":{"NULL":true}}}]},"e":{"NS":["1"]},"f":{"BOOL":false}}`)
	f.Add(`{"a":{}}`)
	f.Fuzz(func(t *testing.T, s string) {
		if !json.Valid([]byte(s)) {
			parseItem(json.RawMessage(s))
			return
		}
		it, err := parseItem(json.RawMessage(s))
		if err != nil {
			return
		}
		text := it.appendJSON(nil)
		if !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		back, err := parseItem(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(it)+len(back) > 0 && !reflect.DeepEqual(it, back) {
			t.Fatalf("got %s, want %s", back.appendJSON(nil), text)
		}
	})
}

func FuzzNumbersKeepTheirValueAndOrder(f *testing.F) {
	f.Add("1", "-1")
	f.Add("1e-5", "0.00001")
	f.Add("99999999999999999999999999999999999999", "1e37")
	f.Add("-0", "+.5")
	f.Fuzz(func(t *testing.T, a, b string) {
		m, err := parseNumber(a)
		if err != nil || strings.ContainsAny(a, "_xXpP") {
			return
		}
		x, ok := new(big.Rat).SetString(a)
		y, ok2 := new(big.Rat).SetString(m.String())
		if !ok || !ok2 || x.Cmp(y) != 0 {
			t.Fatalf("%q became %s", a, m)
		}
		n, err := parseNumber(b)
		if err != nil {
			return
		}
		z, _ := new(big.Rat).SetString(b)
		if m.cmp(n) != x.Cmp(z) {
			t.Fatalf("%s cmp %s = %d, want %d", m, n, m.cmp(n), x.Cmp(z))
		}
		if sum, err := m.add(n); err == nil {
			got, _ := new(big.Rat).SetString(sum.String())
			if want := new(big.Rat).Add(x, z); got.Cmp(want) != 0 {
				t.Fatalf("%s + %s = %s, want %s", m, n, sum, want)
			}
		}
	})
}
