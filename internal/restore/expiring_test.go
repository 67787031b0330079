package restore_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestOutputsThatEndSoonGoBeforeThoseWithAmpleTime(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	now := time.Now()
	b.Now = func() time.Time { return now }
	var left []time.Duration
	b.OnOutput = func(d time.Duration) { left = append(left, d) }
	body := random(1000)
	withLeft := func(id events.JobID, d time.Duration) events.RetrievalCompleted {
		e := b.retrieved(id, body)
		e.CompletedAt = now.Add(d - 24*time.Hour)
		return e
	}
	var out testenv.Emitted
	restored := func(what string, e events.RetrievalCompleted) {
		t.Helper()
		if err := b.Restore(t.Context(), e, out.Emit); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	restored("fresh, nothing is urgent", withLeft("a", 23*time.Hour))
	restored("urgent", withLeft("b", 5*time.Hour))
	fresh := withLeft("c", 23*time.Hour)
	b.ResetCounts()
	err := b.Restore(t.Context(), fresh, out.Emit)
	if !fault.Is(err, fault.Wait) || fault.DelayOf(err) < 5*time.Minute {
		t.Errorf("fresh, after an urgent one: got %v of kind %s, in %s; want it to wait", err, fault.KindOf(err), fault.DelayOf(err))
	}
	if c := b.Counts(); len(c) != 0 {
		t.Errorf("a notification that waits makes calls: %v", c)
	}
	restored("neither fresh nor urgent", withLeft("d", 10*time.Hour))
	failed := withLeft("e", 23*time.Hour)
	failed.Status = "Failed" // a failure waits for no other output, and Glacier is asked
	if err := b.Restore(t.Context(), failed, out.Emit); !fault.Is(err, fault.Wait) || fault.DelayOf(err) != 0 {
		t.Errorf("failed: got %v", err)
	}
	failed.Status = "Succeeded"
	now = now.Add(61 * time.Second)
	restored("fresh, a minute after the last urgent one", fresh)
	restored("what was in between", failed)
	b.restored("c", body)
	if len(left) != 5 || left[1] != 5*time.Hour {
		t.Errorf("told of outputs with %v left", left)
	}
}

func TestAnOutputThatIsGoneMakesNoOthersWait(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	body := random(1000)
	gone, fresh := b.retrieved("gone", body), b.retrieved("fresh", body)
	gone.CompletedAt = time.Now().Add(-25 * time.Hour)
	var out testenv.Emitted
	b.deliver(gone, &out)
	b.deliver(fresh, &out)
	b.restored("fresh", body)
}
