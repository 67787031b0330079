package sqs

import "testing"

func FuzzAHandleIsReadAsItWasWritten(f *testing.F) {
	f.Add("", uint64(1), uint64(2), uint32(3))
	f.Add(handle{1, 2, 3}.String(), uint64(0), uint64(0), uint32(0))
	f.Fuzz(func(t *testing.T, text string, queue, seq uint64, count uint32) {
		want := handle{queue, seq, count}
		if got, ok := parseHandle(want.String()); !ok || got != want {
			t.Errorf("got %+v, %t, want %+v", got, ok, want)
		}
		if got, ok := parseHandle(text); ok && got.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, got, got.String())
		}
	})
}
