package dynamodb_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestItemsThatAWSRefusesAreRefused(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	deep := types.AttributeValue(sv("x"))
	for range 33 {
		deep = lv(deep)
	}
	for _, c := range []struct {
		name string
		it   item
		text string
	}{
		{"no key", item{"v": sv("x")}, "Missing the key job_id in the item"},
		{"key type", item{"job_id": nv("1")}, "Type mismatch for key job_id expected: S actual: N"},
		{"empty key", item{"job_id": sv("")}, "The AttributeValue for a key attribute cannot contain an empty string value. Key: job_id"},
		{"long key", item{"job_id": sv(strings.Repeat("x", 2049))}, "Size of hashkey has exceeded the maximum size limit of2048 bytes"},
		{"index key type", item{"job_id": sv("j"), "submit_time": sv("x")}, "Type mismatch for Index Key submit_time Expected: N Actual: S IndexName: user_id_index"},
		{"empty index key", item{"job_id": sv("j"), "archive_id": sv("")}, "IndexName: archived_index, IndexKey: archive_id"},
		{"long index key", item{"job_id": sv("j"), "archive_id": sv(strings.Repeat("x", 1025))}, "rangekey"},
		{"too big", item{"job_id": sv("j"), "v": sv(strings.Repeat("x", 400<<10))}, "Item size has exceeded the maximum allowed size"},
		{"too deep", item{"job_id": sv("j"), "v": deep}, "Nesting Levels have exceeded supported limits"},
		{"39 digits", item{"job_id": sv("j"), "v": nv("123456789012345678901234567890123456789")}, "more than 38 significant digits"},
		{"not a number", item{"job_id": sv("j"), "v": nv("1x")}, "cannot be converted to a numeric value: 1x"},
		{"overflow", item{"job_id": sv("j"), "v": nv("1e126")}, "Number overflow"},
		{"underflow", item{"job_id": sv("j"), "v": nv("1e-131")}, "Number underflow"},
		{"empty set", item{"job_id": sv("j"), "v": ssv()}, "may not be empty"},
		{"set twice", item{"job_id": sv("j"), "v": nsv("1", "1.0")}, "Input collection contains duplicates"},
		{"false null", item{"job_id": sv("j"), "v": &types.AttributeValueMemberNULL{}}, "Null attribute value types must have the value of true"},
		{"no name", item{"job_id": sv("j"), "": sv("x")}, "Attribute name must not be empty"},
	} {
		_, err := s.PutItem(ctx, &ddb.PutItemInput{TableName: &table, Item: c.it})
		if err == nil {
			t.Errorf("%s: taken", c.name)
			continue
		}
		refused(t, err, "ValidationException", c.text)
	}
	s.put(table, item{"job_id": sv("j"), "v": nv("9.99e125"), "w": nv("-1e-130")})
	_, err := s.GetItem(ctx, &ddb.GetItemInput{TableName: &table, Key: item{"job_id": sv("j"), "v": sv("x")}})
	refused(t, err, "ValidationException", "The provided key element does not match the schema")
	_, err = s.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: &table, Key: item{"job_id": sv("j")}, UpdateExpression: aws.String("SET v = v + v")})
	refused(t, err, "ValidationException", "Number overflow")
}

func TestAnUpdateMakesTheItemAndKeepsItsLimits(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	update := func(id, e string, v item) error {
		_, err := s.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: &table, Key: item{"job_id": sv(id)}, UpdateExpression: &e, ExpressionAttributeValues: v})
		return err
	}
	if err := update("new", "ADD attempts :one", item{":one": nv("1")}); err != nil {
		t.Fatal(err)
	}
	if got := s.get(table, item{"job_id": sv("new")}); !reflect.DeepEqual(got, item{"job_id": sv("new"), "attempts": nv("1")}) {
		t.Errorf("got %v", show(got))
	}
	refused(t, update("new", "SET v = :v", item{":v": sv(strings.Repeat("x", 400<<10))}), "ValidationException", "Item size to update has exceeded the maximum allowed size")
	refused(t, update("new", "SET submit_time = :v", item{":v": sv("x")}), "ValidationException", "Type mismatch for Index Key submit_time")
	refused(t, update("new", "SET big = :a + :b", item{":a": nv("1e37"), ":b": nv("0.1")}), "ValidationException", "more than 38 significant digits")
	must[*ddb.UpdateItemOutput](t)(s.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: &table, Key: item{"job_id": sv("bare")}}))
	if got := s.get(table, item{"job_id": sv("bare")}); len(got) != 1 {
		t.Errorf("an update of nothing made %v", show(got))
	}
}

