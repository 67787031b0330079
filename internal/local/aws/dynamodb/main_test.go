package dynamodb_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/gas-restore/gas/internal/local/aws/dynamodb"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stand is a running service and its client.
type stand struct {
	*ddb.Client
	t       testing.TB
	world   *world.World
	service *dynamodb.Service
	server  *httptest.Server
	closed  bool
}

func newStand(t testing.TB, dir string) *stand {
	t.Helper()
	w, err := world.New(dir, "us-east-1", "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	service, err := dynamodb.New(w)
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, world: w, service: service, server: httptest.NewServer(world.Handler(service))}
	s.Client = ddb.New(ddb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.server.URL), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient:  s.server.Client(),
	})
	t.Cleanup(s.close)
	return s
}

func (s *stand) close() {
	if s.closed {
		return
	}
	s.closed = true
	s.server.Close()
	if err := s.world.Close(); err != nil {
		s.t.Error(err)
	}
}

var ctx = context.Background()

// must fails the test if err is there.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused fails the test unless err is AWS's error of this code, with text in it.
func refused(t testing.TB, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s: %s", err, code, text)
		return
	}
	if e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %s: %s\nwant %s: …%s…", e.ErrorCode(), e.ErrorMessage(), code, text)
	}
}

func sv(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func nv(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func bv(s string) types.AttributeValue { return &types.AttributeValueMemberB{Value: []byte(s)} }
func lv(v ...types.AttributeValue) types.AttributeValue {
	if v == nil {
		v = []types.AttributeValue{}
	}
	return &types.AttributeValueMemberL{Value: v}
}
func mv(m item) types.AttributeValue       { return &types.AttributeValueMemberM{Value: m} }
func ssv(s ...string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: s} }
func nsv(s ...string) types.AttributeValue { return &types.AttributeValueMemberNS{Value: s} }
func boolv(b bool) types.AttributeValue    { return &types.AttributeValueMemberBOOL{Value: b} }

type item = map[string]types.AttributeValue

func def(name string, t types.ScalarAttributeType) types.AttributeDefinition {
	return types.AttributeDefinition{AttributeName: &name, AttributeType: t}
}

func keys(hash string, sort ...string) []types.KeySchemaElement {
	out := []types.KeySchemaElement{{AttributeName: &hash, KeyType: types.KeyTypeHash}}
	for _, s := range sort {
		out = append(out, types.KeySchemaElement{AttributeName: &s, KeyType: types.KeyTypeRange})
	}
	return out
}

func gsi(name string, p types.ProjectionType, keys []types.KeySchemaElement, include ...string) types.GlobalSecondaryIndex {
	return types.GlobalSecondaryIndex{
		IndexName: &name, KeySchema: keys,
		Projection: &types.Projection{ProjectionType: p, NonKeyAttributes: include},
	}
}

// catalog makes a table like the service's own: job_id, with an index by user
// and time, and a sparse one by user and archive.
func (s *stand) catalog() string {
	s.t.Helper()
	must[*ddb.CreateTableOutput](s.t)(s.CreateTable(ctx, &ddb.CreateTableInput{
		TableName:            aws.String("jobs"),
		AttributeDefinitions: []types.AttributeDefinition{def("job_id", "S"), def("user_id", "S"), def("submit_time", "N"), def("archive_id", "S")},
		KeySchema:            keys("job_id"),
		BillingMode:          types.BillingModePayPerRequest,
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{
			gsi("user_id_index", types.ProjectionTypeAll, keys("user_id", "submit_time")),
			gsi("archived_index", types.ProjectionTypeInclude, keys("user_id", "archive_id"), "retrieval_request_id"),
		},
	}))
	return "jobs"
}

// plain makes a table with the given key types.
func (s *stand) plain(name string, hash, sort types.ScalarAttributeType) *string {
	s.t.Helper()
	in := &ddb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{def("pk", hash)}, KeySchema: keys("pk"),
	}
	if sort != "" {
		in.AttributeDefinitions = append(in.AttributeDefinitions, def("sk", sort))
		in.KeySchema = keys("pk", "sk")
	}
	must[*ddb.CreateTableOutput](s.t)(s.CreateTable(ctx, in))
	return &name
}

func (s *stand) put(table string, it item) {
	s.t.Helper()
	must[*ddb.PutItemOutput](s.t)(s.PutItem(ctx, &ddb.PutItemInput{TableName: &table, Item: it}))
}

func (s *stand) get(table string, key item) item {
	s.t.Helper()
	return must[*ddb.GetItemOutput](s.t)(s.GetItem(ctx, &ddb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})).Item
}

// show makes an item readable.
func show(it item) map[string]any {
	out := map[string]any{}
	for k, v := range it {
		out[k] = reveal(v)
	}
	return out
}

func reveal(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return "N" + v.Value
	case *types.AttributeValueMemberM:
		return show(v.Value)
	case *types.AttributeValueMemberL:
		var out []any
		for _, e := range v.Value {
			out = append(out, reveal(e))
		}
		return out
	case *types.AttributeValueMemberSS:
		return v.Value
	case *types.AttributeValueMemberNS:
		return v.Value
	}
	return v
}
