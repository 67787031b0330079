package dynamodb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/middleware"
)

// nameTables makes each error of a call name the table. The SDK's own errors do not, and an
// operator cannot tell from them which of three tables is missing, throttled or denied.
func nameTables(o *dynamodb.Options) {
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("gas:NameTable", nameTable), middleware.Before)
	})
}

func nameTable(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleInitialize(ctx, in)
	if table := tableOf(in.Parameters); err != nil && table != "" {
		err = fmt.Errorf("table %s: %w", table, err)
	}
	return out, meta, err
}

// tableOf returns the table of a request, with the index if it has one; "" for a request that
// another part of this package words itself.
func tableOf(params any) string {
	with := func(table, index *string) string {
		if table == nil {
			return ""
		}
		if index != nil {
			return *table + ", index " + *index
		}
		return *table
	}
	switch in := params.(type) {
	case *dynamodb.GetItemInput:
		return with(in.TableName, nil)
	case *dynamodb.PutItemInput:
		return with(in.TableName, nil)
	case *dynamodb.UpdateItemInput:
		return with(in.TableName, nil)
	case *dynamodb.DeleteItemInput:
		return with(in.TableName, nil)
	case *dynamodb.QueryInput:
		return with(in.TableName, in.IndexName)
	case *dynamodb.ScanInput:
		return with(in.TableName, in.IndexName)
	case *dynamodb.BatchGetItemInput:
		return strings.Join(slices.Sorted(maps.Keys(in.RequestItems)), " and ")
	}
	return ""
}
