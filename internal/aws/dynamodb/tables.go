package dynamodb

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
)

// definitions returns the tables that the pipeline needs.
func (c *Catalog) definitions() []estate.Table {
	return estate.Tables(estate.Names{Jobs: c.jobs, Accounts: c.accounts, Plans: c.plans})
}

func schema(ix estate.Index) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: &ix.Hash.Name, KeyType: types.KeyTypeHash}, {AttributeName: &ix.Sort.Name, KeyType: types.KeyTypeRange},
	}
}

func projection(ix estate.Index) *types.Projection {
	return &types.Projection{ProjectionType: types.ProjectionType(ix.Projection)}
}

// attributes returns the definitions of keys, each once.
func attributes(keys ...estate.Attribute) []types.AttributeDefinition {
	var all []types.AttributeDefinition
	for i, k := range keys {
		if !slices.Contains(keys[:i], k) {
			all = append(all, types.AttributeDefinition{AttributeName: &k.Name, AttributeType: types.ScalarAttributeType(k.Type)})
		}
	}
	return all
}

func keysOf(t estate.Table) []estate.Attribute {
	all := []estate.Attribute{t.Hash}
	for _, ix := range t.Indexes {
		all = append(all, ix.Hash, ix.Sort)
	}
	return all
}

// Look returns the table as it is, nil if there is none.
func (c *Catalog) Look(ctx context.Context, table string) (*estate.FoundTable, error) {
	out, err := c.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if _, none := errors.AsType[*types.ResourceNotFoundException](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, awsfault.Wrap(err, "describe table %s", table)
	}
	kinds := map[string]string{}
	for _, a := range out.Table.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = string(a.AttributeType)
	}
	keys := func(schema []types.KeySchemaElement) (hash, sort estate.Attribute) {
		for _, k := range schema {
			a := estate.Attribute{Name: aws.ToString(k.AttributeName), Type: kinds[aws.ToString(k.AttributeName)]}
			if k.KeyType == types.KeyTypeHash {
				hash = a
			} else {
				sort = a
			}
		}
		return hash, sort
	}
	found := &estate.FoundTable{Status: string(out.Table.TableStatus)}
	found.Hash, found.Sort = keys(out.Table.KeySchema)
	for _, ix := range out.Table.GlobalSecondaryIndexes {
		f := estate.FoundIndex{Status: string(ix.IndexStatus), Backfilling: aws.ToBool(ix.Backfilling)}
		f.Name = aws.ToString(ix.IndexName)
		f.Hash, f.Sort = keys(ix.KeySchema)
		if ix.Projection != nil {
			f.Projection = string(ix.Projection.ProjectionType)
		}
		found.Indexes = append(found.Indexes, f)
	}
	return found, nil
}

func hasIndex(t *types.TableDescription, name string) bool {
	return slices.ContainsFunc(t.GlobalSecondaryIndexes, func(have types.GlobalSecondaryIndexDescription) bool { return aws.ToString(have.IndexName) == name })
}

// tableTime is how long the creation of a table or an index may take.
const tableTime = 5 * time.Minute

// CreateTables makes the missing tables and indexes. DynamoDB fills a new index itself.
func (c *Catalog) CreateTables(ctx context.Context) error {
	for _, d := range c.definitions() {
		if err := c.Make(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// Make makes one table with its indexes, in the same way as [Catalog.CreateTables].
func (c *Catalog) Make(ctx context.Context, d estate.Table) error {
	in := &dynamodb.CreateTableInput{
		TableName:            &d.Name,
		KeySchema:            []types.KeySchemaElement{{AttributeName: &d.Hash.Name, KeyType: types.KeyTypeHash}},
		AttributeDefinitions: attributes(keysOf(d)...),
		BillingMode:          types.BillingModePayPerRequest,
	}
	for _, ix := range d.Indexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &ix.Name, KeySchema: schema(ix), Projection: projection(ix),
		})
	}
	_, err := c.client.CreateTable(ctx, in)
	if _, exists := errors.AsType[*types.ResourceInUseException](err); exists {
		return c.addIndexes(ctx, d)
	}
	if err != nil {
		return awsfault.Wrap(err, "create table %s", d.Name)
	}
	_, err = c.active(ctx, d.Name)
	return err
}

// Recoverable reports whether point-in-time recovery of the table is on.
func (c *Catalog) Recoverable(ctx context.Context, table string) (bool, error) {
	out, err := c.client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &table})
	if err != nil {
		return false, awsfault.Wrap(err, "look at the backups of table %s", table)
	}
	d := out.ContinuousBackupsDescription
	return d != nil && d.PointInTimeRecoveryDescription != nil && d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled, nil
}

// MakeRecoverable turns on point-in-time recovery of the table.
func (c *Catalog) MakeRecoverable(ctx context.Context, table string) error {
	_, err := c.client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
		TableName: &table, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
	})
	return awsfault.Wrap(err, "turn on point-in-time recovery of table %s", table)
}

// active waits until the table is ready.
func (c *Catalog) active(ctx context.Context, table string) (*types.TableDescription, error) {
	waiter := dynamodb.NewTableExistsWaiter(c.client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	out, err := waiter.WaitForOutput(ctx, &dynamodb.DescribeTableInput{TableName: &table}, tableTime)
	if err != nil {
		return nil, awsfault.Wrap(err, "wait for table %s", table)
	}
	return out.Table, nil
}

// addIndexes adds the missing indexes of a table, one at a time, because DynamoDB allows
// no more.
func (c *Catalog) addIndexes(ctx context.Context, d estate.Table) error {
	for _, ix := range d.Indexes {
		table, err := c.active(ctx, d.Name)
		if err != nil {
			return err
		}
		if hasIndex(table, ix.Name) {
			continue
		}
		_, err = c.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{
			TableName: &d.Name, AttributeDefinitions: attributes(ix.Hash, ix.Sort),
			GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
				IndexName: &ix.Name, KeySchema: schema(ix), Projection: projection(ix),
			}}},
		})
		if err != nil {
			return awsfault.Wrap(err, "add index %s to table %s", ix.Name, d.Name)
		}
	}
	return nil
}
