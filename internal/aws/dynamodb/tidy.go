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

// compared returns the attributes of a job and of an account that our conditions compare
// or our changes add to.
func compared() (job, account []string) {
	job = []string{
		attrArchiveID, attrRetrievalID, attrIntent, attrTier, attrRequestedAt, attrArchiveSize, attrTreeHash, attrBilled, attrBilledTier,
		attrPlanOf, attrTries, attrAllowed, attrNotBefore, attrNudges, attrRestoredBy, attrResultSize, attrOrdered,
	}
	for _, f := range archive.Failures() {
		job = append(job, failedAttr(f))
	}
	return job, append(strings.Split(planFields, ", "), attrRoleChangedAt, attrAnnounceDue, attrPlansOpened)
}

// change makes a conditional write. DynamoDB may refuse it only because of the form of an
// attribute: a NULL or empty attribute counts as present, and a time in seconds differs
// from the same time in milliseconds. Then change tidies the item and makes the write
// once more.
func (c *Catalog) change(ctx context.Context, in *dynamodb.UpdateItemInput) error {
	in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	_, err := c.client.UpdateItem(ctx, in)
	var it item
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		it = failed.Item
	} else if refused, ok := errors.AsType[smithy.APIError](err); ok && refused.ErrorCode() == "ValidationException" {
		// A number was added to something that is no number.
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

// tidy writes an item's attributes in the form in which [fields] reads them: it removes
// attributes without content, and changes times of other programs to milliseconds. Each
// change has the condition that the attribute is still as it was. It reports whether
// there was something to do.
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
		err = nil // somebody else did this, or wrote something better
	}
	return err == nil, awsfault.Wrap(err, "tidy the item %v of table %s", key, table)
}

// same reports whether both are the same number with the same digits.
func same(a, b types.AttributeValue) bool {
	x, ok := a.(*types.AttributeValueMemberN)
	y, also := b.(*types.AttributeValueMemberN)
	return ok && also && x.Value == y.Value
}
