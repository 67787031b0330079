package sqs_test

import (
	"context"
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

func BenchmarkMemory(b *testing.B) { benchmarkSend(b, "") }

func BenchmarkJournal(b *testing.B) { benchmarkSend(b, b.TempDir()) }
