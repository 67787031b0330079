package dynamodb

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

func TestACallOfTablesWithOurNamesHasNoStepThatRenames(t *testing.T) {
	for want, tables := range [][]Tables{
		{{Jobs: "j", Accounts: "a"}, {Jobs: "j", Accounts: "a", JobNames: Names{}, AccountNames: Names{}}},
		{{Jobs: "j", Accounts: "a", JobNames: Names{"x": "y"}}, {Jobs: "j", Accounts: "a", AccountNames: Names{"x": "y"}}},
	} {
		for _, tt := range tables {
			var o dynamodb.Options
			if tt.rename(&o); len(o.APIOptions) != want {
				t.Errorf("%+v has %d steps that rename, want %d", tt, len(o.APIOptions), want)
			}
		}
	}
}

// TestAnAnswerThatDoesNotFitItsRequestStaysAsItIs gives the step that renames answers of
// nothing, and answers to other requests.
func TestAnAnswerThatDoesNotFitItsRequestStaysAsItIs(t *testing.T) {
	r := renamer{"jobs": Names{"ours": "theirs"}}
	table := aws.String("jobs")
	for name, c := range map[string]struct{ params, result any }{
		"no item":                  {&dynamodb.GetItemInput{TableName: table}, (*dynamodb.GetItemOutput)(nil)},
		"no items of a batch":      {&dynamodb.BatchGetItemInput{}, (*dynamodb.BatchGetItemOutput)(nil)},
		"no items of a query":      {&dynamodb.QueryInput{TableName: table}, (*dynamodb.QueryOutput)(nil)},
		"no items of a scan":       {&dynamodb.ScanInput{TableName: table}, (*dynamodb.ScanOutput)(nil)},
		"no description":           {&dynamodb.DescribeTableInput{TableName: table}, (*dynamodb.DescribeTableOutput)(nil)},
		"a description of nothing": {&dynamodb.DescribeTableInput{TableName: table}, &dynamodb.DescribeTableOutput{}},
		"nothing":                  {&dynamodb.GetItemInput{TableName: table}, nil},
		"another item":             {&dynamodb.PutItemInput{TableName: table}, &dynamodb.GetItemOutput{Item: item{"theirs": str("x")}}},
		"items of another query":   {&dynamodb.ScanInput{TableName: table}, &dynamodb.QueryOutput{Items: []map[string]types.AttributeValue{{"theirs": str("x")}}}},
		"items of another scan":    {&dynamodb.QueryInput{TableName: table}, &dynamodb.ScanOutput{Items: []map[string]types.AttributeValue{{"theirs": str("x")}}}},
		"another description": {&dynamodb.GetItemInput{TableName: table}, &dynamodb.DescribeTableOutput{Table: &types.TableDescription{
			KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("theirs")}},
		}}},
	} {
		was := fmt.Sprintf("%+v", c.result)
		if d, ok := c.result.(*dynamodb.DescribeTableOutput); ok && d != nil && d.Table != nil {
			was = *d.Table.KeySchema[0].AttributeName
		}
		r.answer(c.params, c.result)
		now := fmt.Sprintf("%+v", c.result)
		if d, ok := c.result.(*dynamodb.DescribeTableOutput); ok && d != nil && d.Table != nil {
			now = *d.Table.KeySchema[0].AttributeName
		}
		if now != was {
			t.Errorf("%s became %s, was %s", name, now, was)
		}
	}
}

// TestARequestStaysAsItsCallerMadeIt: a paginator uses a request again.
func TestARequestStaysAsItsCallerMadeIt(t *testing.T) {
	r := renamer{"jobs": Names{"ours": "theirs"}}
	name := func(params any) string {
		in := params.(*dynamodb.UpdateTableInput)
		return *in.AttributeDefinitions[0].AttributeName + " " + *in.GlobalSecondaryIndexUpdates[1].Create.KeySchema[0].AttributeName
	}
	in := &dynamodb.UpdateTableInput{
		TableName: aws.String("jobs"), AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("ours")}},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{
			{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String("old")}},
			{Create: &types.CreateGlobalSecondaryIndexAction{KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("ours")}}}},
		},
	}
	if got := name(r.request(in)); got != "theirs theirs" || name(in) != "ours ours" {
		t.Errorf("it sends %s, and the caller has %s", got, name(in))
	}
	del := &dynamodb.DeleteItemInput{TableName: aws.String("jobs"), Key: item{"ours": str("x")}, ConditionExpression: aws.String("ours = :x")}
	sent := r.request(del).(*dynamodb.DeleteItemInput)
	if sent.Key["theirs"] == nil || *sent.ConditionExpression != "#their_ours = :x" || sent.ExpressionAttributeNames["#their_ours"] != "theirs" {
		t.Errorf("it sends %v, %s with %v", sent.Key, *sent.ConditionExpression, sent.ExpressionAttributeNames)
	}
	if del.Key["ours"] == nil || *del.ConditionExpression != "ours = :x" || del.ExpressionAttributeNames != nil {
		t.Errorf("the caller has %v, %s with %v", del.Key, *del.ConditionExpression, del.ExpressionAttributeNames)
	}
}

