package dynamodb

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
)

// Names maps our names of attributes to the names in a table.
type Names map[string]string

// rename makes the client use our names of attributes, and the tables their own. Each
// request and each answer passes here, so no other code must know about it.
func (t Tables) rename(o *dynamodb.Options) {
	by := map[string]Names{}
	for table, n := range map[string]Names{t.Jobs: t.JobNames, t.Accounts: t.AccountNames} {
		if len(n) > 0 {
			by[table] = n
		}
	}
	if len(by) == 0 {
		return
	}
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("gas:RenameAttributes", renamer(by).handle), middleware.After)
	})
}

// renamer has the other names of each table.
type renamer map[string]Names

func (r renamer) handle(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	in.Parameters = r.request(in.Parameters)
	out, meta, err := next.HandleInitialize(ctx, in)
	r.answer(in.Parameters, out.Result)
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if update, ok := in.Parameters.(*dynamodb.UpdateItemInput); ok {
			failed.Item = r[*update.TableName].ours(failed.Item)
		}
	}
	return out, meta, err
}

// request returns the request with the table's names. It does not change the caller's
// request, because a paginator uses that again.
func (r renamer) request(params any) any {
	switch in := params.(type) {
	case *dynamodb.GetItemInput:
		c, n := *in, r[*in.TableName]
		c.Key = n.theirs(c.Key)
		return &c
	case *dynamodb.BatchGetItemInput:
		c := *in
		c.RequestItems = r.keys(c.RequestItems, Names.theirs)
		return &c
	case *dynamodb.PutItemInput:
		c, n := *in, r[*in.TableName]
		c.Item = n.theirs(c.Item)
		c.ExpressionAttributeNames = n.expressions(c.ExpressionAttributeNames, &c.ConditionExpression)
		return &c
	case *dynamodb.UpdateItemInput:
		c, n := *in, r[*in.TableName]
		c.Key = n.theirs(c.Key)
		c.ExpressionAttributeNames = n.expressions(c.ExpressionAttributeNames, &c.UpdateExpression, &c.ConditionExpression)
		return &c
	case *dynamodb.DeleteItemInput:
		c, n := *in, r[*in.TableName]
		c.Key = n.theirs(c.Key)
		c.ExpressionAttributeNames = n.expressions(c.ExpressionAttributeNames, &c.ConditionExpression)
		return &c
	case *dynamodb.QueryInput:
		c, n := *in, r[*in.TableName]
		c.ExclusiveStartKey = n.theirs(c.ExclusiveStartKey)
		c.ExpressionAttributeNames = n.expressions(c.ExpressionAttributeNames, &c.KeyConditionExpression, &c.FilterExpression, &c.ProjectionExpression)
		return &c
	case *dynamodb.ScanInput:
		c, n := *in, r[*in.TableName]
		c.ExclusiveStartKey = n.theirs(c.ExclusiveStartKey)
		c.ExpressionAttributeNames = n.expressions(c.ExpressionAttributeNames, &c.FilterExpression, &c.ProjectionExpression)
		return &c
	case *dynamodb.CreateTableInput:
		c, n := *in, r[*in.TableName]
		c.KeySchema, c.AttributeDefinitions = n.schema(c.KeySchema), n.definitions(c.AttributeDefinitions)
		c.GlobalSecondaryIndexes = slices.Clone(c.GlobalSecondaryIndexes)
		for i := range c.GlobalSecondaryIndexes {
			c.GlobalSecondaryIndexes[i].KeySchema = n.schema(c.GlobalSecondaryIndexes[i].KeySchema)
		}
		return &c
	case *dynamodb.UpdateTableInput:
		c, n := *in, r[*in.TableName]
		c.AttributeDefinitions = n.definitions(c.AttributeDefinitions)
		c.GlobalSecondaryIndexUpdates = slices.Clone(c.GlobalSecondaryIndexUpdates)
		for i, u := range c.GlobalSecondaryIndexUpdates {
			if u.Create != nil {
				create := *u.Create
				create.KeySchema = n.schema(create.KeySchema)
				c.GlobalSecondaryIndexUpdates[i].Create = &create
			}
		}
		return &c
	}
	return params
}

