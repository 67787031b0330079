package dynamodb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/pkg/events"
)

// Roles returns the roles of up to limit accounts, by user, as other systems wrote them.
// The error's kind is that of the scan.
func (c *Catalog) Roles(ctx context.Context, limit int) (map[events.UserID]archive.Role, error) {
	out, err := c.client.Scan(ctx, &dynamodb.ScanInput{
		TableName: &c.accounts, Limit: aws.Int32(int32(limit)),
		ProjectionExpression:     aws.String(attrUserID + ", #role"),
		ExpressionAttributeNames: map[string]string{"#role": attrRole},
	})
	if err != nil {
		return nil, awsfault.Wrap(err, "read the roles of accounts")
	}
	roles := make(map[events.UserID]archive.Role, len(out.Items))
	for _, it := range out.Items {
		roles[events.UserID(text(it, attrUserID))] = archive.Role(text(it, attrRole))
	}
	return roles, nil
}
