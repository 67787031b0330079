// Package dynamodb is the catalog: the annotation jobs and the accounts of
// their users. It is the truth that every other part of the pipeline compares
// itself with; each write says what it expects to find.
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// The indexes of the job table.
const (
	// UserIndex has every job of a user, by the time it was submitted.
	UserIndex = "user_id_index"
	// ArchivedIndex is sparse: it has the jobs with an archive_id alone, so that
	// planning costs what is archived and not what was ever computed.
	ArchivedIndex = "archived_index"
)

// Catalog is the job table and the account table.
type Catalog struct {
	client   *dynamodb.Client
	jobs     string
	accounts string
	page     int32
}

// New returns the catalog in the two tables.
func New(cfg aws.Config, jobs, accounts string) *Catalog {
	return &Catalog{client: dynamodb.NewFromConfig(cfg, verifyAnswers), jobs: jobs, accounts: accounts, page: archivedPage}
}

func jobKey(id events.JobID) item   { return item{attrJobID: str(string(id))} }
func userKey(id events.UserID) item { return item{attrUserID: str(string(id))} }

// Job returns the job as it is now; the error's kind is NotFound if there is none.
func (c *Catalog) Job(ctx context.Context, id events.JobID) (archive.Job, error) {
	it, err := c.get(ctx, c.jobs, jobKey(id), "job", string(id))
	if err != nil {
		return archive.Job{}, err
	}
	return jobOf(it), nil
}

// Account returns the user's account; the error's kind is NotFound if there is none.
func (c *Catalog) Account(ctx context.Context, id events.UserID) (archive.Account, error) {
	it, err := c.get(ctx, c.accounts, userKey(id), "account", string(id))
	if err != nil {
		return archive.Account{}, err
	}
	return accountOf(it), nil
}

// AccountAndJob returns both as they are now, with one call; the error's kind is
// NotFound if there is no such account. Without such a job the one returned is zero.
func (c *Catalog) AccountAndJob(ctx context.Context, user events.UserID, id events.JobID) (archive.Account, archive.Job, error) {
	one := func(key item) types.KeysAndAttributes {
		return types.KeysAndAttributes{Keys: []map[string]types.AttributeValue{key}, ConsistentRead: aws.Bool(true)}
	}
	out, err := c.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{c.accounts: one(userKey(user)), c.jobs: one(jobKey(id))},
	})
	if err != nil {
		return archive.Account{}, archive.Job{}, awsfault.Wrap(tableError(err), "read account %q and job %q", user, id)
	}
	if len(out.UnprocessedKeys) > 0 {
		// One of the tables is throttled: each is asked by itself, as often as the
		// SDK asks.
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
		return nil, awsfault.Wrap(tableError(err), "read %s %q", what, id)
	}
	if out.Item == nil {
		return nil, fault.Errorf(fault.NotFound, "no %s %q", what, id)
	}
	return out.Item, nil
}

// tableError tells a missing table, a mistake of set-up, from a missing item.
func tableError(err error) error {
	if none, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		return fault.New(fault.Denied, none)
	}
	return err
}

// update changes the job under a condition. The error's kind is Conflict if the
// condition does not hold.
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
	_, err := c.client.UpdateItem(ctx, in)
	return awsfault.Wrap(tableError(err), "%s of job %q", what, id)
}

// SaveIntent writes that a retrieval is about to be requested, if the job still
// has its archive, no retrieval, and the intent that job has.
func (c *Catalog) SaveIntent(ctx context.Context, job archive.Job, intent archive.Intent) error {
	condition := "archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND attribute_not_exists(retrieval_intent)"
	values := item{":archive": str(string(job.ArchiveID)), ":intent": intentOf(intent)}
	if job.Intent != nil {
		condition = "archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND retrieval_intent.#t = :old"
		values[":old"] = str(job.Intent.Token)
	}
	return c.update(ctx, "save intent", job.ID, "SET retrieval_intent = :intent", condition, values)
}

