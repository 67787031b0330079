package contract

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type item = map[string]types.AttributeValue

func str(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func num(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }

func (r *run) dynamodb(ctx context.Context) error {
	c := dynamodb.NewFromConfig(r.Config)
	table, index := r.name("jobs"), aws.String("archived_index")
	none, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	_, _ = ask(r, "dynamodb: describe a table that is not there", "", none, err)
	in := &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("job_id"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("job_id"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("user_id"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("archive_id"), AttributeType: types.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: index, Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"archive_size"}},
			KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("user_id"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("archive_id"), KeyType: types.KeyTypeRange}},
		}},
	}
	if r.Tags {
		in.Tags = []types.Tag{{Key: aws.String(Tag), Value: aws.String("yes")}}
	}
	made, err := c.CreateTable(ctx, in)
	if _, err := ask(r, "dynamodb: make a table", "TableDescription TableName TableStatus KeySchema AttributeName KeyType", made, err); err != nil {
		return err
	}
	if err := dynamodb.NewTableExistsWaiter(c, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, 2*time.Second
	}).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &table}, 3*time.Minute); err != nil {
		return err
	}
	again, err := c.CreateTable(ctx, in)
	_, _ = ask(r, "dynamodb: make a table again", "", again, err)
	look, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	_, _ = ask(r, "dynamodb: describe a table", "Table TableStatus BillingModeSummary BillingMode KeySchema AttributeName KeyType GlobalSecondaryIndexes IndexName IndexStatus Projection ProjectionType NonKeyAttributes", look, err)
	backups, err := c.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &table})
	_, _ = ask(r, "dynamodb: describe the backups", "ContinuousBackupsDescription PointInTimeRecoveryDescription PointInTimeRecoveryStatus", backups, err)
	r.items(ctx, c, table)
	r.lists(ctx, c, table, index)
	return nil
}

// items has reads and conditional writes of single items.
func (r *run) items(ctx context.Context, c *dynamodb.Client, table string) {
	const values = "Item job_id archive_id retrieval_request_id odd Value"
	key := func(id string) item { return item{"job_id": str(id)} }
	put := func(step, condition string, it item) {
		in := &dynamodb.PutItemInput{TableName: &table, Item: it}
		if condition != "" {
			in.ConditionExpression = &condition
		}
		out, err := c.PutItem(ctx, in)
		_, _ = ask(r, "dynamodb: "+step, "", out, err)
	}
	get := func(step, table string, key item) {
		out, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
		_, _ = ask(r, "dynamodb: "+step, "Item job_id user_id archive_id archive_size billed odd Value", out, err)
	}
	update := func(step, change, condition string, v item) {
		in := &dynamodb.UpdateItemInput{TableName: &table, Key: key("one"), UpdateExpression: &change, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
		if condition != "" {
			in.ConditionExpression = &condition
		}
		if len(v) > 0 {
			in.ExpressionAttributeValues = v
		}
		out, err := c.UpdateItem(ctx, in)
		_, _ = ask(r, "dynamodb: "+step, values, out, err)
	}
	put("put an item if it is new", "attribute_not_exists(job_id)", item{"job_id": str("one"), "user_id": str("fern"), "archive_id": str("a1"), "archive_size": num("7"), "odd": &types.AttributeValueMemberNULL{Value: true}})
	put("put an item that is not new", "attribute_not_exists(job_id)", item{"job_id": str("one")})
	put("put an empty key", "", item{"job_id": str("")})
	put("put an item with an empty string in an index", "", item{"job_id": str("empty"), "user_id": str("fern"), "archive_id": str("")})
	// A server that takes it must not list it later.
	_, _ = c.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: key("empty")})
	get("get an item", table, key("one"))
	get("get an item that is not there", table, key("none"))
	get("get an item by what is no key", table, item{"user_id": str("fern")})
	get("get an item of a table that is not there", r.name("no-such-table"), key("one"))
	update("set under a condition", "SET retrieval_request_id = :r", "archive_id = :a AND attribute_not_exists(retrieval_request_id)", item{":r": str("r1"), ":a": str("a1")})
	update("set under the same condition", "SET retrieval_request_id = :r", "archive_id = :a AND attribute_not_exists(retrieval_request_id)", item{":r": str("r2"), ":a": str("a1")})
	update("a NULL is there", "SET odd = :r", "attribute_not_exists(odd)", item{":r": str("x")})
	update("add to what is not there", "ADD billed :n", "", item{":n": num("10000")})
	update("add to a string", "ADD user_id :n", "", item{":n": num("1")})
	update("a value that is not used", "REMOVE nothing", "", item{":n": num("1")})
	update("a word that is reserved", "SET role = :r", "", item{":r": str("x")})
	update("remove", "REMOVE retrieval_request_id, nothing", "", nil)
	get("get what was changed", table, key("one"))
	batch, err := c.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: {Keys: []map[string]types.AttributeValue{key("one"), key("none")}, ConsistentRead: aws.Bool(true)}}})
	if err == nil && len(batch.Responses[table]) == 1 {
		// The name of the table is that of the run.
		batch.Responses = map[string][]map[string]types.AttributeValue{"jobs": batch.Responses[table]}
	}
	_, _ = ask(r, "dynamodb: get two items and find one", "Responses jobs job_id Value UnprocessedKeys", batch, err)
	twice, err := c.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: {Keys: []map[string]types.AttributeValue{key("one"), key("one")}}}})
	_, _ = ask(r, "dynamodb: get an item twice", "", twice, err)
}

