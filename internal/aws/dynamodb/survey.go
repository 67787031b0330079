package dynamodb

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/pkg/events"
)

// Record is a job with remarks about its item.
type Record struct {
	Job archive.Job
	// Odd names each attribute that cannot be understood and is only shown, with its
	// fault. Attributes that decide about the file are in the job's Unreadable.
	Odd []string
	// Blank names each attribute of ours that is NULL or empty. It is read as absent.
	Blank []string
}

// Survey returns up to most jobs of the table after the given id, in no meaningful order,
// and the id to continue from. An empty id is the beginning or the end. It reads whole
// items.
func (c *Catalog) Survey(ctx context.Context, behind events.JobID, most int32) (page []Record, next events.JobID, err error) {
	in := &dynamodb.ScanInput{TableName: &c.jobs, Limit: aws.Int32(most)}
	if behind != "" {
		in.ExclusiveStartKey = jobKey(behind)
	}
	out, err := c.client.Scan(ctx, in)
	if err != nil {
		return nil, "", awsfault.Wrap(err, "read table %s", c.jobs)
	}
	names, _ := compared()
	for _, it := range out.Items {
		job, f := readJob(it)
		job.Unreadable = f.unreadable
		r := Record{Job: job, Odd: f.odd}
		for _, name := range names {
			if v, there := it[name]; there && blank(v) {
				r.Blank = append(r.Blank, name)
			}
		}
		slices.Sort(r.Blank)
		page = append(page, r)
	}
	return page, events.JobID(text(out.LastEvaluatedKey, attrJobID)), nil
}
