package sqs_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func benchmarkSend(b *testing.B, dir string) {
	s := open(b, dir)
	b.Cleanup(s.close)
	url := s.queue("q", nil)
	body := strings.Repeat("x", 512)
	var batch []types.SendMessageBatchRequestEntry
	for i := range 10 {
		id := strconv.Itoa(i)
		batch = append(batch, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body})
	}
	fill := func(n int) {
		for range (n + 9) / 10 {
			if _, err := s.SendMessageBatch(context.Background(), &awssqs.SendMessageBatchInput{QueueUrl: url, Entries: batch}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("send", func(b *testing.B) {
		fill(b.N)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("receive+delete", func(b *testing.B) {
		b.StopTimer()
		fill(b.N)
		b.StartTimer()
		for done := 0; done < b.N; {
			ms := s.receive(url)
			var entries []types.DeleteMessageBatchRequestEntry
			for i, m := range ms {
				id := strconv.Itoa(i)
				entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle})
			}
			if _, err := s.DeleteMessageBatch(context.Background(), &awssqs.DeleteMessageBatchInput{QueueUrl: url, Entries: entries}); err != nil {
				b.Fatal(err)
			}
			done += len(ms)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
}

// BenchmarkBacklog receives and deletes in batches, without a client, from a
// queue of a million messages.
func BenchmarkBacklog(b *testing.B) {
	s := open(b, "")
	b.Cleanup(s.close)
	s.queue("q", map[string]string{"Policy": sendPolicy("*", topic)})
	arn := s.service.QueueARN("q")
	body := strings.Repeat("x", 256)
	add := func(n int) {
		for range n {
			if err := s.service.Send(arn, topic, body, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	add(1_000_000)
	call := func(operation, body string) string {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
		op, _ := s.service.Operation(r)
		rec := httptest.NewRecorder()
		op.Serve(rec, r)
		return rec.Body.String()
	}
	b.Run("send", func(b *testing.B) {
		add(b.N)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("receive+delete", func(b *testing.B) {
		for done := 0; done < b.N; done += 10 {
			var got struct {
				Messages []struct{ ReceiptHandle string }
			}
			if err := json.Unmarshal([]byte(call("ReceiveMessage", `{"QueueUrl":"q","MaxNumberOfMessages":10}`)), &got); err != nil || len(got.Messages) != 10 {
				b.Fatalf("received %d messages, %v", len(got.Messages), err)
			}
			var entries []string
			for i, m := range got.Messages {
				entries = append(entries, `{"Id":"`+strconv.Itoa(i)+`","ReceiptHandle":"`+m.ReceiptHandle+`"}`)
			}
			call("DeleteMessageBatch", `{"QueueUrl":"q","Entries":[`+strings.Join(entries, ",")+`]}`)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
}

func BenchmarkMemory(b *testing.B) { benchmarkSend(b, "") }

func BenchmarkJournal(b *testing.B) { benchmarkSend(b, b.TempDir()) }
