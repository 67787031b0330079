package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// canBeFirst reports whether it would help to bring the job's file before the user's others: the
// pipeline brings it, and has not begun to copy it. stage is how far the stream says it is.
func canBeFirst(of owner, j archive.Job, stage archive.State) bool {
	if of.Plan == nil {
		return false
	}
	switch st := of.state(j); st {
	case archive.Planned:
		return true
	case archive.Requested:
		return stage == ""
	}
	return false
}

// isFirst reports whether the user has chosen the job's file, and it is not back yet.
func isFirst(of owner, j archive.Job) bool {
	if of.Plan == nil || of.Plan.First != j.ID {
		return false
	}
	st := of.state(j)
	return st == archive.Planned || st == archive.Requested
}

// bringFirst makes the pipeline bring the job's file before the user's others. The plan keeps the
// choice, and a user has one choice at a time: thaw requests nothing ahead of others for a file
// that is not the choice any more. The order may be lost without harm: the file has its ordinary
// place too.
func (s *Server) bringFirst(ctx context.Context, of owner, j archive.Job) error {
	jv := viewJob(j, of)
	s.stage(ctx, &jv)
	if !canBeFirst(of, j, jv.Stage) {
		return &problem{
			status: http.StatusConflict, title: "This file cannot go first",
			sentence: "Only a file that we are bringing back can go first, before we copy it.",
			link:     jv.Link, linkText: "Go to the file",
		}
	}
	err := s.deps.Accounts.SetFirst(ctx, of.ID, of.Plan.ID, j.ID)
	if fault.Is(err, fault.Conflict) {
		return &problem{
			status: http.StatusConflict, title: "This file cannot go first", sentence: "Your plan has changed a moment ago.",
			link: jv.Link, linkText: "Go to the file", err: err,
		}
	}
	if err != nil {
		return err
	}
	err = s.deps.Lane.Publish(ctx, events.ThawRequested{
		// A user may choose a file, then another one, and then the first one again.
		ID: "first-" + strconv.FormatInt(s.cfg.Now().UnixMilli(), 10), JobID: j.ID, UserID: j.UserID, ArchiveID: j.ArchiveID,
		Plan: of.Plan.ID, UpgradedAt: of.Plan.UpgradedAt, First: true,
	})
	if err == nil {
		s.audit(ctx, "a file goes first", "user", of.ID, "job", j.ID)
		return nil
	}
	// The page would say that the file goes first.
	if undo := s.deps.Accounts.SetFirst(ctx, of.ID, of.Plan.ID, of.Plan.First); undo != nil {
		err = errors.Join(err, undo)
	}
	return &problem{
		status: http.StatusServiceUnavailable, title: "The file could not be moved to the front",
		sentence: "It still comes back with your other files. Please try again in a minute.", retry: 5,
		link: jv.Link, linkText: "Go to the file", err: err,
	}
}
