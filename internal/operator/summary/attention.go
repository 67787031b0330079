package summary

import (
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// Attention is the state of a job that the pipeline gave up: it goes on when an operator
// has acted. The catalog alone does not show it.
const Attention archive.State = "needs attention"

// Letters returns the last dead letter of the work that e would be. ok is false if there is
// none.
type Letters func(e events.Event) (letter events.DeadLetter, ok bool, err error)

// GivenUp reports whether the pipeline gave up the job, and the letter that says so. The
// letter is empty if the catalog says so.
//
// A letter counts only if it is about what the catalog has now: this retrieval, this archive,
// this plan. An older letter may be left of an earlier life of the job.
func GivenUp(job archive.Job, owner archive.Account, letters Letters) (letter events.DeadLetter, yes bool, err error) {
	if job.RetrievalID == "" && (job.ArchiveID == "" || job.Intent == nil && !job.Ordered && owner.Plan == nil && owner.Role != archive.Premium) {
		return letter, false, nil
	}
	if len(job.Unreadable) > 0 {
		return letter, true, nil
	}
	if job.RetrievalID != "" {
		letter, yes, err = letters(events.RetrievalCompleted{JobID: job.ID})
		return letter, yes && about(letter, func(e events.RetrievalCompleted) bool { return e.RetrievalID == job.RetrievalID }), err
	}
	letter, yes, err = letters(events.ThawRequested{UserID: job.UserID, JobID: job.ID})
	if yes = yes && about(letter, func(e events.ThawRequested) bool { return e.ArchiveID == job.ArchiveID }); yes && spent(letter.Cause) {
		// An operator may have allowed another try since: the catalog knows.
		yes = false
	}
	if cause, _ := job.History.Spent(); cause != "" && job.Intent == nil {
		yes = true
	}
	if yes || err != nil || job.Intent != nil || job.Ordered {
		return letter, yes, err
	}
	letter, yes, err = letters(events.UserUpgraded{UserID: job.UserID})
	return letter, yes && about(letter, func(e events.UserUpgraded) bool {
		return e.Plan == "" || owner.Plan == nil || e.Plan == owner.Plan.ID
	}), err
}

// about reports whether the letter's message passes the test. A message that cannot be read
// may be about anything.
func about[E events.Event](letter events.DeadLetter, is func(E) bool) bool {
	e, err := events.Decode[E](letter.Payload)
	return err != nil || is(e)
}

// spent reports whether a letter's cause is one of [archive.History.Spent].
func spent(cause string) bool {
	used := archive.History{Tries: archive.MaxRetrievals}
	if c, _ := used.Spent(); c == cause {
		return true
	}
	for _, f := range archive.Failures() {
		failed := archive.History{Failed: map[archive.Failure]int{f: archive.MaxPerFailure}}
		if c, _ := failed.Spent(); c == cause {
			return true
		}
	}
	return false
}
