package dynamodb

import (
	"context"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// duePage is how many entries of a sparse index are read with a call.
const duePage = 500

// DueJobs yields the jobs of which something should have been heard by the time, in
// each partition of the index those first that have waited the longest. The index
// may be behind: look at the job itself. An error ends it.
func (c *Catalog) DueJobs(ctx context.Context, by time.Time) iter.Seq2[events.JobID, error] {
	return func(yield func(events.JobID, error) bool) {
		for it, err := range c.due(ctx, c.jobs, DueIndex, attrDueShard, attrDue, by) {
			if !yield(events.JobID(text(it, attrJobID)), err) || err != nil {
				return
			}
		}
	}
}

// DuePlans yields the users on whose accounts a plan stands that is to be looked at
// by the time. The index may be behind. An error ends it.
func (c *Catalog) DuePlans(ctx context.Context, by time.Time) iter.Seq2[events.UserID, error] {
	return func(yield func(events.UserID, error) bool) {
		for it, err := range c.due(ctx, c.accounts, PlanIndex, attrPlanShard, attrPlanDue, by) {
			if !yield(events.UserID(text(it, attrUserID)), err) || err != nil {
				return
			}
		}
	}
}

func (c *Catalog) due(ctx context.Context, table, index, shard, sorted string, by time.Time) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for n := range int64(shards) {
			pages := dynamodb.NewQueryPaginator(c.client, &dynamodb.QueryInput{
				TableName:                 &table,
				IndexName:                 &index,
				KeyConditionExpression:    aws.String(shard + " = :s AND " + sorted + " <= :by"),
				ExpressionAttributeValues: item{":s": num(n), ":by": num(by.UnixMilli())},
				Limit:                     aws.Int32(duePage),
			})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					yield(nil, awsfault.Wrap(tableError(err), "list what is due in index %s", index))
					return
				}
				for _, it := range page.Items {
					if !yield(it, nil) {
						return
					}
				}
			}
		}
	}
}

// Nudged notes that somebody saw to what is under way of the job, and when it is to be
// seen to again, if it is still the same request or retrieval. That it is another
// one is no error.
func (c *Catalog) Nudged(ctx context.Context, job archive.Job, again time.Time, helped bool) error {
	condition := "archive_id = :archive AND "
	values := item{":archive": str(string(job.ArchiveID)), ":due": num(again.UnixMilli()), ":shard": shardOf(string(job.ID))}
	if job.RetrievalID != "" {
		condition += "retrieval_request_id = :id"
		values[":id"] = str(string(job.RetrievalID))
	} else if job.Intent != nil {
		condition += "retrieval_intent.#t = :id"
		values[":id"] = str(job.Intent.Token)
	} else if job.Ordered {
		condition += "attribute_not_exists(retrieval_request_id) AND attribute_not_exists(retrieval_intent)"
	} else {
		return fault.Errorf(fault.Invalid, "nothing of job %q is under way", job.ID)
	}
	change := "SET due_at = :due, due_shard = :shard"
	if !helped {
		change += " ADD sweep_nudges :one"
		values[":one"] = num(1)
	}
	err := c.update(ctx, "note a nudge", job.ID, change, condition, values)
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}
