package dynamodb_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

func TestAnIndexCostsWhatIsWrittenThere(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	s.put(table, item{"job_id": sv("j"), "user_id": sv("u"), "submit_time": nv("1"), "archive_id": sv("a")})
	for _, c := range []struct {
		name, change      string
		all, part, others float64
	}{
		{"an attribute outside the index", "SET tier = :v", 1, 0, 1},
		{"the same once more", "SET tier = :v", 0, 0, 1},
		{"what it has beside its keys", "SET retrieval_request_id = :v", 1, 1, 1},
		{"its key", "SET archive_id = :v", 1, 2, 1},
		{"its key, away", "REMOVE archive_id", 1, 1, 1},
		{"the item leaves the index", "REMOVE retrieval_request_id", 1, 0, 1},
		{"its key, back", "SET archive_id = :v", 1, 1, 1},
	} {
		in := &ddb.UpdateItemInput{TableName: &table, Key: item{"job_id": sv("j")}, UpdateExpression: &c.change, ReturnConsumedCapacity: "INDEXES"}
		if slices.Contains([]byte(c.change), ':') {
			in.ExpressionAttributeValues = item{":v": sv("v")}
		}
		got := must[*ddb.UpdateItemOutput](t)(s.UpdateItem(ctx, in)).ConsumedCapacity
		units := func(index string) float64 { return aws.ToFloat64(got.GlobalSecondaryIndexes[index].CapacityUnits) }
		if all, part := units("user_id_index"), units("archived_index"); all != c.all || part != c.part || *got.Table.CapacityUnits != c.others {
			t.Errorf("%s: %v units of the whole index, %v of the other, %v of the table, want %v, %v and %v", c.name, all, part, *got.Table.CapacityUnits, c.all, c.part, c.others)
		}
	}
}

func TestWhatIsLoadedIsThereAndInItsIndexes(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	err := s.service.Load(table, slices.Values([][]byte{
		[]byte(`{"job_id":{"S":"j1"},"user_id":{"S":"u"},"archive_id":{"S":"a1"}}`), []byte(`{"job_id":{"S":"j2"},"user_id":{"S":"u"}}`),
	}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(must[*ddb.ScanOutput](t)(s.Scan(ctx, &ddb.ScanInput{TableName: &table})).Items); n != 2 {
		t.Errorf("the table has %d items, want 2", n)
	}
	if n := len(must[*ddb.ScanOutput](t)(s.Scan(ctx, &ddb.ScanInput{TableName: &table, IndexName: aws.String("archived_index")})).Items); n != 1 {
		t.Errorf("the index has %d items, want 1", n)
	}
	if err := s.service.Load(table, slices.Values([][]byte{[]byte(`{"user_id":{"S":"u"}}`)})); err == nil {
		t.Error("an item without a key is loaded")
	}
}
