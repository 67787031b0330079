package archive

import (
	"fmt"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Failure is a way in which a retrieval comes to nothing.
type Failure string

// The failures.
const (
	// GlacierFailed: Glacier says that the retrieval failed.
	GlacierFailed = Failure(events.StateFailed)
	// OutputExpired: the output was gone before it was copied, or Glacier does not
	// know the retrieval any more.
	OutputExpired = Failure(events.StateExpired)
)

// Failures returns all of them.
func Failures() []Failure { return []Failure{GlacierFailed, OutputExpired} }

const (
	// MaxRetrievals is how often an archive is asked for at the most, ever.
	MaxRetrievals = 5
	// MaxPerFailure is how many retrievals of an archive may come to nothing in the
	// same way.
	MaxPerFailure = 3
	// firstPause is how long an archive is left alone after a retrieval came to
	// nothing; the pause grows tenfold each time.
	firstPause = time.Minute
	// LongestPause bounds the pause.
	LongestPause = 6 * time.Hour
)

// History is what was tried to bring one archive back. It is kept with the job, and
// ends with the archive: one that is archived again begins anew.
type History struct {
	// Tries counts the retrievals that were asked for, those included of which it is
	// not known whether Glacier took them.
	Tries int
	// Failed counts how often a retrieval came to nothing, by the way.
	Failed map[Failure]int
	// Allowed is how many more tries an operator allowed.
	Allowed int
	// NotBefore is until when the archive is left alone.
	NotBefore time.Time
}

// Spent returns why the archive must not be asked for again until an operator says
// so: the cause, which stays the same, and a sentence. Both are empty if it may be.
func (h History) Spent() (cause, why string) {
	for _, f := range Failures() {
		if n := h.Failed[f]; n >= MaxPerFailure+h.Allowed {
			return "retrieval " + string(f), fmt.Sprintf("%d retrievals of this archive %s, which is as often as it is tried", n, f)
		}
	}
	if h.Tries >= MaxRetrievals+h.Allowed {
		return "retrievals used up", fmt.Sprintf("this archive was asked for %d times, which is as often as it is", h.Tries)
	}
	return "", ""
}

// Pause returns how long an archive is left alone after a retrieval came to
// nothing in the same way n times, n from 1 on.
func Pause(n int) time.Duration {
	d := firstPause
	for range n - 1 {
		if d *= 10; d >= LongestPause {
			return LongestPause
		}
	}
	return d
}