// DropIntent removes the intent, if it is still this one. That it is not is no
// error: then there is nothing to drop.
func (c *Catalog) DropIntent(ctx context.Context, job archive.Job, intent archive.Intent) error {
	err := c.update(ctx, "drop intent", job.ID, "REMOVE retrieval_intent",
		"retrieval_intent.#t = :token AND attribute_not_exists(retrieval_request_id)",
		item{":token": str(intent.Token)})
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// SaveRetrieval writes the retrieval's id, tier and time, adds its cost to the
// job's bill, and removes the intent, if the job still has its archive, no
// retrieval, and this intent.
func (c *Catalog) SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error {
	return c.update(ctx, "save retrieval", job.ID,
		"SET retrieval_request_id = :id, retrieval_tier = :tier, retrieval_requested_at = :at, billed_tier = :tier "+
			"ADD billed_micro_usd :cost REMOVE retrieval_intent",
		"archive_id = :archive AND attribute_not_exists(retrieval_request_id) AND retrieval_intent.#t = :token",
		item{
			":id":      str(string(r.ID)),
			":tier":    str(string(r.Tier)),
			":at":      num(r.RequestedAt.UnixMilli()),
			":cost":    num(int64(r.Cost)),
			":archive": str(string(job.ArchiveID)),
			":token":   str(intent.Token),
		})
}

const (
	sameRetrieval = "archive_id = :archive AND retrieval_request_id = :retrieval"
	ours          = "retrieval_intent, retrieval_tier, retrieval_requested_at"
)

func retrievalValues(job archive.Job) item {
	return item{":archive": str(string(job.ArchiveID)), ":retrieval": str(string(job.RetrievalID))}
}

// ClearArchive removes archive_id, retrieval_request_id and what is ours beside
// them, if the job still has this archive and this retrieval: the file is back.
func (c *Catalog) ClearArchive(ctx context.Context, job archive.Job) error {
	return c.update(ctx, "clear archive", job.ID,
		"REMOVE archive_id, retrieval_request_id, archive_size, tree_hash, "+ours, sameRetrieval, retrievalValues(job))
}

// ClearRetrieval removes retrieval_request_id, if the job still has this archive
// and this retrieval: the archive has to be requested again.
func (c *Catalog) ClearRetrieval(ctx context.Context, job archive.Job) error {
	return c.update(ctx, "clear retrieval", job.ID,
		"REMOVE retrieval_request_id, "+ours, sameRetrieval, retrievalValues(job))
}

// EnsureAccount makes the account if there is none; one that is there is left as
// it is.
func (c *Catalog) EnsureAccount(ctx context.Context, a archive.Account) error {
	it := item{attrUserID: str(string(a.ID)), attrRole: str(string(a.Role))}
	if a.Name != "" {
		it[attrName] = str(a.Name)
	}
	if a.Email != "" {
		it[attrEmail] = str(a.Email)
	}
	_, err := c.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &c.accounts, Item: it, ConditionExpression: aws.String("attribute_not_exists(user_id)"),
	})
	err = awsfault.Wrap(tableError(err), "make account %q", a.ID)
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// SetRole gives the user a role. changed is false if the user has it already;
// then the time of the last change stays. The error's kind is NotFound if there
// is no such account.
func (c *Catalog) SetRole(ctx context.Context, id events.UserID, role archive.Role, at time.Time) (changed bool, err error) {
	// Who becomes Premium has an announcement due, as of the same write.
	change := "SET #r = :role, role_changed_at = :at REMOVE announce_due"
	if role == archive.Premium {
		change = "SET #r = :role, role_changed_at = :at, announce_due = :at"
	}
	_, err = c.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           &c.accounts,
		Key:                                 userKey(id),
		UpdateExpression:                    &change,
		ConditionExpression:                 aws.String("attribute_exists(user_id) AND #r <> :role"),
		ExpressionAttributeNames:            map[string]string{"#r": attrRole},
		ExpressionAttributeValues:           item{":role": str(string(role)), ":at": num(at.UnixMilli())},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if len(failed.Item) == 0 {
			return false, fault.Errorf(fault.NotFound, "no account %q", id)
		}
		return false, nil
	}
	return err == nil, awsfault.Wrap(tableError(err), "set role of %q", id)
}

