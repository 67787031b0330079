package dynamodb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
)

// Billed returns the cost of all retrievals of all jobs, also of files that are back. It
// reads the whole job table: no index has the files that are back.
func (c *Catalog) Billed(ctx context.Context) (archive.MicroUSD, error) {
	var sum archive.MicroUSD
	pages := dynamodb.NewScanPaginator(c.client, &dynamodb.ScanInput{
		TableName:            &c.jobs,
		FilterExpression:     aws.String("attribute_exists(" + attrBilled + ")"),
		ProjectionExpression: aws.String(attrBilled),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, awsfault.Wrap(err, "add up what retrievals cost")
		}
		for _, it := range page.Items {
			billed, _ := number(it, attrBilled)
			sum = sum.Plus(archive.MicroUSD(billed))
		}
	}
	return sum, nil
}
