package main

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestStatusTellsHowFarCopiesAreAndWhyAFileIsAskedForAgain(t *testing.T) {
	ns := testenv.NATS(t)
	b := testenv.Bus(t, ns, "operator")
	d := &deployment{bus: b}
	now := time.Now().UTC().Truncate(time.Second)
	// Nothing has happened yet.
	none := statusReport{At: now}
	if err := none.follow(t.Context(), d); err != nil || len(none.Moving) != 0 {
		t.Fatalf("got %+v, %v of a stream without messages", none.Moving, err)
	}
	for i, e := range []events.StatusChanged{
		{JobID: "half", UserID: "moss", State: "ready", At: now.Add(-10 * time.Second)},
		{JobID: "half", UserID: "moss", State: "copying", Bytes: 8 << 20, Size: 64 << 20, At: now.Add(-9 * time.Second)},
		{JobID: "half", UserID: "moss", State: "copying", Bytes: 32 << 20, Size: 64 << 20, At: now.Add(-8 * time.Second)},
		{JobID: "late", UserID: "moss", State: "expired", Detail: "the retrieved copy expired before it was restored", At: now.Add(-7 * time.Second)},
		{JobID: "done", UserID: "moss", State: "copying", Bytes: 1, Size: 2, At: now.Add(-6 * time.Second)},
		{JobID: "done", UserID: "moss", State: "restored", Size: 2, At: now.Add(-5 * time.Second)},
		{JobID: "theirs", UserID: "fern", State: "verifying", Size: 9 << 20, At: now.Add(-4 * time.Second)},
		{JobID: "old", UserID: "fern", State: "copying", Bytes: 1, Size: 2, At: now.Add(-25 * time.Hour)},
	} {
		e.Step = fmt.Sprint(i)
		if _, err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[events.UserID]string{
		"":     `(?s)theirs +fern +verifying +9.0 MiB .*late +moss +expired +- .*the retrieved copy expired before it was restored.*half +moss +copying +32.0 MiB of 64.0 MiB, 50 % `,
		"moss": `(?s)late +moss.*half +moss`,
	} {
		r := statusReport{At: now, User: user, Role: archive.Premium}
		if err := r.follow(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := r.print(&out); err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(want).Match(out.Bytes()) || bytes.Contains(out.Bytes(), []byte("done")) || bytes.Contains(out.Bytes(), []byte("old")) ||
			user == "moss" && bytes.Contains(out.Bytes(), []byte("theirs")) {
			t.Errorf("of %q: got\n%s\nwant what matches %s", user, &out, want)
		}
	}
}

func TestStatusListsTheLatestMovementsAndCountsTheOthers(t *testing.T) {
	b := testenv.Bus(t, testenv.NATS(t), "operator")
	now := time.Now().UTC()
	var all []events.Event
	for i := range listed + 7 {
		all = append(all, events.StatusChanged{JobID: events.JobID(fmt.Sprint("j", i)), UserID: "moss", State: "copying", Bytes: 1, Size: 2, At: now.Add(time.Duration(i-100) * time.Second)})
	}
	if _, errs := b.PublishAll(t.Context(), all); len(errs) != len(all) || errs[0] != nil {
		t.Fatal(errs)
	}
	r := statusReport{At: now}
	if err := r.follow(t.Context(), &deployment{bus: b}); err != nil {
		t.Fatal(err)
	}
	if len(r.Moving) != listed || r.More != 7 || r.Moving[0].Job != events.JobID(fmt.Sprint("j", listed+6)) {
		t.Errorf("listed %d, %d others, first %+v", len(r.Moving), r.More, r.Moving[:1])
	}
}
