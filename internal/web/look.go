package web

import (
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
)

// look is how a page and a live update show a state.
type look struct {
	// Label is on the badge. Several states have the same label: the steps tell them apart.
	Label string
	// Icon names a symbol of icons.html.
	Icon string
	// Tone is the badge's color: quiet, cold, plan, work, good or bad.
	Tone string
	// Step is how many steps of the way back are done; 0 if the file is not on it.
	Step int
	// Sentence says what the state means for the user.
	Sentence string
}

// attention is the sentence about a file that the pipeline gave up.
const attention = "Something stopped this file on its way back. Our team has to look at it. Nothing is lost, and you do not need to do anything."

// lookOf returns the look of st. A state of a newer release has a plain look.
func lookOf(st archive.State) look {
	switch st {
	case archive.Pending:
		return look{"Running", "clock", "quiet", 0, "The annotation is still running. Its result will be here when it is done."}
	case archive.Errored:
		return look{"Failed", "cross", "bad", 0, "The annotation failed, so there is no result."}
	case archive.Archived:
		return look{"Archived", "flake", "cold", 0, "This result is in the archive. With Premium it comes back, and stays."}
	case summary.Attention:
		return look{"Needs attention", "cross", "bad", 0, attention}
	case paused:
		return look{"Archived", "flake", "cold", 0, "This result is in the archive, and bringing files back is paused. It continues automatically: you do not need to ask again."}
	case summary.Held:
		return look{"Waiting for approval", "clock", "plan", 0, "Our team has to approve that this file comes back. It continues automatically: you do not need to ask again."}
	case archive.Planned:
		return look{"Being restored", "thaw", "work", 1, "The restore of this file is planned. It starts automatically; there is nothing you need to do."}
	case archive.Requested:
		return look{"Being restored", "thaw", "work", 2, archive.Restoring}
	case archive.Ready:
		return look{"Being restored", "thaw", "work", 3, archive.Restoring}
	case archive.Copying:
		return look{"Being restored", "thaw", "work", 3, archive.Restoring}
	case archive.Verifying:
		return look{"Being restored", "thaw", "work", 4, archive.Restoring}
	case archive.Restored:
		return look{"Ready", "check", "good", 5, "The file is back and ready to download."}
	case archive.Available:
		return look{"Ready", "check", "good", 0, "The file is ready to download."}
	case archive.Unclear:
		return look{"Needs attention", "cross", "bad", 0, "Our records do not say where this file is. Our team has to look at it."}
	case archive.Failed:
		return look{"Being restored", "thaw", "work", 1, "The archive did not hand the file over this time. We are asking it again; there is nothing you need to do."}
	case archive.Expired:
		return look{"Being restored", "thaw", "work", 1, "The file waited too long to be copied and went back into the archive. We are asking for it again; there is nothing you need to do."}
	}
	return look{"In progress", "clock", "quiet", 0, "Something is happening to this file. Reload the page in a while."}
}

// step is one step of a file's way back.
type step struct {
	Name string
	// Mark is done, now or next.
	Mark string
}

// stepsAt returns the way back up to step at. It is nil for a file that is not on it.
func stepsAt(at int) []step {
	if at == 0 {
		return nil
	}
	steps := []step{{Name: "Planned"}, {Name: "Thawing"}, {Name: "Copying"}, {Name: "Checking"}, {Name: "Ready"}}
	for i := range steps {
		switch {
		case i+1 < at || at == len(steps):
			steps[i].Mark = "done"
		case i+1 == at:
			steps[i].Mark = "now"
		default:
			steps[i].Mark = "next"
		}
	}
	return steps
}
