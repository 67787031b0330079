// Package dynamodb is the catalog in DynamoDB: the annotation jobs, the accounts of their
// users, plans, budgets and pauses. The rest of the pipeline believes the catalog. Each
// write has a condition with what it expects, so two workers cannot overwrite each other;
// a failed condition is an error of kind Conflict. Items may come from other programs:
// fields.go and tidy.go say how they are read.
package dynamodb

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// The indexes of the job table.
const (
	// UserIndex has every job of a user, sorted by the time of submission.
	UserIndex = estate.UserIndex
	// ArchivedIndex is sparse: it has only the jobs with an archive_id. So the cost of
	// planning grows with the archives, and not with all jobs ever computed.
	ArchivedIndex = estate.ArchivedIndex
	// DueIndex is sparse: it has the jobs with a request or a retrieval under way, sorted
	// by the time when there should be news.
	DueIndex = estate.DueIndex
	// PlanIndex, of the account table, is sparse: it has the accounts with a plan, sorted
	// by the time of the plan's next check.
	PlanIndex = estate.PlanIndex
)

// Tables are the names of the catalog's tables: jobs, accounts, and plans. The table of
// plans also has the spending and the pauses.
type Tables struct {
	Jobs, Accounts, Plans string
	// JobNames and AccountNames are for tables with other attribute names. Each maps our
	// name to the table's.
	JobNames, AccountNames Names
}

// Catalog is the three tables.
type Catalog struct {
	client   *dynamodb.Client
	jobs     string
	accounts string
	plans    string
	page     int32
}

// New returns the catalog in these tables.
func New(cfg aws.Config, t Tables) *Catalog {
	return &Catalog{client: dynamodb.NewFromConfig(cfg, verifyAnswers, t.rename, nameTables), jobs: t.Jobs, accounts: t.Accounts, plans: t.Plans, page: archivedPage}
}

func jobKey(id events.JobID) item   { return item{attrJobID: str(string(id))} }
func userKey(id events.UserID) item { return item{attrUserID: str(string(id))} }

// Job returns the job as it is now. The error's kind is NotFound if there is none.
func (c *Catalog) Job(ctx context.Context, id events.JobID) (archive.Job, error) {
	it, err := c.get(ctx, c.jobs, jobKey(id), "job", string(id))
	if err != nil {
		return archive.Job{}, err
	}
	return jobOf(it), nil
}

// Account returns the user's account. The error's kind is NotFound if there is none.
func (c *Catalog) Account(ctx context.Context, id events.UserID) (archive.Account, error) {
	it, err := c.get(ctx, c.accounts, userKey(id), "account", string(id))
	if err != nil {
		return archive.Account{}, err
	}
	return accountOf(it), nil
}

// AccountAndJob returns both as they are now, with one call. The error's kind is NotFound
// if there is no such account. If there is no such job, the job is zero.
func (c *Catalog) AccountAndJob(ctx context.Context, user events.UserID, id events.JobID) (archive.Account, archive.Job, error) {
	one := func(key item) types.KeysAndAttributes {
		return types.KeysAndAttributes{Keys: []map[string]types.AttributeValue{key}, ConsistentRead: aws.Bool(true)}
	}
	out, err := c.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{c.accounts: one(userKey(user)), c.jobs: one(jobKey(id))},
	})
	if err != nil {
		return archive.Account{}, archive.Job{}, awsfault.Wrap(err, "read account %q and job %q", user, id)
	}
	if len(out.UnprocessedKeys) > 0 {
		// One of the tables is throttled. Each is read alone, with the SDK's tries.
		account, err := c.Account(ctx, user)
		if err != nil {
			return archive.Account{}, archive.Job{}, err
		}
		job, err := c.Job(ctx, id)
		if fault.Is(err, fault.NotFound) {
			err = nil
		}
		return account, job, err
	}
	accounts, jobs := out.Responses[c.accounts], out.Responses[c.jobs]
	if len(accounts) == 0 {
		return archive.Account{}, archive.Job{}, fault.Errorf(fault.NotFound, "no account %q", user)
	}
	if len(jobs) == 0 {
		return accountOf(accounts[0]), archive.Job{}, nil
	}
	return accountOf(accounts[0]), jobOf(jobs[0]), nil
}

func (c *Catalog) get(ctx context.Context, table string, key item, what, id string) (item, error) {
	out, err := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, awsfault.Wrap(err, "read %s %q", what, id)
	}
	if out.Item == nil {
		return nil, fault.Errorf(fault.NotFound, "no %s %q", what, id)
	}
	return out.Item, nil
}

// update changes the job under a condition. The error's kind is Conflict if the condition
// does not hold.
func (c *Catalog) update(ctx context.Context, what string, id events.JobID, expression, condition string, values item) error {
	in := &dynamodb.UpdateItemInput{
		TableName:                 &c.jobs,
		Key:                       jobKey(id),
		UpdateExpression:          &expression,
		ConditionExpression:       &condition,
		ExpressionAttributeValues: values,
	}
	if strings.Contains(condition, "#t") {
		in.ExpressionAttributeNames = map[string]string{"#t": "token"} // a reserved word
	}
	return awsfault.Wrap(c.change(ctx, in), "%s of job %q", what, id)
}

// EnsureAccount makes the account if there is none. It does not change an existing one.
func (c *Catalog) EnsureAccount(ctx context.Context, a archive.Account) error {
	err := c.addAccount(ctx, a)
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// Announced records that the upgrade of that time was announced. It is no error if
// another upgrade came since, or if this was recorded before.
func (c *Catalog) Announced(ctx context.Context, id events.UserID, due time.Time) error {
	_, err := c.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                 &c.accounts,
		Key:                       userKey(id),
		UpdateExpression:          aws.String("REMOVE announce_due"),
		ConditionExpression:       aws.String("announce_due = :due"),
		ExpressionAttributeValues: item{":due": num(due.UnixMilli())},
	})
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return nil
	}
	return awsfault.Wrap(err, "note that the upgrade of %q is announced", id)
}

// Unannounced yields the accounts with an upgrade that has no recorded announcement. It
// reads the whole account table. An error ends the sequence.
func (c *Catalog) Unannounced(ctx context.Context) iter.Seq2[archive.Account, error] {
	return func(yield func(archive.Account, error) bool) {
		pages := dynamodb.NewScanPaginator(c.client, &dynamodb.ScanInput{
			TableName: &c.accounts, FilterExpression: aws.String("attribute_exists(announce_due)"),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(archive.Account{}, awsfault.Wrap(err, "list upgrades that were not announced"))
				return
			}
			for _, it := range page.Items {
				if !yield(accountOf(it), nil) {
					return
				}
			}
		}
	}
}

// AddJob puts a new job. The error's kind is Conflict if the job exists. The annotation
// service writes the jobs; `gas up` uses AddJob for its examples.
func (c *Catalog) AddJob(ctx context.Context, job archive.Job) error {
	_, err := c.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &c.jobs, Item: itemOf(job), ConditionExpression: aws.String("attribute_not_exists(job_id)"),
	})
	return awsfault.Wrap(err, "add job %q", job.ID)
}