// lists has the sparse index.
func (r *run) lists(ctx context.Context, c *dynamodb.Client, table string, index *string) {
	for _, it := range []item{
		{"job_id": str("two"), "user_id": str("fern"), "archive_id": str("a2"), "archive_size": num("8"), "input_file_name": str("b.vcf")},
		{"job_id": str("three"), "user_id": str("fern")}, // not archived: not in the index
		{"job_id": str("four"), "user_id": str("moss"), "archive_id": str("a4")},
	} {
		out, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: it})
		_, _ = ask(r, "dynamodb: put "+it["job_id"].(*types.AttributeValueMemberS).Value, "", out, err)
	}
	const listed = "Count ScannedCount Items job_id user_id archive_id archive_size input_file_name Value LastEvaluatedKey"
	query := func(limit int32) (*dynamodb.QueryOutput, error) {
		return c.Query(ctx, &dynamodb.QueryInput{TableName: &table, IndexName: index, Limit: &limit, KeyConditionExpression: aws.String("user_id = :u"), ExpressionAttributeValues: item{":u": str("fern")}})
	}
	scan := func(limit int32) (*dynamodb.ScanOutput, error) {
		return c.Scan(ctx, &dynamodb.ScanInput{TableName: &table, IndexName: index, Limit: &limit, ProjectionExpression: aws.String("job_id, archive_size")})
	}
	// An index follows its table.
	until(ctx, func() bool { out, err := query(10); return err != nil || out.Count >= 2 })
	until(ctx, func() bool { out, err := scan(10); return err != nil || out.Count >= 3 })
	q, err := query(10)
	_, _ = ask(r, "dynamodb: query the index", listed, q, err)
	q, err = query(1)
	_, _ = ask(r, "dynamodb: a page of a query", listed, q, err)
	s, err := scan(10)
	_, _ = ask(r, "dynamodb: scan the index", "Count ScannedCount", s, err)
	s, err = scan(1)
	_, _ = ask(r, "dynamodb: a page of a scan", "Count ScannedCount", s, err)
	consistent, err := c.Query(ctx, &dynamodb.QueryInput{TableName: &table, IndexName: index, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("user_id = :u"), ExpressionAttributeValues: item{":u": str("fern")}})
	_, _ = ask(r, "dynamodb: a consistent query of an index", "", consistent, err)
	unknown, err := c.Query(ctx, &dynamodb.QueryInput{TableName: &table, IndexName: aws.String("no_such_index"), KeyConditionExpression: aws.String("user_id = :u"), ExpressionAttributeValues: item{":u": str("fern")}})
	_, _ = ask(r, "dynamodb: query an index that is not there", "", unknown, err)
}
