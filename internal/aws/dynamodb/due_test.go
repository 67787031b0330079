package dynamodb_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestDueWorkComesInTheOrderOfItsTimes(t *testing.T) {
	a := testenv.NewAWS(t)
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	const n = 100 // more than there are partitions, so some have several
	var want []events.JobID
	for i := range n {
		job := archive.Job{ID: events.JobID(fmt.Sprint("j", i)), UserID: "u", Status: "COMPLETED", ArchiveID: events.ArchiveID(fmt.Sprint("a", i)), ArchiveSize: 1}
		if err := a.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		// 37 and 100 have no common divisor: the times are all different, and in no order.
		due := at.Add(time.Duration(i*37%n) * time.Second)
		if err := a.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "t", At: at, Due: due}); err != nil {
			t.Fatal(err)
		}
	}
	for second := range n {
		for i := range n {
			if i*37%n == second {
				want = append(want, events.JobID(fmt.Sprint("j", i)))
			}
		}
	}
	list := func(by time.Time, most int) (got []events.JobID) {
		for id, err := range a.Catalog.DueJobs(t.Context(), by) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, id); len(got) == most {
				break
			}
		}
		return got
	}
	if got := list(at.Add(time.Hour), n+1); !slices.Equal(got, want) {
		t.Errorf("all that is due: got %v, want %v", got, want)
	}
	if got := list(at.Add(9*time.Second), n+1); !slices.Equal(got, want[:10]) {
		t.Errorf("due in nine seconds: got %v, want %v", got, want[:10])
	}
	running := goleak.IgnoreCurrent()
	if got := list(at.Add(time.Hour), 3); !slices.Equal(got, want[:3]) {
		t.Errorf("the first three: got %v, want %v", got, want[:3])
	}
	goleak.VerifyNone(t, running)
}

// TestATableIsMadeRecoverable turns point-in-time recovery on: off is how DynamoDB makes a table.
func TestATableIsMadeRecoverable(t *testing.T) {
	c := testenv.NewAWS(t).Catalog
	for _, want := range []bool{false, true} {
		if got, err := c.Recoverable(t.Context(), testenv.Jobs); err != nil || got != want {
			t.Errorf("recoverable: %t, %v, want %t", got, err, want)
		}
		if err := c.MakeRecoverable(t.Context(), testenv.Jobs); err != nil {
			t.Fatal(err)
		}
	}
}
