package dynamodb

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"iter"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Jobs returns up to limit of the user's jobs from cursor on, the newest first, and the
// cursor of the next page. An empty cursor is the beginning or the end. A cursor that was
// not made here for this user is an error of kind Invalid.
func (c *Catalog) Jobs(ctx context.Context, user events.UserID, cursor string, limit int) ([]archive.Job, string, error) {
	l, err := c.Select(ctx, user, archive.Selection{Cursor: cursor, Limit: limit})
	return l.Jobs, l.Next, err
}

// Select returns the user's jobs that fit the selection, with the cursors of the pages
// around them. There can be a next page when this one is not full: a call reads only a
// limited number of jobs. A cursor that was not made here is an error of kind Invalid;
// even then the jobs are always the user's own.
func (c *Catalog) Select(ctx context.Context, user events.UserID, sel archive.Selection) (archive.Listing, error) {
	if !sel.Before || sel.Cursor == "" {
		jobs, first, next, err := c.walk(ctx, user, sel)
		if sel.Cursor == "" {
			first = ""
		}
		return archive.Listing{Jobs: jobs, Prev: first, Next: next}, err
	}
	back := sel
	back.Oldest = !sel.Oldest
	jobs, first, next, err := c.walk(ctx, user, back)
	if err != nil {
		return archive.Listing{}, err
	}
	if next == "" {
		// It is the first page, which may have grown since.
		sel.Cursor = ""
		return c.Select(ctx, user, sel)
	}
	slices.Reverse(jobs)
	return archive.Listing{Jobs: jobs, Prev: next, Next: first}, nil
}

// walk continues from the selection's cursor. It returns the jobs that fit, and the
// cursors of the first and the last job that it read. The last cursor is empty if there
// are no more jobs.
func (c *Catalog) walk(ctx context.Context, user events.UserID, sel archive.Selection) (jobs []archive.Job, first, next string, err error) {
	start, err := jobsStart(sel.Cursor, user)
	if err != nil {
		return nil, "", "", err
	}
	// The index has no states, and a filter would make DynamoDB read just as much. One
	// job more than the limit shows whether there is a next page.
	page := int32(sel.Limit) + 1
	if sel.Match != nil {
		// Most selections fill a page soon, and some need the whole index.
		page = min(firstLook*int32(sel.Limit), c.page)
	}
	enough := false
	for looked := 0; ; {
		out, err := c.client.Query(ctx, &dynamodb.QueryInput{
			TableName:                 &c.jobs,
			IndexName:                 aws.String(UserIndex),
			KeyConditionExpression:    aws.String("user_id = :u"),
			ExpressionAttributeValues: item{":u": str(string(user))},
			ScanIndexForward:          aws.Bool(sel.Oldest),
			Limit:                     &page,
			ExclusiveStartKey:         start,
		})
		if err != nil {
			return nil, "", "", awsfault.Wrap(err, "list jobs of user %q", user)
		}
		if enough {
			// Without this, a page could begin after the last job: DynamoDB gives a key
			// to continue from whenever it stopped at the limit, also at the end.
			if len(out.Items) == 0 {
				next = ""
			}
			return jobs, first, next, nil
		}
		for i, it := range out.Items {
			if looked+i == 0 {
				first = cursorOf(it, attrSubmitTime)
			}
			job := jobOf(it)
			if sel.Match != nil && !sel.Match(job) {
				continue
			}
			jobs = append(jobs, job)
			if len(jobs) < sel.Limit {
				continue
			}
			if i < len(out.Items)-1 {
				return jobs, first, cursorOf(it, attrSubmitTime), nil
			}
			enough = true
		}
		looked += len(out.Items)
		start = out.LastEvaluatedKey
		if next = cursorOf(start, attrSubmitTime); next == "" {
			return jobs, first, next, nil
		}
		enough = enough || sel.Match != nil && looked >= sel.Look
		switch {
		case enough:
			page = 1
		case sel.Match != nil:
			page = min(2*page, c.page)
		}
	}
}

// firstLook is how many times the page's size a selection reads first.
const firstLook = 4

// archivedPage is the number of jobs in a page of the archived index. DynamoDB reads at
// most a megabyte at a time, which has about two thousand jobs.
const archivedPage = 1000

// Paged returns the catalog with pages of n archived jobs.
func (c *Catalog) Paged(n int) *Catalog {
	paged := *c
	paged.page = int32(n)
	return &paged
}

// archivedFields are the attributes that a plan needs. Reading all would cost the same
// and transfer more.
const archivedFields = "job_id, user_id, archive_id, archive_size, retrieval_request_id, retrieval_tier, retrieval_requested_at, " +
	"retrieval_intent, submit_time, job_status, billed_micro_usd, billed_tier, due_at, sweep_nudges, retrieval_plan, " +
	"retrieval_tries, retrieval_failed, retrieval_expired, retrieval_allowed, retrieval_not_before, retrieval_ordered"

// ArchivedPage returns some of the user's jobs with an archive, after cursor in the
// sparse index, and the cursor of the next page. An empty cursor is the beginning or the
// end. The index may lag by seconds. The jobs have the attributes that a plan needs, and
// no file names. A cursor that was not made here is an error of kind Invalid.
func (c *Catalog) ArchivedPage(ctx context.Context, user events.UserID, cursor string) ([]archive.Job, string, error) {
	start, err := archivedStart(cursor, user)
	if err != nil {
		return nil, "", err
	}
	out, err := c.client.Query(ctx, &dynamodb.QueryInput{
		TableName:                 &c.jobs,
		IndexName:                 aws.String(ArchivedIndex),
		KeyConditionExpression:    aws.String("user_id = :u"),
		ExpressionAttributeValues: item{":u": str(string(user))},
		ProjectionExpression:      aws.String(archivedFields),
		Limit:                     &c.page,
		ExclusiveStartKey:         start,
	})
	if err != nil {
		return nil, "", awsfault.Wrap(err, "list archived jobs of user %q", user)
	}
	jobs := make([]archive.Job, len(out.Items))
	for i, it := range out.Items {
		jobs[i] = jobOf(it)
	}
	return jobs, cursorOf(out.LastEvaluatedKey, attrArchiveID), nil
}

