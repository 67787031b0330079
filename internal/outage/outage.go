// Package outage writes few log lines about trouble that repeats: one when it begins, one now
// and then while it lasts, and one when it is over. Each of them has a count. A log that has a
// line for each failed try hides what happened.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// Remind is the time between two lines about trouble that lasts.
	Remind = 10 * time.Minute
	// Calm is how long nothing may fail until the trouble is over. Trouble that comes and
	// goes within this time is one outage.
	Calm = time.Minute
)

// Log logs the trouble of one kind of work. The zero value is ready. Its methods may be called
// at the same time.
type Log struct {
	mu    sync.Mutex // guards what follows
	since time.Time  // of the first failure; zero without trouble
	last  time.Time  // of the latest failure
	told  time.Time  // of the latest line
	count int
}

// Failed records a failure. It logs what as a warning with the arguments if trouble begins, or
// if it lasts and nobody was told for a while. It logs every other failure for debugging.
func (l *Log) Failed(log *slog.Logger, what string, args ...any) {
	l.FailedAt(slog.LevelWarn, log, what, args...)
}

// FailedAt is [Log.Failed] with another level than a warning's.
func (l *Log) FailedAt(loud slog.Level, log *slog.Logger, what string, args ...any) {
	now := time.Now()
	l.mu.Lock()
	if !l.since.IsZero() && now.Sub(l.last) > Calm {
		l.since = time.Time{} // nobody said that it was over
	}
	if l.since.IsZero() {
		l.since, l.told, l.count = now, time.Time{}, 0
	}
	l.last = now
	l.count++
	level := slog.LevelDebug
	if now.Sub(l.told) >= Remind {
		level, l.told = loud, now
		if l.count > 1 {
			args = append(args, "failures", l.count, "for", now.Sub(l.since).Round(time.Second))
		}
	}
	l.mu.Unlock()
	log.Log(context.Background(), level, what, args...)
}

// Worked records a success. It logs what, with the number of failures, if the trouble is over:
// nothing has failed for [Calm].
func (l *Log) Worked(log *slog.Logger, what string, args ...any) { l.over(log, Calm, what, args) }

// Over is [Log.Worked] for work that either works or does not: one success ends the trouble.
func (l *Log) Over(log *slog.Logger, what string, args ...any) { l.over(log, 0, what, args) }

func (l *Log) over(log *slog.Logger, calm time.Duration, what string, args []any) {
	l.mu.Lock()
	if l.since.IsZero() || time.Since(l.last) < calm {
		l.mu.Unlock()
		return
	}
	args = append(args, "failures", l.count, "lasted", l.last.Sub(l.since).Round(time.Second))
	l.since = time.Time{}
	l.mu.Unlock()
	log.Info(what, args...)
}
