package events

import (
	"testing"
	"time"
)

func TestAPositionSaysOfWhichStreamItIs(t *testing.T) {
	made := Incarnation(at)
	for in, want := range map[string]Position{
		"0":                            {},
		"17":                           {Seq: 17},
		made + "-0":                    {Incarnation: made},
		made + "-18446744073709551615": {Incarnation: made, Seq: 1<<64 - 1},
	} {
		got, err := ParsePosition(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("%q: got %+v (%s), %v; want %+v", in, got, got, err, want)
		}
	}
	for _, bad := range []string{"", "-", "x", "-1", "1-", "A-1", "01-1", "+1-1", "!-1", "1--1", "1-2-3", "zzzzzzzzzzzzzz-1", "1-18446744073709551616"} {
		if got, err := ParsePosition(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
	if again := Incarnation(at.Add(time.Nanosecond)); again == made {
		t.Error("two streams have one name")
	}
}

func FuzzAPositionThatParsesIsWrittenAsItCame(f *testing.F) {
	for _, s := range []string{"0", "17", "dc0x1k2l3m4n-17", "-1", "007"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err != nil {
			return
		}
		if again, err := ParsePosition(p.String()); err != nil || again != p {
			t.Fatalf("%q is %+v, and again %+v, %v", s, p, again, err)
		}
	})
}
