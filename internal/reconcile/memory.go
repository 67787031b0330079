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

// pauseAfter returns how long something is left alone that was done n times before
// and did not help.
func pauseAfter(n int) time.Duration {
	pause := firstPause
	for range n {
		if pause *= 2; pause >= longestPause {
			return longestPause
		}
	}
	return pause
}

func noteKey(key string) string { return "sweep." + key }

// recall returns what was done; nothing if it was about something else.
func (s *Sweeper) recall(ctx context.Context, key, about string) (done, error) {
	note, _, err := s.KV.Get(ctx, noteKey(key))
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
	return s.KV.Put(ctx, noteKey(key), note)
}

// place is where in a user's archives the looks at a plan are.
type place struct {
	Plan   string `json:"plan"`
	Cursor string `json:"cursor"`
}

// place returns the cursor at which the next look at the plan begins.
func (s *Sweeper) place(ctx context.Context, key, plan string) (cursor string, err error) {
	var at place
	if err := s.get(ctx, key, &at); err != nil || at.Plan != plan {
		return "", err
	}
	return at.Cursor, nil
}

// keepPlace notes where the next look at the plan begins, if that changed.
func (s *Sweeper) keepPlace(ctx context.Context, key, plan, was, cursor string) error {
	if was == cursor {
		return nil
	}
	return s.put(ctx, key, place{plan, cursor})
}

// auditAt is where the audit is.
type auditAt struct {
	BeganAt time.Time `json:"began_at"`
	Cursor  string    `json:"cursor,omitempty"`
}

func (s *Sweeper) auditPlace(ctx context.Context) (at auditAt, err error) {
	err = s.get(ctx, auditKey, &at)
	return at, err
}

func (s *Sweeper) keepAudit(ctx context.Context, at auditAt) error { return s.put(ctx, auditKey, at) }

// get reads a note into v, and leaves it as it is if there is none that can be read.
func (s *Sweeper) get(ctx context.Context, key string, v any) error {
	note, _, err := s.KV.Get(ctx, noteKey(key))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(note, v); err != nil {
		s.Log.Warn("a note of the sweep can't be read, beginning anew", "key", key, "err", err)
	}
	return nil
}

func (s *Sweeper) put(ctx context.Context, key string, v any) error {
	note, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.KV.Put(ctx, noteKey(key), note)
}

// ReportKey is where the report of the last sweep is kept.
const ReportKey = "sweep.report"

// DecodeReport returns the report in a note.
func DecodeReport(note []byte) (Report, error) {
	var r Report
	err := json.Unmarshal(note, &r)
	return r, err
}
