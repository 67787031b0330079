package reconcile

import (
	"context"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// lastWords looks at the last status that was told of each file of the user, and tells
// "restored" of each file that is back and has another one. A status can come too late: its
// worker stood still, or died between a status and the task behind it. No later message would
// correct the status, because the file is back.
func (p *sweep) lastWords(ctx context.Context, user events.UserID, plan archive.Plan) error {
	var others []events.JobID
	for told, err := range p.Streams.LatestStatuses(ctx, user) {
		if err != nil {
			return err
		}
		if told.State == archive.Restored {
			continue
		}
		if others = append(others, told.JobID); len(others) == jobsOfCall {
			if err := p.correct(ctx, others, plan); err != nil {
				return err
			}
			others = others[:0]
		}
	}
	if len(others) == 0 {
		return nil
	}
	return p.correct(ctx, others, plan)
}

// correct tells "restored" of each of the jobs that is back.
func (p *sweep) correct(ctx context.Context, ids []events.JobID, plan archive.Plan) error {
	if err := p.call(ctx); err != nil {
		return err
	}
	jobs, err := p.Catalog.JobsOf(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		job, there := jobs[id]
		if !there || !job.Back() || p.found(Mistold) != Tell {
			continue
		}
		if err := p.Streams.Publish(ctx, events.StatusChanged{
			JobID: job.ID, UserID: job.UserID, State: archive.Restored, At: p.now.UTC(), Size: job.ResultSize, Step: "closes-" + plan.ID,
		}); err != nil {
			return err
		}
		p.report.Done[Tell]++
		p.Log.Info("the file is back, and the last status said otherwise: it is corrected", "user", job.UserID, "job", job.ID, "found", Mistold)
	}
	return nil
}
