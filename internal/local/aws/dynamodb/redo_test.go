package dynamodb

import (
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// A crash after the transaction was journaled and before its writes were is
// finished at the next start.
func TestAnInterruptedTransactionIsFinished(t *testing.T) {
	dir := t.TempDir()
	open := func() (*world.World, *Service) {
		w, err := world.New(dir, "us-east-1", "123456789012")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(w)
		if err != nil {
			t.Fatal(err)
		}
		return w, s
	}
	do := func(s *Service, h handler, body string) string {
		out, err := h(s, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	w, s := open()
	do(s, (*Service).createTable, `{"TableName":"things","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}`)
	do(s, (*Service).putItem, `{"TableName":"things","Item":{"pk":{"S":"old"}}}`)
	tab := s.tables["things"]
	at := func(pk string) string {
		p, _ := tab.key.position(attrs{{"pk", stringValue(pk)}})
		return p
	}
	s.redo.Put("x", redoRecord{
		Writes: []redoWrite{{tab.id, at("new"), newRow(attrs{{"pk", stringValue("new")}})}, {tab.id, at("old"), nil}},
		Token:  &tokenRecord{Token: "t", Request: "r", Until: w.Clock.Now().Add(tokenLife)},
	})
	w.Close()
	for range 2 {
		w, s = open()
		if got, want := do(s, (*Service).scan, `{"TableName":"things"}`), `{"Items":[{"pk":{"S":"new"}}],"Count":1,"ScannedCount":1}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if _, ok := s.tokens.rows.Get("t"); !ok {
			t.Error("the token is forgotten")
		}
		w.Close()
	}
}