// Announced notes that the upgrade of that time was announced. That another came
// since, or that it was noted before, is no error.
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
	return awsfault.Wrap(tableError(err), "note that the upgrade of %q is announced", id)
}

// Unannounced yields the accounts whose upgrade was not announced as far as is
// known. It reads the whole account table. An error ends it.
func (c *Catalog) Unannounced(ctx context.Context) iter.Seq2[archive.Account, error] {
	return func(yield func(archive.Account, error) bool) {
		pages := dynamodb.NewScanPaginator(c.client, &dynamodb.ScanInput{
			TableName: &c.accounts, FilterExpression: aws.String("attribute_exists(announce_due)"),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(archive.Account{}, awsfault.Wrap(tableError(err), "list upgrades that were not announced"))
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

// AddJob puts a job that is not there yet; the error's kind is Conflict if it is.
// The annotation service writes the jobs; `gas up` writes those of its examples.
func (c *Catalog) AddJob(ctx context.Context, job archive.Job) error {
	_, err := c.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &c.jobs, Item: itemOf(job), ConditionExpression: aws.String("attribute_not_exists(job_id)"),
	})
	return awsfault.Wrap(tableError(err), "add job %q", job.ID)
}

// Check returns an error if a table or index is missing.
func (c *Catalog) Check(ctx context.Context) error {
	jobs, err := c.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &c.jobs})
	if err != nil {
		return awsfault.Wrap(tableError(err), "describe table %s", c.jobs)
	}
	for _, want := range []string{UserIndex, ArchivedIndex} {
		found := false
		for _, have := range jobs.Table.GlobalSecondaryIndexes {
			found = found || aws.ToString(have.IndexName) == want
		}
		if !found {
			return fmt.Errorf("table %s has no index %s", c.jobs, want)
		}
	}
	_, err = c.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &c.accounts})
	return awsfault.Wrap(tableError(err), "describe table %s", c.accounts)
}

// CreateTables makes the two tables with their indexes, where they are missing.
func (c *Catalog) CreateTables(ctx context.Context) error {
	attr := func(name string, t types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: t}
	}
	key := func(hash, sort string) []types.KeySchemaElement {
		ks := []types.KeySchemaElement{{AttributeName: aws.String(hash), KeyType: types.KeyTypeHash}}
		if sort != "" {
			ks = append(ks, types.KeySchemaElement{AttributeName: aws.String(sort), KeyType: types.KeyTypeRange})
		}
		return ks
	}
	index := func(name, sort string) types.GlobalSecondaryIndex {
		return types.GlobalSecondaryIndex{
			IndexName:  aws.String(name),
			KeySchema:  key(attrUserID, sort),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}
	}
	for _, in := range []*dynamodb.CreateTableInput{
		{
			TableName: &c.jobs,
			KeySchema: key(attrJobID, ""),
			AttributeDefinitions: []types.AttributeDefinition{
				attr(attrJobID, types.ScalarAttributeTypeS), attr(attrUserID, types.ScalarAttributeTypeS),
				attr(attrSubmitTime, types.ScalarAttributeTypeN), attr(attrArchiveID, types.ScalarAttributeTypeS),
			},
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{index(UserIndex, attrSubmitTime), index(ArchivedIndex, attrArchiveID)},
			BillingMode:            types.BillingModePayPerRequest,
		},
		{
			TableName:            &c.accounts,
			KeySchema:            key(attrUserID, ""),
			AttributeDefinitions: []types.AttributeDefinition{attr(attrUserID, types.ScalarAttributeTypeS)},
			BillingMode:          types.BillingModePayPerRequest,
		},
	} {
		_, err := c.client.CreateTable(ctx, in)
		if _, exists := errors.AsType[*types.ResourceInUseException](err); exists {
			continue
		}
		if err != nil {
			return awsfault.Wrap(err, "create table %s", *in.TableName)
		}
		waiter := dynamodb.NewTableExistsWaiter(c.client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
		if err := waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: in.TableName}, 5*time.Minute); err != nil {
			return awsfault.Wrap(err, "wait for table %s", *in.TableName)
		}
	}
	return nil
}
