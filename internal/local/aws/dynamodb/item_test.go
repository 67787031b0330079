package dynamodb_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestAnItemComesBackAsItWasPut(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	want := item{
		"pk": sv("a\"\\\n\x01\u2028é😀<>&"), "empty": sv(""), "n": nv("12.5"), "b": bv("\x00\xff"), "t": boolv(true), "f": boolv(false),
		"null": &types.AttributeValueMemberNULL{Value: true},
		"m":    mv(item{"x": lv(nv("1"), mv(item{"y": sv("z")})), "e": mv(item{})}), "l": lv(),
		"ss": ssv("b", "a"), "ns": nsv("1", "2"), "bs": &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}},
	}
	s.put(*table, want)
	got := s.get(*table, item{"pk": want["pk"]})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAnIndexIsSparseAndPaged(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	for i := range 10 {
		it := item{"job_id": sv(fmt.Sprint("job", i)), "user_id": sv("u"), "submit_time": nv(fmt.Sprint(i * 7))}
		if i%2 == 0 {
			it["archive_id"] = sv(fmt.Sprint("arch", i))
			it["other"] = sv("x")
		}
		s.put(table, it)
	}
	pages := ddb.NewQueryPaginator(s.Client, &ddb.QueryInput{
		TableName: &table, IndexName: aws.String("archived_index"), Limit: aws.Int32(2),
		KeyConditionExpression:    aws.String("user_id = :u"),
		ExpressionAttributeValues: item{":u": sv("u")},
	})
	var got []string
	for pages.HasMorePages() {
		out := must[*ddb.QueryOutput](t)(pages.NextPage(ctx))
		for _, it := range out.Items {
			if len(it) != 3 {
				t.Errorf("the index holds %v, want keys only", it)
			}
			got = append(got, it["job_id"].(*types.AttributeValueMemberS).Value)
		}
	}
	if want := []string{"job0", "job2", "job4", "job6", "job8"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAFailedConditionShowsTheItem(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	s.put(table, item{"job_id": sv("j"), "archive_id": sv("a")})
	_, err := s.UpdateItem(ctx, &ddb.UpdateItemInput{
		TableName: &table, Key: item{"job_id": sv("j")},
		UpdateExpression:                    aws.String("REMOVE archive_id SET retrieval_tier = :t"),
		ConditionExpression:                 aws.String("archive_id = :a AND attribute_not_exists(retrieval_request_id)"),
		ExpressionAttributeValues:           item{":a": sv("b"), ":t": sv("Bulk")},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) || len(failed.Item) != 2 {
		t.Fatalf("got %v with item %v", err, failed)
	}
}