func TestConcurrentIncrementsAllCount(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if _, err := s.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: table, Key: item{"pk": sv("k")}, UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: item{":one": nv("1")}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.get(*table, item{"pk": sv("k")}); !reflect.DeepEqual(got["n"], nv("100")) {
		t.Errorf("got %v", show(got))
	}
}

func TestBatches(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	put := func(ids ...string) error {
		var list []types.WriteRequest
		for _, id := range ids {
			list = append(list, types.WriteRequest{PutRequest: &types.PutRequest{Item: item{"pk": sv(id)}}})
		}
		_, err := s.BatchWriteItem(ctx, &ddb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*table: list}})
		return err
	}
	if err := put("a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	refused(t, put("a", "a"), "ValidationException", "Provided list of item keys contains duplicates")
	refused(t, put("z", ""), "ValidationException", "empty string value")
	var many []string
	for i := range 26 {
		many = append(many, fmt.Sprint("m", i))
	}
	refused(t, put(many...), "ValidationException", "Too many items requested for the BatchWriteItem call")
	must[*ddb.BatchWriteItemOutput](t)(s.BatchWriteItem(ctx, &ddb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*table: {{DeleteRequest: &types.DeleteRequest{Key: item{"pk": sv("b")}}}}}}))
	get := func(ids ...string) (*ddb.BatchGetItemOutput, error) {
		var list []item
		for _, id := range ids {
			list = append(list, item{"pk": sv(id)})
		}
		return s.BatchGetItem(ctx, &ddb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*table: {Keys: list}}})
	}
	if out := must[*ddb.BatchGetItemOutput](t)(get("a", "b", "c", "z")); len(out.Responses[*table]) != 2 || len(out.UnprocessedKeys) != 0 {
		t.Errorf("got %v", out.Responses)
	}
	_, err := get("a", "a")
	refused(t, err, "ValidationException", "Provided list of item keys contains duplicates")
	big := strings.Repeat("x", 390<<10)
	many = nil
	for i := range 50 {
		s.put(*table, item{"pk": sv(fmt.Sprint("big", i)), "v": sv(big)})
		many = append(many, fmt.Sprint("big", i))
	}
	out := must[*ddb.BatchGetItemOutput](t)(get(many...))
	if got, left := len(out.Responses[*table]), len(out.UnprocessedKeys[*table].Keys); got != 42 || left != 8 {
		t.Errorf("of 50 items of 390 KiB: %d come, %d are left", got, left)
	}
}