// AllArchived yields the jobs of all users with an archive, in no meaningful order, with
// the same attributes as [Catalog.ArchivedPage]. An error ends the sequence.
func (c *Catalog) AllArchived(ctx context.Context) iter.Seq2[archive.Job, error] {
	return func(yield func(archive.Job, error) bool) {
		pages := dynamodb.NewScanPaginator(c.client, &dynamodb.ScanInput{
			TableName:            &c.jobs,
			IndexName:            aws.String(ArchivedIndex),
			ProjectionExpression: aws.String(archivedFields),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(archive.Job{}, awsfault.Wrap(err, "list archived jobs"))
				return
			}
			for _, it := range page.Items {
				if !yield(jobOf(it), nil) {
					return
				}
			}
		}
	}
}

// ArchivedScan returns some jobs of all users with an archive, after cursor, and the
// cursor of the next page. An empty cursor is the beginning or the end. The jobs of one
// user come in a row, with the same attributes as in [Catalog.ArchivedPage]. A cursor
// that was not made here is an error of kind Invalid.
func (c *Catalog) ArchivedScan(ctx context.Context, cursor string) ([]archive.Job, string, error) {
	var start item
	if cursor != "" {
		p, err := positionOf(cursor)
		if err != nil || p.Place == "" || p.User == "" {
			return nil, "", fault.Errorf(fault.Invalid, "the scan's cursor is not one of ours")
		}
		start = item{attrUserID: str(p.User), attrJobID: str(p.Job), attrArchiveID: str(p.Place)}
	}
	out, err := c.client.Scan(ctx, &dynamodb.ScanInput{
		TableName:            &c.jobs,
		IndexName:            aws.String(ArchivedIndex),
		ProjectionExpression: aws.String(archivedFields),
		Limit:                &c.page,
		ExclusiveStartKey:    start,
	})
	if err != nil {
		return nil, "", awsfault.Wrap(err, "list archived jobs")
	}
	jobs := make([]archive.Job, len(out.Items))
	for i, it := range out.Items {
		jobs[i] = jobOf(it)
	}
	if len(out.LastEvaluatedKey) == 0 {
		return jobs, "", nil
	}
	return jobs, encode(position{Job: text(out.LastEvaluatedKey, attrJobID), Place: text(out.LastEvaluatedKey, attrArchiveID), User: text(out.LastEvaluatedKey, attrUserID)}), nil
}

// HasArchived reports whether the user has a job with an archive and without a retrieval.
func (c *Catalog) HasArchived(ctx context.Context, user events.UserID) (bool, error) {
	for cursor := ""; ; {
		jobs, next, err := c.ArchivedPage(ctx, user, cursor)
		if err != nil {
			return false, err
		}
		for _, job := range jobs {
			if job.RetrievalID == "" {
				return true, nil
			}
		}
		if cursor = next; next == "" {
			return false, nil
		}
	}
}

// position is a place in an index, without the user: the user always comes from the
// caller, never from a URL.
type position struct {
	Job    string `json:"j"`
	Submit string `json:"s,omitempty"` // of the user index, a number
	Place  string `json:"a,omitempty"` // of the archived index, an archive's id
	User   string `json:"u,omitempty"` // of a scan over all users, which no URL has
}

// cursorOf returns the cursor for a key at which DynamoDB stopped, in the index that is
// sorted by the attribute. It is empty if DynamoDB did not stop.
func cursorOf(key item, sorted string) string {
	if len(key) == 0 {
		return ""
	}
	p := position{Job: text(key, attrJobID)}
	switch v := key[sorted].(type) {
	case *types.AttributeValueMemberN:
		p.Submit = v.Value
	case *types.AttributeValueMemberS:
		p.Place = v.Value
	}
	return encode(p)
}

func encode(p position) string {
	data, _ := json.Marshal(p) // it has only strings
	return base64.RawURLEncoding.EncodeToString(data)
}

func positionOf(cursor string) (position, error) {
	var p position
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || len(cursor) > 2048 || p.Job == "" || (p.Submit == "") == (p.Place == "") {
		return p, fault.Errorf(fault.Invalid, "the page's cursor is not one of ours")
	}
	return p, nil
}

func archivedStart(cursor string, user events.UserID) (item, error) {
	if cursor == "" {
		return nil, nil
	}
	p, err := positionOf(cursor)
	if err != nil || p.Place == "" {
		return nil, fault.Errorf(fault.Invalid, "the plan's cursor is not one of ours")
	}
	return item{attrUserID: str(string(user)), attrJobID: str(p.Job), attrArchiveID: str(p.Place)}, nil
}

func jobsStart(cursor string, user events.UserID) (item, error) {
	if cursor == "" {
		return nil, nil
	}
	p, err := positionOf(cursor)
	if err != nil || p.Submit == "" {
		return nil, fault.Errorf(fault.Invalid, "the page's cursor is not one of ours")
	}
	return item{attrUserID: str(string(user)), attrJobID: str(p.Job), attrSubmitTime: &types.AttributeValueMemberN{Value: p.Submit}}, nil
}
