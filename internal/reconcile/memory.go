package reconcile

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// done says how often sweeps did something for a job or a user, and when. A sweep does it
// again only after a pause, because the first message may still be on its way. The pause
// grows each time, because the action did not help before.
type done struct {
	// About names the occasion, for example with a retrieval's id. The count begins anew for
	// each occasion.
	About string    `json:"about"`
	Times int       `json:"times"`
	At    time.Time `json:"at"`
}

const (
	firstPause   = 15 * time.Minute
	longestPause = 24 * time.Hour
)

// pauseAfter returns the pause after an action that was done n times before and did not
// help.
func pauseAfter(n int) time.Duration {
	pause := firstPause
	for range n {
		if pause *= 2; pause >= longestPause {
			return longestPause
		}
	}
	return pause
}

func kvKey(key string) string { return "sweep." + key }

// recall returns what was done on this occasion.
func (s *Sweeper) recall(ctx context.Context, key, about string) (done, error) {
	value, _, err := s.KV.Get(ctx, kvKey(key))
	if fault.Is(err, fault.NotFound) {
		return done{About: about}, nil
	}
	if err != nil {
		return done{}, err
	}
	var d done
	if err := json.Unmarshal(value, &d); err != nil || d.About != about {
		return done{About: about}, nil
	}
	return d, nil
}

// remember writes that something was done once more. A sweep calls it after the action. If
// the sweep dies in between, the next sweep does the action again, with the same message id.
func (s *Sweeper) remember(ctx context.Context, key, about string, d done) error {
	return s.put(ctx, key, done{About: about, Times: d.Times + 1, At: s.Now().UTC()})
}

// place is the page of the user's archives at which the next look at the plan begins.
type place struct {
	Plan   string `json:"plan"`
	Cursor string `json:"cursor"`
}

// place returns the cursor of that page.
func (s *Sweeper) place(ctx context.Context, key, plan string) (cursor string, err error) {
	var at place
	if err := s.get(ctx, key, &at); err != nil || at.Plan != plan {
		return "", err
	}
	return at.Cursor, nil
}

// keepPlace writes the cursor, if it changed.
func (s *Sweeper) keepPlace(ctx context.Context, key, plan, was, cursor string) error {
	if was == cursor {
		return nil
	}
	return s.put(ctx, key, place{plan, cursor})
}

// auditAt is the page at which the audit goes on.
type auditAt struct {
	BeganAt time.Time `json:"began_at"`
	Cursor  string    `json:"cursor,omitempty"`
}

func (s *Sweeper) auditPlace(ctx context.Context) (at auditAt, err error) {
	err = s.get(ctx, auditKey, &at)
	return at, err
}

func (s *Sweeper) keepAudit(ctx context.Context, at auditAt) error { return s.put(ctx, auditKey, at) }

// get reads the value at key into v. If there is no value, or get cannot decode it, v stays
// as it is.
func (s *Sweeper) get(ctx context.Context, key string, v any) error {
	value, _, err := s.KV.Get(ctx, kvKey(key))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(value, v); err != nil {
		s.Log.Warn("a value that the sweep saved cannot be read: it begins anew", "key", key, "err", err)
	}
	return nil
}

func (s *Sweeper) put(ctx context.Context, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.KV.Put(ctx, kvKey(key), value)
}

// ReportKey is the key of the report of the last sweep.
const ReportKey = "sweep.report"

// DecodeReport returns the report in a value.
func DecodeReport(value []byte) (Report, error) {
	var r Report
	err := json.Unmarshal(value, &r)
	return r, err
}