func TestATransactionDoesAllOrNothing(t *testing.T) {
	s := newStand(t, "")
	table, other := s.plain("things", "S", ""), s.plain("others", "S", "")
	s.put(*table, item{"pk": sv("a"), "v": nv("1")})
	write := func(token string, condition string) error {
		in := &ddb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: other, Item: item{"pk": sv("p")}}},
			{Update: &types.Update{TableName: table, Key: item{"pk": sv("a")}, UpdateExpression: aws.String("ADD v :one"), ConditionExpression: &condition,
				ExpressionAttributeValues: item{":one": nv("1")}, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}},
			{ConditionCheck: &types.ConditionCheck{TableName: table, Key: item{"pk": sv("zz")}, ConditionExpression: aws.String("attribute_not_exists(pk)")}},
			{Delete: &types.Delete{TableName: other, Key: item{"pk": sv("q")}}},
		}}
		if token != "" {
			in.ClientRequestToken = &token
		}
		_, err := s.TransactWriteItems(ctx, in)
		return err
	}
	var cancelled *types.TransactionCanceledException
	if err := write("", "v = :one AND attribute_exists(gone)"); !errors.As(err, &cancelled) {
		t.Fatalf("got %v", err)
	}
	var codes []string
	for _, r := range cancelled.CancellationReasons {
		codes = append(codes, *r.Code)
	}
	if want := []string{"None", "ConditionalCheckFailed", "None", "None"}; !reflect.DeepEqual(codes, want) || len(cancelled.CancellationReasons[1].Item) != 2 {
		t.Errorf("got %v, item %v", codes, cancelled.CancellationReasons[1].Item)
	}
	if got := s.get(*other, item{"pk": sv("p")}); got != nil {
		t.Errorf("a cancelled transaction wrote %v", show(got))
	}
	for range 2 {
		if err := write("token", "v = :one"); err != nil {
			t.Fatalf("with the same token: %v", err)
		}
	}
	if got := s.get(*table, item{"pk": sv("a")}); !reflect.DeepEqual(got["v"], nv("2")) {
		t.Errorf("the same token did it twice: %v", show(got))
	}
	refused(t, write("token", "attribute_exists(pk) AND v <> :one"), "IdempotentParameterMismatchException", "")
	s.world.Clock.Advance(11 * time.Minute)
	if err := write("token", "attribute_exists(pk) AND v <> :one"); err != nil {
		t.Errorf("an old token is remembered: %v", err)
	}
	_, err := s.TransactWriteItems(ctx, &ddb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: other, Item: item{"pk": sv("p")}}}, {Delete: &types.Delete{TableName: other, Key: item{"pk": sv("p")}}},
	}})
	refused(t, err, "ValidationException", "Transaction request cannot include multiple operations on one item")
	out := must[*ddb.TransactGetItemsOutput](t)(s.TransactGetItems(ctx, &ddb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
		{Get: &types.Get{TableName: table, Key: item{"pk": sv("a")}, ProjectionExpression: aws.String("v")}}, {Get: &types.Get{TableName: other, Key: item{"pk": sv("q")}}},
	}}))
	if len(out.Responses) != 2 || !reflect.DeepEqual(out.Responses[0].Item, item{"v": nv("3")}) || out.Responses[1].Item != nil {
		t.Errorf("got %v", out.Responses)
	}
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := newStand(t, dir)
	table := s.catalog()
	want := item{"job_id": sv("j\x00\x01<é>"), "user_id": sv("u"), "archive_id": sv("a"), "b": bv("\xff\x00"), "m": mv(item{"l": lv(nv("1.5"))})}
	s.put(table, want)
	s.put(table, item{"job_id": sv("gone")})
	must[*ddb.DeleteItemOutput](t)(s.DeleteItem(ctx, &ddb.DeleteItemInput{TableName: &table, Key: item{"job_id": sv("gone")}}))
	s.plain("dropped", "S", "")
	s.put("dropped", item{"pk": sv("x")})
	must[*ddb.DeleteTableOutput](t)(s.DeleteTable(ctx, &ddb.DeleteTableInput{TableName: aws.String("dropped")}))
	must[*ddb.TransactWriteItemsOutput](t)(s.TransactWriteItems(ctx, &ddb.TransactWriteItemsInput{ClientRequestToken: aws.String("t"), TransactItems: []types.TransactWriteItem{
		{Update: &types.Update{TableName: &table, Key: item{"job_id": sv("n")}, UpdateExpression: aws.String("ADD v :one"), ExpressionAttributeValues: item{":one": nv("1")}}},
	}}))
	s.close()

	s = newStand(t, dir)
	if got := s.get(table, item{"job_id": want["job_id"]}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", show(got), show(want))
	}
	out := must[*ddb.ScanOutput](t)(s.Scan(ctx, &ddb.ScanInput{TableName: &table, IndexName: aws.String("archived_index")}))
	if out.Count != 1 || len(out.Items[0]) != 3 {
		t.Errorf("the index has %v", out.Items)
	}
	must[*ddb.TransactWriteItemsOutput](t)(s.TransactWriteItems(ctx, &ddb.TransactWriteItemsInput{ClientRequestToken: aws.String("t"), TransactItems: []types.TransactWriteItem{
		{Update: &types.Update{TableName: &table, Key: item{"job_id": sv("n")}, UpdateExpression: aws.String("ADD v :one"), ExpressionAttributeValues: item{":one": nv("1")}}},
	}}))
	if got := s.get(table, item{"job_id": sv("n")}); !reflect.DeepEqual(got["v"], nv("1")) {
		t.Errorf("the token is forgotten: %v", show(got))
	}
	if got := must[*ddb.ListTablesOutput](t)(s.ListTables(ctx, &ddb.ListTablesInput{})).TableNames; !reflect.DeepEqual(got, []string{"jobs"}) {
		t.Errorf("tables %v", got)
	}
}
