package reconcile

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
)

func TestTheSweepWaitsTwiceAsLongEachTimeUpToADay(t *testing.T) {
	for n, want := range []time.Duration{
		15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour, 24 * time.Hour,
	} {
		if got := pauseAfter(n); got != want {
			t.Errorf("after %d times: got %s, want %s", n, got, want)
		}
	}
	if got := pauseAfter(1 << 20); got != 24*time.Hour {
		t.Errorf("after very many times: got %s", got)
	}
}

func TestARetrievalIsLateAfterTwiceTheLongestTimeOfItsTier(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		glacier, catalog archive.Tier
		limit            time.Duration
	}{
		{archive.Expedited, archive.Bulk, 10 * time.Minute},
		{archive.Standard, "", 10 * time.Hour},
		{"", archive.Bulk, 24 * time.Hour},
	} {
		for over, want := range map[time.Duration]bool{-1: false, 0: false, 1: true} {
			got, err := late(archive.Retrieval{Tier: c.glacier}, archive.Job{Tier: c.catalog, RetrievalRequestedAt: at}, at.Add(c.limit+over))
			if got != want || err != nil {
				t.Errorf("Glacier says %q, the catalog %q: %s after the request it is late: %v, %v; want %v", c.glacier, c.catalog, c.limit+over, got, err, want)
			}
		}
	}
	// S3 names no tier for a copy that somebody else requested.
	inS3 := archive.Job{RetrievalRequestedAt: at, Copy: archive.Copy{Bucket: "b", Key: "k", Class: archive.DeepArchive}}
	for over, want := range map[time.Duration]bool{0: false, 1: true} {
		if got, err := late(archive.Retrieval{}, inS3, at.Add(96*time.Hour+over)); got != want || err != nil {
			t.Errorf("a copy of an unknown tier, %s after the request: %v, %v; want %v", 96*time.Hour+over, got, err, want)
		}
	}
	if got, err := late(archive.Retrieval{}, archive.Job{RetrievalRequestedAt: at}, at.Add(1000*time.Hour)); got || err == nil {
		t.Errorf("of no known tier: %v, %v", got, err)
	}
}
