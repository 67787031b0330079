package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
)

// compared are the attributes that a condition of ours looks at or a change of ours adds
// to, of a job and of an account.
func compared() (job, account []string) {
	job = []string{
		attrArchiveID, attrRetrievalID, attrIntent, attrTier, attrRequestedAt, attrArchiveSize, attrTreeHash, attrBilled, attrBilledTier,
		attrPlanOf, attrTries, attrAllowed, attrNotBefore, attrNudges, attrRestoredBy, attrOrdered,
	}
	for _, f := range archive.Failures() {
		job = append(job, failedAttr(f))
	}
	return job, append(strings.Split(planFields, ", "), attrRoleChangedAt, attrAnnounceDue, attrPlansOpened)
}

// change makes a conditional write. If DynamoDB refuses it because of what the item has
// and not because of what it says (an attribute that is NULL or empty counts as there, a
// time in seconds is not equal to the same time in milliseconds), the item is tidied,
// and the write is made again, once.
func (c *Catalog) change(ctx context.Context, in *dynamodb.UpdateItemInput) error {
	in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	_, err := c.client.UpdateItem(ctx, in)
	var it item
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		it = failed.Item
	} else if refused, ok := errors.AsType[smithy.APIError](err); ok && refused.ErrorCode() == "ValidationException" {
		// A number was added to something that is none.
		out, gerr := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: in.TableName, Key: in.Key, ConsistentRead: aws.Bool(true)})
		if gerr != nil {
			return gerr
		}
		it = out.Item
	}
	tidied, terr := c.tidy(ctx, *in.TableName, in.Key, it)
	if terr != nil || !tidied {
		return errors.Join(err, terr)
	}
	_, err = c.client.UpdateItem(ctx, in)
	return err
}

// tidy writes down what [fields] reads of an item where that is not what a condition
// sees: it removes what says nothing, and turns times of another's into milliseconds.
// Each change is made only where the attribute still is as it was. It reports whether
// something was to be done.
func (c *Catalog) tidy(ctx context.Context, table string, key, it item) (bool, error) {
	job, account := compared()
	look := job
	if table == c.accounts {
		look = account
	}
	var remove, set, conditions []string
	in := &dynamodb.UpdateItemInput{TableName: &table, Key: key, ExpressionAttributeValues: item{}}
	for i, name := range look {
		v, there := it[name]
		if !there {
			continue
		}
		was, now := fmt.Sprintf(":was%d", i), fmt.Sprintf(":now%d", i)
		f := fields{it: it}
		switch {
		case blank(v):
			remove = append(remove, name)
		case name == attrRoleChangedAt && !f.instant(name).IsZero() && !same(v, num(f.instant(name).UnixMilli())):
			set = append(set, name+" = "+now)
			in.ExpressionAttributeValues[now] = num(f.instant(name).UnixMilli())
		default:
			continue
		}
		conditions = append(conditions, name+" = "+was)
		in.ExpressionAttributeValues[was] = v
	}
	if len(conditions) == 0 {
		return false, nil
	}
	var change []string
	if len(set) > 0 {
		change = append(change, "SET "+strings.Join(set, ", "))
	}
	if len(remove) > 0 {
		change = append(change, "REMOVE "+strings.Join(remove, ", "))
	}
	in.UpdateExpression, in.ConditionExpression = aws.String(strings.Join(change, " ")), aws.String(strings.Join(conditions, " AND "))
	_, err := c.client.UpdateItem(ctx, in)
	if _, changed := errors.AsType[*types.ConditionalCheckFailedException](err); changed {
		err = nil // somebody else did, or wrote something that says more
	}
	return err == nil, awsfault.Wrap(tableError(err), "tidy the item %v of table %s", key, table)
}

// same reports whether both are the same number, digit for digit.
func same(a, b types.AttributeValue) bool {
	x, ok := a.(*types.AttributeValueMemberN)
	y, also := b.(*types.AttributeValueMemberN)
	return ok && also && x.Value == y.Value
}
