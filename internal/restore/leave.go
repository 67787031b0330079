package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// leave does what follows when a step could not go on.
func (r *Restorer) leave(ctx context.Context, f *file, err error) error {
	if f.large && fault.Is(err, fault.Invalid) {
		// An operator has to look, and should not find unfinished uploads.
		if err := r.abortAll(ctx, f); err != nil {
			f.log.Warn("unfinished uploads not aborted", "err", err)
		}
	}
	if s, ok := errors.AsType[*stopped](err); ok {
		switch rule := RuleOf(s.at); rule.Action {
		case Drop:
			level := slog.LevelInfo
			if rule.Warn {
				level = slog.LevelWarn
			}
			f.log.Log(ctx, level, "notice dropped", "exit", s.at, "archive", f.notice.ArchiveID, "why", err)
			return nil
		case TellAgain:
			f.log.Info("restored already: telling it again")
			err = r.tellAgain(ctx, f)
		case AskAgain:
			f.log.Info("asking again", "exit", s.at, "why", err)
			err = r.askAgain(ctx, f)
		case TakeBack:
			err = r.takeBack(ctx, f, s)
		}
	}
	if err == nil || !f.known {
		return err
	}
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Corrupt) {
		// The bus makes a dead letter of it: an operator needs these names.
		return fault.Because(fault.KindOf(err), fault.CauseOf(err), fmt.Errorf("job %s of user %s, archive %q, retrieval %q, to %s: %w",
			f.job.ID, f.job.UserID, f.job.ArchiveID, f.job.RetrievalID, f.job.Result, err))
	}
	// A bucket that denies one user's file may take another's.
	return fault.Of(string(f.job.UserID), err)
}

// tellAgain tells that an earlier delivery restored the file. That one may have died
// before it told, or tells at this moment. Each notice tells it under an id of its own:
// if this status were taken for a repetition of the other, an older status of the other
// could come last.
func (r *Restorer) tellAgain(ctx context.Context, f *file) error {
	step := string(f.notice.RetrievalID) + "." + cmp.Or(f.notice.Notification, f.notice.ID)
	return f.emit(ctx, r.status(f, archive.Restored, step, f.notice.Size))
}

// takeBack removes from the catalog a retrieval that came to nothing, tells it, and asks
// for another one. The catalog counts how often that happened; the gate decides whether
// the archive is asked for again.
func (r *Restorer) takeBack(ctx context.Context, f *file, why *stopped) error {
	if err := r.placeable(ctx, f); err != nil {
		return fmt.Errorf("to retrieve the archive again would be of no use: %w (%w)", err, why)
	}
	failure := archive.GlacierFailed
	if why.at == Expired {
		failure = archive.OutputExpired
	}
	pause := archive.Pause(f.job.History.Failed[failure] + 1)
	f.log.Warn("the retrieval came to nothing, asking again", "how", failure, "not_before", pause, "tries", f.job.History.Tries, "err", why)
	if err := r.Catalog.ClearRetrieval(ctx, f.job, failure, r.Now().Add(pause)); err != nil {
		return err
	}
	s := r.status(f, archive.State(failure), string(f.job.RetrievalID), 0)
	s.Detail = why.Error()
	if err := f.emit(ctx, s); err != nil {
		return err
	}
	return r.askAgain(ctx, f)
}

// placeable returns an error if no object can be put at the file's key. Then another
// retrieval would cost money for nothing.
func (r *Restorer) placeable(ctx context.Context, f *file) error {
	found, err := r.Bucket.Stat(ctx, f.job.Result)
	if err == nil {
		return stopf(Occupied, "%s is there already (%d bytes, ETag %s), is not known to be the archive, and is not written over. "+
			"Move it away and replay this, or delete the archive if the object is right", found.Object, found.Size, found.ETag)
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	// An earlier delivery may have died before it aborted the upload of this very check. The
	// archive may never be retrieved again, so that no later copy tidies up.
	if err := r.abortEmpty(ctx, f); err != nil {
		return err
	}
	// An upload that is begun and aborted shows nothing to anybody. It needs the same
	// permission as an object.
	up, err := r.Uploads.Begin(ctx, f.job.Result, archive.Mark{Archive: f.job.ArchiveID})
	if err != nil {
		return err
	}
	return up.Abort(ctx)
}

// askAgain emits a task that asks for the archive once more. The task's id contains the
// retrieval that came to nothing, so that repetitions are one task.
func (r *Restorer) askAgain(ctx context.Context, f *file) error {
	return f.emit(ctx, events.ThawRequested{
		ID:         "again-" + string(f.notice.RetrievalID),
		JobID:      f.job.ID,
		UserID:     f.job.UserID,
		ArchiveID:  f.job.ArchiveID,
		UpgradedAt: f.job.RetrievalRequestedAt,
	})
}
