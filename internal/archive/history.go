package archive

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Failure is a way in which a retrieval fails.
type Failure string

// The failures.
const (
	// GlacierFailed: Glacier says that the retrieval failed.
	GlacierFailed = Failure(events.StateFailed)
	// OutputExpired: the output expired before it was copied, or Glacier no longer knows
	// the retrieval.
	OutputExpired = Failure(events.StateExpired)
)

// Failures returns all failures.
func Failures() []Failure { return []Failure{GlacierFailed, OutputExpired} }

const (
	// MaxRetrievals is the greatest number of requests for one archive.
	MaxRetrievals = 5
	// MaxPerFailure is the greatest number of retrievals of an archive that may fail in
	// the same way.
	MaxPerFailure = 3
	// firstPause is how long an archive is left alone after a failed retrieval. The pause
	// grows tenfold each time.
	firstPause = time.Minute
	// LongestPause bounds the pause.
	LongestPause = 6 * time.Hour
)

// History has the tries to bring one archive back. It is stored with the job and ends
// with the archive: if the file is archived again, a new history begins.
type History struct {
	// Tries counts the requests, also those without an answer of Glacier.
	Tries int
	// Failed counts the failed retrievals, by the way in which they failed.
	Failed map[Failure]int
	// Allowed is the number of additional tries that an operator allowed.
	Allowed int
	// NotBefore is the time until which the archive is left alone.
	NotBefore time.Time
}

// Spent returns why the archive must not be requested again until an operator allows it:
// the cause, which stays the same, and a sentence. Both are empty if it may be requested.
func (h History) Spent() (cause, why string) {
	for _, f := range Failures() {
		if n := h.Failed[f]; n >= MaxPerFailure+h.Allowed {
			return "retrieval " + string(f), fmt.Sprintf("%d retrievals of this archive %s, which is the limit", n, f)
		}
	}
	if h.Tries >= MaxRetrievals+h.Allowed {
		return "retrievals used up", fmt.Sprintf("this archive was requested %d times, which is the limit", h.Tries)
	}
	return "", ""
}

// Pause returns how long an archive is left alone after n retrievals failed in the same
// way, n from 1 on.
func Pause(n int) time.Duration {
	d := firstPause
	for range n - 1 {
		if d *= 10; d >= LongestPause {
			return LongestPause
		}
	}
	return d
}
