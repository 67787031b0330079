package dynamodb

import (
	"context"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// The calls that erase a user. No service makes them.

// The attributes of the annotation service that only an erasure reads.
const (
	attrInputBucket = "s3_inputs_bucket"
	attrInputKey    = "s3_key_input_file"
)

// Holding is a job with the objects that belong to it.
type Holding struct {
	archive.Job
	// Input is the input file, if the item names it.
	Input archive.Object
}

// HoldingsOf returns up to a hundred jobs as they are now, with their inputs. Missing jobs are
// left out.
func (c *Catalog) HoldingsOf(ctx context.Context, ids []events.JobID) ([]Holding, error) {
	keys := make([]item, len(ids))
	for i, id := range ids {
		keys[i] = jobKey(id)
	}
	var found []Holding
	err := c.batch(ctx, c.jobs, keys, func(it item) {
		found = append(found, Holding{jobOf(it), archive.Object{Bucket: text(it, attrInputBucket), Key: text(it, attrInputKey)}})
	})
	return found, err
}

// Withdraw takes the plan, the announcement, the Premium role, and the name and e-mail address
// from an account that will be erased. So nothing is requested for it any more. The error's kind
// is NotFound if there is no such account.
func (c *Catalog) Withdraw(ctx context.Context, user events.UserID) error {
	_, err := c.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.accounts, Key: userKey(user),
		UpdateExpression:          aws.String("SET #r = :free REMOVE #n, email, announce_due, " + planFields),
		ConditionExpression:       aws.String("attribute_exists(user_id)"),
		ExpressionAttributeNames:  map[string]string{"#r": attrRole, "#n": attrName},
		ExpressionAttributeValues: item{":free": str(string(archive.Free))},
	})
	err = awsfault.Wrap(err, "withdraw the account %q", user)
	if fault.Is(err, fault.Conflict) {
		return fault.Errorf(fault.NotFound, "no account %q", user)
	}
	return err
}

// DeleteJob deletes the job's item, if it still belongs to the user and has no archive, or if its
// archive may stay where it is. Otherwise the error's kind is Conflict. It is no error if there is
// no such item.
func (c *Catalog) DeleteJob(ctx context.Context, user events.UserID, job events.JobID, archiveStays bool) error {
	condition, values := "attribute_not_exists(job_id) OR user_id = :user", item{":user": str(string(user))}
	if !archiveStays {
		condition = "attribute_not_exists(job_id) OR (user_id = :user AND (attribute_not_exists(archive_id) OR attribute_type(archive_id, :null) OR archive_id = :empty))"
		values[":null"], values[":empty"] = str("NULL"), str("")
	}
	_, err := c.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &c.jobs, Key: jobKey(job), ConditionExpression: &condition, ExpressionAttributeValues: values,
	})
	return awsfault.Wrap(err, "delete job %q", job)
}

// DeleteAccount deletes the user's account, if it has no plan. Otherwise the error's kind is
// Conflict. It is no error if there is no such account.
func (c *Catalog) DeleteAccount(ctx context.Context, user events.UserID) error {
	_, err := c.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &c.accounts, Key: userKey(user), ConditionExpression: aws.String("attribute_not_exists(plan_id)"),
	})
	return awsfault.Wrap(err, "delete account %q", user)
}

// Ledger yields the ids of the user's items in the table of plans: closed plans and spending. It
// reads the whole table. An error ends the sequence.
func (c *Catalog) Ledger(ctx context.Context, user events.UserID) iter.Seq2[string, error] {
	token := events.Token(string(user))
	return func(yield func(string, error) bool) {
		pages := dynamodb.NewScanPaginator(c.client, &dynamodb.ScanInput{
			TableName: &c.plans, ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String(attrLedgerID),
			FilterExpression:          aws.String("contains(id, :user)"),
			ExpressionAttributeValues: item{":user": str("." + token)},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", awsfault.Wrap(err, "list the plans and the spending of user %q in table %s", user, c.plans))
				return
			}
			for _, it := range page.Items {
				if id := text(it, attrLedgerID); ledgerOf(id, token) && !yield(id, nil) {
					return
				}
			}
		}
	}
}

// ledgerOf reports whether the item belongs to the user with the token. A token has no dot.
func ledgerOf(id, token string) bool {
	parts := strings.Split(id, ".")
	switch {
	case len(parts) != 3:
		return false
	case parts[0] == "spent": // spent.DAY.USER
		return parts[2] == token
	}
	return (parts[0] == "plan" || parts[0] == "spent-of") && parts[1] == token
}

// DeleteLedger deletes an item that [Catalog.Ledger] named.
func (c *Catalog) DeleteLedger(ctx context.Context, id string) error {
	_, err := c.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &c.plans, Key: planTableKey(id)})
	return awsfault.Wrap(err, "delete item %s of table %s", id, c.plans)
}
