package events_test

import (
	"testing"

	"github.com/gas-restore/gas/pkg/events"
)

// TestATraceIsAHeaderThatNobodyNeeds: releases that know no traces read the message as it is.
func TestATraceIsAHeaderThatNobodyNeeds(t *testing.T) {
	plain := events.ThawRequested{ID: "t", JobID: "j", UserID: "u", ArchiveID: "a"}
	const step = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	without, err := events.Encode(plain)
	if err != nil {
		t.Fatal(err)
	}
	with, err := events.Encode(events.Traced{Event: plain, TraceParent: step})
	if err != nil {
		t.Fatal(err)
	}
	if got := with.Header[events.HeaderTrace]; len(got) != 1 || got[0] != step {
		t.Errorf("the header is %q, want %q", got, step)
	}
	if _, there := without.Header[events.HeaderTrace]; there || string(with.Data) != string(without.Data) || with.Subject != without.Subject {
		t.Errorf("the message differs in more than the header:\n%+v\n%+v", with, without)
	}
	if got, err := events.Decode[events.ThawRequested](with.Data); err != nil || got != plain {
		t.Errorf("read back: %+v, %v", got, err)
	}
}
