package restore

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAPartIsDoubledOnlyWhenThereWouldBeTooManyParts(t *testing.T) {
	const span = 8 << 20
	for _, c := range []struct {
		name             string
		size, span, part int64
		most             int
		parts            int
		last             int64 // the length of the last part
	}{
		{"one span", span, span, span, 10_000, 1, span},
		{"a byte more", span + 1, span, span, 10_000, 2, 1},
		{"as many as there may be", 10_000 * span, span, span, 10_000, 10_000, span},
		{"a byte more than that", 10_000*span + 1, span, 2 * span, 10_000, 5_001, 1},
		{"the largest part", 10_000 * 4 << 30, span, 4 << 30, 10_000, 10_000, 4 << 30},
		{"a part of S3's limit", 5 << 30, 5 << 30, 5 << 30, 1, 1, 5 << 30},
		{"a byte more than fits", 10_000*4<<30 + 1, span, 0, 10_000, 0, 0},
		{"a part above S3's limit", 5<<30 + 1<<20, 5<<30 + 1<<20, 0, 1, 0, 0},
	} {
		l, parts, err := cut(c.size, c.span, c.most)
		if c.part == 0 {
			if !fault.Is(err, fault.Invalid) || parts != nil {
				t.Errorf("%s: got %+v, %v, want it to be refused", c.name, l, err)
			}
			continue
		}
		if err != nil || l.part != c.part || l.span != c.span || len(parts) != c.parts || parts[len(parts)-1].length != c.last || parts[0].offset != 0 {
			t.Errorf("%s: got %+v in %d parts, %v", c.name, l, len(parts), err)
		}
	}
}

func TestWhichOutputsWaitForOthers(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	of := func(left time.Duration) events.RetrievalCompleted {
		return events.RetrievalCompleted{Status: events.RetrievalSucceeded, CompletedAt: now.Add(left - 24*time.Hour)}
	}
	failed, undated := of(24*time.Hour), of(24*time.Hour)
	failed.Status, undated.CompletedAt = events.RetrievalFailed, time.Time{}
	for _, c := range []struct {
		name  string
		first time.Duration // what is left of the output before
		e     events.RetrievalCompleted
		after time.Duration
		wait  time.Duration
	}{
		{"after one that is as good as gone", 1, of(13 * time.Hour), 0, 5 * time.Minute},
		{"after one that is gone", 0, of(13 * time.Hour), 0, 0},
		{"after one of just less than six hours", 6*time.Hour - 1, of(13 * time.Hour), 0, 5 * time.Minute},
		{"after one of six hours", 6 * time.Hour, of(13 * time.Hour), 0, 0},
		{"of just more than twelve hours", time.Hour, of(12*time.Hour + 1), 0, 5 * time.Minute},
		{"of twelve hours", time.Hour, of(12 * time.Hour), 0, 0},
		{"at the end of the minute", time.Hour, of(13 * time.Hour), time.Minute - 1, 5 * time.Minute},
		{"after the minute", time.Hour, of(13*time.Hour + time.Minute), time.Minute, 0},
		{"a failed one", time.Hour, failed, 0, 0},
		{"one that does not say when", time.Hour, undated, 0, 0},
	} {
		var x expiringFirst
		if err := x.yield(of(c.first), now); err != nil {
			t.Errorf("%s: the first waits: %v", c.name, err)
		}
		err := x.yield(c.e, now.Add(c.after))
		if c.wait == 0 && err != nil || c.wait > 0 && (!fault.Is(err, fault.Wait) || fault.DelayOf(err) != c.wait) {
			t.Errorf("%s: got %v in %s, want %s", c.name, err, fault.DelayOf(err), c.wait)
		}
	}
	// An urgent output waits for nobody.
	var x expiringFirst
	for range 2 {
		if err := x.yield(of(time.Hour), now); err != nil {
			t.Errorf("the second of two urgent ones: %v", err)
		}
	}
}
