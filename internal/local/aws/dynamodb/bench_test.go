package dynamodb_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// call serves one request without a network.
func call(tb testing.TB, h http.Handler, op, body string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 {
		tb.Fatalf("%s: %s", op, w.Body)
	}
}

func BenchmarkItem(b *testing.B) {
	for _, where := range []string{"memory", "journal"} {
		dir := ""
		if where == "journal" {
			dir = b.TempDir()
		}
		s := newStand(b, dir)
		s.catalog()
		h := world.Handler(s.service)
		filler := strings.Repeat("x", 350)
		put := func(i int64) string {
			return fmt.Sprintf(`{"TableName":"jobs","Item":{"job_id":{"S":"job-%d"},"user_id":{"S":"user-%d"},"submit_time":{"N":"%d"},"archive_id":{"S":"arch-%d"},"input_file_name":{"S":%q}}}`, i, i%100, i, i, filler)
		}
		var n atomic.Int64
		b.Run(where+"/PutItem", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(b, h, "PutItem", put(n.Add(1)))
				}
			})
		})
		b.Run(where+"/GetItem", func(b *testing.B) {
			var k atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(b, h, "GetItem", fmt.Sprintf(`{"TableName":"jobs","Key":{"job_id":{"S":"job-%d"}},"ConsistentRead":true}`, k.Add(1)%n.Load()+1))
				}
			})
		})
		b.Run(where+"/UpdateItem", func(b *testing.B) {
			var k atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(b, h, "UpdateItem", fmt.Sprintf(`{"TableName":"jobs","Key":{"job_id":{"S":"job-%d"}},"UpdateExpression":"SET retrieval_tier = :t ADD attempts :one","ConditionExpression":"attribute_exists(archive_id) AND attribute_not_exists(retrieval_request_id)","ExpressionAttributeValues":{":t":{"S":"Expedited"},":one":{"N":"1"}}}`, k.Add(1)%n.Load()+1))
				}
			})
		})
		b.Run(where+"/Query100", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(b, h, "Query", `{"TableName":"jobs","IndexName":"archived_index","Limit":100,"KeyConditionExpression":"user_id = :u","ExpressionAttributeValues":{":u":{"S":"user-7"}}}`)
				}
			})
		})
		s.close()
	}
}
