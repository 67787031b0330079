package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/aws/awsfault"
)

// index is a sparse or whole index of a table: its keys and what it has beside them.
type index struct {
	name, hash, sort string
	hashType         types.ScalarAttributeType
	sortType         types.ScalarAttributeType
	projection       types.ProjectionType
}

// definition is a table as the pipeline needs it.
type definition struct {
	name, hash string
	indexes    []index
}

// definitions returns the tables. A projection can't be altered later, only replaced,
// see docs/adr/0018-a-plan-is-a-record.md.
func (c *Catalog) definitions() []definition {
	const s, n = types.ScalarAttributeTypeS, types.ScalarAttributeTypeN
	return []definition{
		{c.jobs, attrJobID, []index{
			{UserIndex, attrUserID, attrSubmitTime, s, n, types.ProjectionTypeAll},
			{ArchivedIndex, attrUserID, attrArchiveID, s, s, types.ProjectionTypeAll},
			{DueIndex, attrDueShard, attrDue, n, n, types.ProjectionTypeKeysOnly},
		}},
		{c.accounts, attrUserID, []index{{PlanIndex, attrPlanShard, attrPlanDue, n, n, types.ProjectionTypeKeysOnly}}},
		{c.plans, attrLedgerID, nil},
	}
}

func (ix index) schema() []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: &ix.hash, KeyType: types.KeyTypeHash}, {AttributeName: &ix.sort, KeyType: types.KeyTypeRange},
	}
}

func (ix index) attributes() []types.AttributeDefinition {
	return []types.AttributeDefinition{{AttributeName: &ix.hash, AttributeType: ix.hashType}, {AttributeName: &ix.sort, AttributeType: ix.sortType}}
}

// attributes returns the definitions of all keys, each once.
func (d definition) attributes() []types.AttributeDefinition {
	all := []types.AttributeDefinition{{AttributeName: &d.hash, AttributeType: types.ScalarAttributeTypeS}}
	for _, ix := range d.indexes {
		for _, a := range ix.attributes() {
			if !slices.ContainsFunc(all, func(have types.AttributeDefinition) bool { return *have.AttributeName == *a.AttributeName }) {
				all = append(all, a)
			}
		}
	}
	return all
}

// Check returns an error that names each table and index that is missing.
func (c *Catalog) Check(ctx context.Context) error {
	var errs []error
	for _, d := range c.definitions() {
		table, err := c.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &d.name})
		if err != nil {
			errs = append(errs, awsfault.Wrap(tableError(err), "describe table %s", d.name))
			continue
		}
		for _, want := range d.indexes {
			if !hasIndex(table.Table, want.name) {
				errs = append(errs, fmt.Errorf("table %s has no index %s", d.name, want.name))
			}
		}
	}
	return errors.Join(errs...)
}

func hasIndex(t *types.TableDescription, name string) bool {
	return slices.ContainsFunc(t.GlobalSecondaryIndexes, func(have types.GlobalSecondaryIndexDescription) bool { return aws.ToString(have.IndexName) == name })
}

// tableTime is how long a table or an index may take to be there.
const tableTime = 5 * time.Minute

// CreateTables makes the tables with their indexes, where they are missing. An index
// that is missing from a table is added to it; DynamoDB fills it by itself.
func (c *Catalog) CreateTables(ctx context.Context) error {
	for _, d := range c.definitions() {
		in := &dynamodb.CreateTableInput{
			TableName:            &d.name,
			KeySchema:            []types.KeySchemaElement{{AttributeName: &d.hash, KeyType: types.KeyTypeHash}},
			AttributeDefinitions: d.attributes(),
			BillingMode:          types.BillingModePayPerRequest,
		}
		for _, ix := range d.indexes {
			in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
				IndexName: &ix.name, KeySchema: ix.schema(), Projection: &types.Projection{ProjectionType: ix.projection},
			})
		}
		_, err := c.client.CreateTable(ctx, in)
		if _, exists := errors.AsType[*types.ResourceInUseException](err); exists {
			if err := c.addIndexes(ctx, d); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return awsfault.Wrap(err, "create table %s", d.name)
		}
		if _, err := c.active(ctx, d.name); err != nil {
			return err
		}
	}
	return nil
}

// active waits until the table is there.
func (c *Catalog) active(ctx context.Context, table string) (*types.TableDescription, error) {
	waiter := dynamodb.NewTableExistsWaiter(c.client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	out, err := waiter.WaitForOutput(ctx, &dynamodb.DescribeTableInput{TableName: &table}, tableTime)
	if err != nil {
		return nil, awsfault.Wrap(err, "wait for table %s", table)
	}
	return out.Table, nil
}

// addIndexes adds the indexes that the table lacks, one at a time, as DynamoDB wants.
func (c *Catalog) addIndexes(ctx context.Context, d definition) error {
	for _, ix := range d.indexes {
		table, err := c.active(ctx, d.name)
		if err != nil {
			return err
		}
		if hasIndex(table, ix.name) {
			continue
		}
		_, err = c.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{
			TableName: &d.name, AttributeDefinitions: ix.attributes(),
			GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
				IndexName: &ix.name, KeySchema: ix.schema(), Projection: &types.Projection{ProjectionType: ix.projection},
			}}},
		})
		if err != nil {
			return awsfault.Wrap(err, "add index %s to table %s", ix.name, d.name)
		}
	}
	return nil
}
