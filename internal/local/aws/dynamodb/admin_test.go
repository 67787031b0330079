package dynamodb_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestATableLivesAndDies(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	if err := ddb.NewTableExistsWaiter(s.Client).Wait(ctx, &ddb.DescribeTableInput{TableName: &table}, time.Minute); err != nil {
		t.Fatal(err)
	}
	d := must[*ddb.DescribeTableOutput](t)(s.DescribeTable(ctx, &ddb.DescribeTableInput{TableName: aws.String("arn:aws:dynamodb:us-east-1:123456789012:table/jobs")})).Table
	if d.TableStatus != "ACTIVE" || len(d.GlobalSecondaryIndexes) != 2 || d.BillingModeSummary.BillingMode != "PAY_PER_REQUEST" || time.Since(*d.CreationDateTime).Abs() > time.Hour {
		t.Errorf("got %+v", d)
	}
	_, err := s.CreateTable(ctx, &ddb.CreateTableInput{TableName: &table, BillingMode: "PAY_PER_REQUEST", AttributeDefinitions: []types.AttributeDefinition{def("a", "S")}, KeySchema: keys("a")})
	refused(t, err, "ResourceInUseException", "Table already exists: jobs")
	must[*ddb.DeleteTableOutput](t)(s.DeleteTable(ctx, &ddb.DeleteTableInput{TableName: &table}))
	_, err = s.DescribeTable(ctx, &ddb.DescribeTableInput{TableName: &table})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Table: jobs not found")
	_, err = s.PutItem(ctx, &ddb.PutItemInput{TableName: &table, Item: item{"job_id": sv("x")}})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found")
}

func TestAnIndexComesAndGoes(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	s.put(*table, item{"pk": sv("a"), "u": sv("x"), "t": nv("1")})
	s.put(*table, item{"pk": sv("b"), "u": nv("1")}) // has no place in the index
	create := types.GlobalSecondaryIndexUpdate{Create: &types.CreateGlobalSecondaryIndexAction{
		IndexName: aws.String("by_user"), KeySchema: keys("u", "t"), Projection: &types.Projection{ProjectionType: "KEYS_ONLY"},
	}}
	update := func(u types.GlobalSecondaryIndexUpdate, defs ...types.AttributeDefinition) error {
		_, err := s.UpdateTable(ctx, &ddb.UpdateTableInput{TableName: table, AttributeDefinitions: defs, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{u}})
		return err
	}
	refused(t, update(create, def("u", "S")), "ValidationException", "not defined in AttributeDefinitions")
	if err := update(create, def("u", "S"), def("t", "N")); err != nil {
		t.Fatal(err)
	}
	out := must[*ddb.ScanOutput](t)(s.Scan(ctx, &ddb.ScanInput{TableName: table, IndexName: aws.String("by_user")}))
	if out.Count != 1 || len(out.Items[0]) != 3 {
		t.Errorf("got %v", out.Items)
	}
	_, err := s.PutItem(ctx, &ddb.PutItemInput{TableName: table, Item: item{"pk": sv("c"), "u": nv("1")}})
	refused(t, err, "ValidationException", "Type mismatch for Index Key u")
	if err := update(types.GlobalSecondaryIndexUpdate{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String("by_user")}}); err != nil {
		t.Fatal(err)
	}
	s.put(*table, item{"pk": sv("c"), "u": nv("1")})
}

