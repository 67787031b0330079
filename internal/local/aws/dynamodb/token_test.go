package dynamodb

import (
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// TestARepeatedTransactionIsKnownInWhateverOrderItIsWritten: a map has no order, and
// the SDK's serializers write it as it comes.
func TestARepeatedTransactionIsKnownInWhateverOrderItIsWritten(t *testing.T) {
	w, err := world.New("", "us-east-1", "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s, err := New(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.createTable([]byte(`{"TableName":"things","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}`)); err != nil {
		t.Fatal(err)
	}
	put := func(token, item string) *world.Error {
		_, err := s.transactWrite([]byte(`{"ClientRequestToken":"` + token + `","TransactItems":[{"Put":{"TableName":"things","Item":` + item + `,"ConditionExpression":"attribute_not_exists(pk)"}}]}`))
		return err
	}
	if err := put("a", `{"pk":{"S":"k"},"n":{"N":"9007199254740993"},"m":{"M":{"x":{"S":"1"},"y":{"S":"<2>"}}}}`); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, item, code string }{
		{"the same", `{"pk":{"S":"k"},"n":{"N":"9007199254740993"},"m":{"M":{"x":{"S":"1"},"y":{"S":"<2>"}}}}`, ""},
		{"in another order", `{"m":{"M":{"y":{"S":"<2>"},"x":{"S":"1"}}},"n":{"N":"9007199254740993"},"pk":{"S":"k"}}`, ""},
		{"with spaces, and escaped", `{ "pk" : {"S":"\u006b"}, "n":{"N":"9007199254740993"},"m":{"M":{"x":{"S":"1"},"y":{"S":"\u003c2>"}}} }`, ""},
		{"another value", `{"pk":{"S":"k"},"n":{"N":"9007199254740992"},"m":{"M":{"x":{"S":"1"},"y":{"S":"<2>"}}}}`, "IdempotentParameterMismatchException"},
		{"a value more", `{"pk":{"S":"k"},"n":{"N":"9007199254740993"},"m":{"M":{"x":{"S":"1"},"y":{"S":"<2>"}}},"z":{"NULL":true}}`, "IdempotentParameterMismatchException"},
	} {
		code := ""
		if err := put("a", c.item); err != nil {
			code = err.Code
		}
		if code != c.code {
			t.Errorf("%s: got %q, want %q", c.name, code, c.code)
		}
	}
}
