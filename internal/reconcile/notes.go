package reconcile

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// done is what was done about a job or a user: its note keeps a sweep from doing
// the same again while it may still be on its way, and makes what does not help
// rarer.
type done struct {
	// About is what it was about: a retrieval's id, for example.
	About string    `json:"about"`
	Times int       `json:"times"`
	At    time.Time `json:"at"`
}

const (
	firstPause   = 15 * time.Minute
	longestPause = 24 * time.Hour
)

// next returns when something may be done again.
func (d done) next() time.Time {
	if d.Times == 0 {
		return time.Time{}
	}
	pause := firstPause
	for range d.Times - 1 {
		if pause *= 2; pause >= longestPause {
			pause = longestPause
			break
		}
	}
	return d.At.Add(pause)
}

func noteKey(key string) string { return "sweep." + key }

// recall returns what was done; nothing if it was about something else.
func (s *Sweeper) recall(ctx context.Context, key, about string) (done, error) {
	note, _, err := s.Notes.Get(ctx, noteKey(key))
	if fault.Is(err, fault.NotFound) {
		return done{About: about}, nil
	}
	if err != nil {
		return done{}, err
	}
	var d done
	if err := json.Unmarshal(note, &d); err != nil || d.About != about {
		return done{About: about}, nil
	}
	return d, nil
}

// remember notes that something was done once more. It is written afterwards: a
// sweep that dies in between does the same again, under the same message id.
func (s *Sweeper) remember(ctx context.Context, key, about string, d done) error {
	note, err := json.Marshal(done{About: about, Times: d.Times + 1, At: s.Now().UTC()})
	if err != nil {
		return err
	}
	return s.Notes.Put(ctx, noteKey(key), note)
}

// ReportKey is where the report of the last sweep is kept.
const ReportKey = "sweep.report"

// DecodeReport returns the report in a note.
func DecodeReport(note []byte) (Report, error) {
	var r Report
	err := json.Unmarshal(note, &r)
	return r, err
}
