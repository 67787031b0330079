package crc64nvme

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTheCheckValueOfTheCatalogueOfCRCs(t *testing.T) {
	if got, want := Update(0, []byte("123456789")), Sum(0xae8b14860a799888); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestTheBase64FormIsReversible(t *testing.T) {
	s := Update(0, []byte("123456789"))
	got, ok := Parse(s.String())
	if !ok || got != s {
		t.Errorf("Parse(%q) = %x, %v; want %x", s.String(), got, ok, s)
	}
	for _, bad := range []string{"", "AAAA", "not base64!", "AAAAAAAAAAAAAAAA"} {
		if _, ok := Parse(bad); ok {
			t.Errorf("Parse(%q) is accepted", bad)
		}
	}
}

func TestCombineIsTheChecksumOfTheConcatenation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "b")
		want := Update(Update(0, a), b)
		if got := Combine(Update(0, a), Update(0, b), int64(len(b))); got != want {
			t.Fatalf("Combine(%d bytes, %d bytes) = %x, want %x", len(a), len(b), got, want)
		}
	})
}