func TestTablesThatAWSRefusesAreRefused(t *testing.T) {
	s := newStand(t, "")
	good := func() *ddb.CreateTableInput {
		return &ddb.CreateTableInput{TableName: aws.String("things"), BillingMode: "PAY_PER_REQUEST", AttributeDefinitions: []types.AttributeDefinition{def("a", "S")}, KeySchema: keys("a")}
	}
	for _, c := range []struct {
		name, text string
		change     func(in *ddb.CreateTableInput)
	}{
		{"short name", "Member must have length greater than or equal to 3", func(in *ddb.CreateTableInput) { in.TableName = aws.String("ab") }},
		{"bad name", "Member must satisfy regular expression pattern", func(in *ddb.CreateTableInput) { in.TableName = aws.String("a b c") }},
		{"no definition", "not defined in AttributeDefinitions", func(in *ddb.CreateTableInput) { in.KeySchema = keys("b") }},
		{"unused definition", "does not exactly match number of attributes", func(in *ddb.CreateTableInput) {
			in.AttributeDefinitions = append(in.AttributeDefinitions, def("b", "S"))
		}},
		{"no throughput", "No provisioned throughput specified", func(in *ddb.CreateTableInput) { in.BillingMode = "" }},
		{"throughput on demand", "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified", func(in *ddb.CreateTableInput) {
			in.ProvisionedThroughput = &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(1), WriteCapacityUnits: aws.Int64(1)}
		}},
		{"local index", "no local secondary indexes", func(in *ddb.CreateTableInput) {
			in.LocalSecondaryIndexes = []types.LocalSecondaryIndex{{IndexName: aws.String("xyz"), KeySchema: keys("a"), Projection: &types.Projection{ProjectionType: "ALL"}}}
		}},
		{"stream", "no streams", func(in *ddb.CreateTableInput) {
			in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: "NEW_IMAGE"}
		}},
		{"include nothing", "NonKeyAttributes is not specified", func(in *ddb.CreateTableInput) {
			in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{gsi("xyz", "INCLUDE", keys("a"))}
		}},
		{"same key twice", "have the same name", func(in *ddb.CreateTableInput) { in.KeySchema = keys("a", "a") }},
	} {
		in := good()
		c.change(in)
		_, err := s.CreateTable(ctx, in)
		if err == nil {
			t.Errorf("%s: taken", c.name)
			continue
		}
		refused(t, err, "ValidationException", c.text)
	}
	in := good()
	in.BillingMode, in.ProvisionedThroughput = "", &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(1), WriteCapacityUnits: aws.Int64(1)}
	must[*ddb.CreateTableOutput](t)(s.CreateTable(ctx, in))
}

func TestTimeToLiveIsKept(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	must[*ddb.UpdateTimeToLiveOutput](t)(s.UpdateTimeToLive(ctx, &ddb.UpdateTimeToLiveInput{TableName: table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("ttl"), Enabled: aws.Bool(true)}}))
	d := must[*ddb.DescribeTimeToLiveOutput](t)(s.DescribeTimeToLive(ctx, &ddb.DescribeTimeToLiveInput{TableName: table})).TimeToLiveDescription
	if d.TimeToLiveStatus != "ENABLED" || *d.AttributeName != "ttl" {
		t.Errorf("got %+v", d)
	}
}

func TestRequestsThatAreNotDynamoDBsAreRefused(t *testing.T) {
	s := newStand(t, "")
	for _, c := range []struct{ target, body, want string }{
		{"DynamoDB_20120810.Nope", "{}", "com.amazon.coral.service#UnknownOperationException"},
		{"", "{}", "UnknownOperationException"},
		{"DynamoDB_20120810.GetItem", "{", "com.amazon.coral.service#SerializationException"},
		{"DynamoDB_20120810.GetItem", "{} {}", "SerializationException"},
		{"DynamoDB_20120810.GetItem", `{"TableName":5}`, "SerializationException"},
		{"DynamoDB_20120810.GetItem", `{"Nope":5}`, "com.amazon.coral.validate#ValidationException"},
	} {
		r := must[*http.Request](t)(http.NewRequest("POST", s.server.URL, strings.NewReader(c.body)))
		r.Header.Set("X-Amz-Target", c.target)
		res := must[*http.Response](t)(s.server.Client().Do(r))
		b := make([]byte, 4096)
		n, _ := res.Body.Read(b)
		res.Body.Close()
		if res.StatusCode != 400 || !strings.Contains(string(b[:n]), c.want) || res.Header.Get("X-Amz-Crc32") == "" {
			t.Errorf("%s %s: %d %s, want %s", c.target, c.body, res.StatusCode, b[:n], c.want)
		}
	}
	if got := s.service.Name(); !reflect.DeepEqual(got, "dynamodb") {
		t.Error(got)
	}
}