// answer changes an answer to our names.
func (r renamer) answer(params, result any) {
	switch out := result.(type) {
	case *dynamodb.GetItemOutput:
		if in, ok := params.(*dynamodb.GetItemInput); ok && out != nil {
			out.Item = r[*in.TableName].ours(out.Item)
		}
	case *dynamodb.BatchGetItemOutput:
		if out == nil {
			return
		}
		for table, items := range out.Responses {
			r[table].all(items)
		}
		out.UnprocessedKeys = r.keys(out.UnprocessedKeys, Names.ours)
	case *dynamodb.QueryOutput:
		if in, ok := params.(*dynamodb.QueryInput); ok && out != nil {
			n := r[*in.TableName]
			n.all(out.Items)
			out.LastEvaluatedKey = n.ours(out.LastEvaluatedKey)
		}
	case *dynamodb.ScanOutput:
		if in, ok := params.(*dynamodb.ScanInput); ok && out != nil {
			n := r[*in.TableName]
			n.all(out.Items)
			out.LastEvaluatedKey = n.ours(out.LastEvaluatedKey)
		}
	case *dynamodb.DescribeTableOutput:
		in, ok := params.(*dynamodb.DescribeTableInput)
		if !ok || out == nil || out.Table == nil {
			return
		}
		back := r[*in.TableName].reverse()
		out.Table.KeySchema, out.Table.AttributeDefinitions = back.schema(out.Table.KeySchema), back.definitions(out.Table.AttributeDefinitions)
		for i := range out.Table.GlobalSecondaryIndexes {
			out.Table.GlobalSecondaryIndexes[i].KeySchema = back.schema(out.Table.GlobalSecondaryIndexes[i].KeySchema)
		}
	}
}

// keys returns the keys of several tables under other names.
func (r renamer) keys(requests map[string]types.KeysAndAttributes, to func(Names, item) item) map[string]types.KeysAndAttributes {
	renamed := make(map[string]types.KeysAndAttributes, len(requests))
	for table, k := range requests {
		n, was := r[table], k.Keys
		k.Keys = make([]map[string]types.AttributeValue, len(was))
		for i, key := range was {
			k.Keys[i] = to(n, key)
		}
		renamed[table] = k
	}
	return renamed
}

// theirs returns the item with the table's names.
func (n Names) theirs(it item) item {
	if len(n) == 0 || it == nil {
		return it
	}
	renamed := make(item, len(it))
	for name, v := range it {
		if theirs := n[name]; theirs != "" {
			name = theirs
		}
		renamed[name] = v
	}
	return renamed
}

// ours returns the item with our names. If the table uses one of our names for something
// else, that attribute is left out.
func (n Names) ours(it item) item {
	if len(n) == 0 || it == nil {
		return it
	}
	renamed, back := make(item, len(it)), n.reverse()
	for name, v := range it {
		if ours := back[name]; ours != "" {
			renamed[ours] = v
		} else if n[name] == "" {
			renamed[name] = v
		}
	}
	return renamed
}

func (n Names) all(items []map[string]types.AttributeValue) {
	for i := range items {
		items[i] = n.ours(items[i])
	}
}

func (n Names) reverse() Names {
	back := make(Names, len(n))
	for ours, theirs := range n {
		back[theirs] = ours
	}
	return back
}

// word finds the possible names of attributes in an expression. It also finds values and
// placeholders, which are no names.
var word = regexp.MustCompile(`[:#]?[A-Za-z_][A-Za-z0-9_]*`)

// expressions replaces each attribute that has another name in the table with a
// placeholder, because that name may be a reserved word or contain a dot. It returns the
// new placeholders together with the caller's.
func (n Names) expressions(names map[string]string, expressions ...**string) map[string]string {
	all := map[string]string{}
	for placeholder, name := range names {
		if theirs := n[name]; theirs != "" {
			name = theirs
		}
		all[placeholder] = name
	}
	for _, e := range expressions {
		if *e == nil {
			continue
		}
		renamed := word.ReplaceAllStringFunc(**e, func(w string) string {
			if n[w] == "" {
				return w
			}
			all["#their_"+w] = n[w]
			return "#their_" + w
		})
		*e = &renamed
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (n Names) schema(keys []types.KeySchemaElement) []types.KeySchemaElement {
	keys = slices.Clone(keys)
	for i, k := range keys {
		if theirs := n[*k.AttributeName]; theirs != "" {
			keys[i].AttributeName = &theirs
		}
	}
	return keys
}

func (n Names) definitions(attributes []types.AttributeDefinition) []types.AttributeDefinition {
	attributes = slices.Clone(attributes)
	for i, a := range attributes {
		if theirs := n[*a.AttributeName]; theirs != "" {
			attributes[i].AttributeName = &theirs
		}
	}
	return attributes
}
