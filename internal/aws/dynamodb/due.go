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

// duePage is the number of index entries that one call reads.
const duePage = 500

// DueJobs yields the jobs that should have news by this time; the jobs that have waited
// longest come first. The index may lag, so the caller must read the job itself. An error
// ends the sequence.
func (c *Catalog) DueJobs(ctx context.Context, by time.Time) iter.Seq2[events.JobID, error] {
	return func(yield func(events.JobID, error) bool) {
		for it, err := range c.due(ctx, c.jobs, DueIndex, attrDueShard, attrDue, by) {
			if !yield(events.JobID(text(it, attrJobID)), err) {
				return
			}
		}
	}
}

// DuePlans yields the users with a plan that must be checked by this time, in the order
// of that time. The index may lag. An error ends the sequence.
func (c *Catalog) DuePlans(ctx context.Context, by time.Time) iter.Seq2[events.UserID, error] {
	return func(yield func(events.UserID, error) bool) {
		for it, err := range c.due(ctx, c.accounts, PlanIndex, attrPlanShard, attrPlanDue, by) {
			if !yield(events.UserID(text(it, attrUserID)), err) {
				return
			}
		}
	}
}

// due yields the entries of all partitions of the index in the order of their times. So a
// caller without time for all of them handles those that have waited longest, in
// whichever partition they are.
func (c *Catalog) due(ctx context.Context, table, index, shard, sorted string, by time.Time) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		var heads []*head
		defer func() {
			for _, h := range heads {
				h.stop()
			}
		}()
		for n := range int64(shards) {
			h := &head{sorted: sorted}
			h.next, h.stop = iter.Pull2(c.dueIn(ctx, table, index, shard, sorted, n, by))
			heads = append(heads, h)
			h.advance()
		}
		for {
			var first *head
			for _, h := range heads {
				if h.there && (first == nil || h.err != nil || first.err == nil && h.due < first.due) {
					first = h
				}
			}
			if first == nil || !yield(first.it, first.err) || first.err != nil {
				return
			}
			first.advance()
		}
	}
}

// head is the next entry of a partition.
type head struct {
	sorted string
	next   func() (item, error, bool)
	stop   func()

	there bool
	it    item
	err   error
	due   int64
}

func (h *head) advance() {
	h.it, h.err, h.there = h.next()
	h.due, _ = number(h.it, h.sorted)
}

// dueIn yields the entries of one partition.
func (c *Catalog) dueIn(ctx context.Context, table, index, shard, sorted string, n int64, by time.Time) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
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
				yield(nil, awsfault.Wrap(err, "list due work of index %s", index))
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

// Nudged records that somebody saw to the job's work under way, and when somebody must
// see to it again. It changes nothing if the request or the retrieval is another one by
// now; that is no error.
func (c *Catalog) Nudged(ctx context.Context, job archive.Job, again time.Time, helped bool) error {
	condition, values := "attribute_not_exists(archive_id) AND ", item{":due": num(again.UnixMilli()), ":shard": shardOf(string(job.ID))}
	if job.ArchiveID != "" {
		condition, values[":archive"] = "archive_id = :archive AND ", str(string(job.ArchiveID))
	}
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