func TestARequestWithoutATableIsOfNone(t *testing.T) {
	for _, params := range []any{
		nil, &dynamodb.GetItemInput{}, &dynamodb.QueryInput{IndexName: aws.String("index")}, &dynamodb.BatchGetItemInput{}, &dynamodb.CreateTableInput{TableName: aws.String("jobs")},
	} {
		if got := tableOf(params); got != "" {
			t.Errorf("%T: got %q, want none", params, got)
		}
	}
}

func TestADeniedCallOfAnErasureOrAPlanIsAnError(t *testing.T) {
	c, ctx := offline(t), t.Context()
	job := archive.Job{ID: "j", ArchiveID: "a", RetrievalID: "r"}
	for name, err := range map[string]error{
		"Withdraw": c.Withdraw(ctx, "u"), "DeleteJob": c.DeleteJob(ctx, "u", "j", true), "DeleteAccount": c.DeleteAccount(ctx, "u"), "DeleteLedger": c.DeleteLedger(ctx, "plan.u.p"),
		"SetFirst": c.SetFirst(ctx, "u", "p", "j"), "SaveFaster": c.SaveFaster(ctx, job, archive.Standard, job.SubmittedAt, 1), "TakeBackFaster": c.TakeBackFaster(ctx, job, archive.Standard, 1),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// sending answers each request with the answer of its call, and keeps the number of requests.
type sending struct {
	answers map[string][]string // one after the other; the last one stays
	header  string              // the CRC, if it is another than that of the answer
	calls   int
}

func (s *sending) RoundTrip(r *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.calls++
	next := s.answers[call][0]
	if len(s.answers[call]) > 1 {
		s.answers[call] = s.answers[call][1:]
	}
	resp, err := answers(next).RoundTrip(r)
	if s.header != "" {
		resp.Header.Set("X-Amz-Crc32", s.header)
	}
	return resp, err
}

// TestACRCThatIsNoNumberIsNone: the SDK's own check would refuse such an answer.
func TestACRCThatIsNoNumberIsNone(t *testing.T) {
	s := &sending{answers: map[string][]string{"GetItem": {`{"Item":{"job_id":{"S":"j"}}}`}}, header: "4294967296"}
	if job, err := over(s).Job(t.Context(), "j"); err != nil || job.ID != "j" {
		t.Errorf("got %+v, %v", job, err)
	}
}

// withoutAccount throttles each batch, has no account, and has every job.
type withoutAccount struct{ halves }

func (w *withoutAccount) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.Body = io.NopCloser(bytes.NewReader(body)); bytes.Contains(body, []byte(`"TableName":"accounts"`)) {
		return answers(`{}`).RoundTrip(r)
	}
	return w.halves.RoundTrip(r)
}

func TestAnAccountThatABatchLeavesOutAndIsNotThereIsNotFound(t *testing.T) {
	w := &withoutAccount{}
	if account, job, err := over(w).AccountAndJob(t.Context(), "ada", "j1"); !fault.Is(err, fault.NotFound) || account.ID != "" || job.ID != "" {
		t.Errorf("got %+v, %+v, %v; want that the account is not found", account, job, err)
	}
	if len(w.calls) != 1 {
		t.Errorf("after the account it asked for %v, want nothing", w.calls[1:])
	}
}

// TestAPartitionIsReadNoFurtherThanItsReaderGoes has two pages in each partition.
func TestAPartitionIsReadNoFurtherThanItsReaderGoes(t *testing.T) {
	const more = `{"Items":[{"job_id":{"S":"j"},"due_shard":{"N":"1"},"due_at":{"N":"5"}}],"LastEvaluatedKey":{"job_id":{"S":"j"},"due_shard":{"N":"1"},"due_at":{"N":"5"}}}`
	all := make([]string, 0, 2*shards)
	for range shards {
		all = append(all, more)
	}
	s := &sending{answers: map[string][]string{"Query": append(all, `{"Items":[]}`)}}
	for id, err := range over(s).DueJobs(t.Context(), archive.Job{}.SubmittedAt) {
		if id != "j" || err != nil {
			t.Errorf("got %s, %v", id, err)
		}
		break
	}
	if s.calls != shards {
		t.Errorf("it made %d calls, want the first page of each of %d partitions", s.calls, shards)
	}
}

func TestOfWorkThatIsDueAtOnceTheLowerPartitionComesFirst(t *testing.T) {
	var all []string
	for n := range shards {
		all = append(all, fmt.Sprintf(`{"Items":[{"job_id":{"S":"j%d"},"due_at":{"N":"5"}}]}`, n))
	}
	var got, want []events.JobID
	for id, err := range over(&sending{answers: map[string][]string{"Query": all}}).DueJobs(t.Context(), archive.Job{}.SubmittedAt) {
		if err != nil {
			t.Fatal(err)
		}
		if got, want = append(got, id), append(want, events.JobID(fmt.Sprint("j", len(want)))); len(got) > shards {
			break
		}
	}
	if len(got) != shards || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
