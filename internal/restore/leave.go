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

// leave does what [Exits] says about the error of a step.
func (r *Restorer) leave(ctx context.Context, f *file, err error) error {
	if f.large && fault.Is(err, fault.Invalid) {
		// An operator will look at the key, and should find no unfinished uploads.
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
			f.log.Log(ctx, level, "notification dropped", "exit", s.at, "archive", f.notification.ArchiveID, "why", err)
			return nil
		case TellAgain:
			f.log.Info("restored already: reporting it again")
			if err = r.tidyAgain(ctx, f); err == nil {
				err = r.tellAgain(ctx, f)
			}
		case Forget:
			f.log.Warn("another program removed the archive from the catalog: the retrieval is removed", "archive", f.notification.ArchiveID)
			if err = r.tidyAgain(ctx, f); err == nil {
				err = r.Catalog.ClearLeftovers(ctx, f.job)
			}
			if err == nil {
				err = r.tellAgain(ctx, f)
			}
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
		// The bus makes this error a dead letter, and the operator needs these names.
		return fault.Because(fault.KindOf(err), fault.CauseOf(err), fmt.Errorf("job %s of user %s, archive %q, retrieval %q, to %s: %w",
			f.job.ID, f.job.UserID, f.job.ArchiveID, f.job.RetrievalID, f.job.Result, err))
	}
	// A bucket that denies one user's file may take another user's file.
	return fault.Of(string(f.job.UserID), err)
}

// tellAgain reports that an earlier delivery restored the file. The earlier delivery may
// have died before its report, or may report at this moment. The status has another id for
// each notification. With one id for all, JetStream could drop this status as a repetition,
// and an older status of the other delivery could come last.
func (r *Restorer) tellAgain(ctx context.Context, f *file) error {
	step := string(f.notification.RetrievalID) + "." + cmp.Or(f.notification.Notification, f.notification.ID)
	return f.emit(ctx, r.status(f, archive.Restored, step, f.notification.Size))
}

// takeBack removes a failed or expired retrieval from the catalog, reports that, and asks for
// another retrieval. The catalog counts the failures, and the gate decides whether thaw
// requests the archive again.
func (r *Restorer) takeBack(ctx context.Context, f *file, why *stopped) error {
	if err := r.placeable(ctx, f); err != nil {
		return fmt.Errorf("another retrieval of the archive would not help: %w (%w)", err, why)
	}
	failure := archive.GlacierFailed
	if why.at == Expired || why.at == WrongRetrieval {
		failure = archive.OutputExpired // this archive has no output
	}
	pause := archive.Pause(f.job.History.Failed[failure] + 1)
	f.log.Warn("the retrieval failed or expired: asking again", "how", failure, "not_before", pause, "tries", f.job.History.Tries, "err", why)
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
		return stopf(Occupied, "%s is there already (%d bytes, ETag %s), is not proven to be the archive, and is not written over. "+
			"Move it away and replay this, or delete the archive if the object is right", found.Object, found.Size, found.ETag)
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	// An earlier delivery may have died in this same check, before it aborted its upload. If
	// the archive is never retrieved again, no later copy tidies up.
	if err := r.abortEmpty(ctx, f); err != nil {
		return err
	}
	// Nobody sees an upload that is begun and aborted. To begin it needs the same permission
	// as to put an object.
	up, err := r.Uploads.Begin(ctx, f.job.Result, archive.Mark{Archive: f.job.ArchiveID})
	if err != nil {
		return err
	}
	return up.Abort(ctx)
}

// askAgain emits a task that asks thaw to request the archive again. The task's id contains
// the failed or expired retrieval, so repetitions count as one task.
func (r *Restorer) askAgain(ctx context.Context, f *file) error {
	return f.emit(ctx, events.ThawRequested{
		ID:         "again-" + cmp.Or(string(f.notification.RetrievalID), f.notification.ID),
		JobID:      f.job.ID,
		UserID:     f.job.UserID,
		ArchiveID:  f.job.ArchiveID,
		UpgradedAt: f.job.RetrievalRequestedAt,
		First:      f.notification.First,
	})
}
