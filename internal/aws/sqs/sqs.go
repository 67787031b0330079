// Package sqs is the adapter for Amazon SQS: it receives, deletes, returns and lends
// again the messages of one queue. SNS fills the queue, and the bridge empties it. An
// error has a kind of package fault.
package sqs

import (
	"context"
	"path"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/queue"
)

// Queue is an SQS queue.
type Queue struct {
	client *sqs.Client
	url    string
}

// New returns the queue at url.
func New(cfg aws.Config, url string) *Queue {
	return &Queue{client: sqs.NewFromConfig(cfg), url: url}
}

// Name returns the queue's name, the last element of its URL.
func (q *Queue) Name() string { return path.Base(q.url) }

// Receive returns up to [queue.BatchSize] messages; it waits for the first one
// for up to wait. They are lent for the time of the lease.
func (q *Queue) Receive(ctx context.Context, wait, lease time.Duration) ([]queue.Message, error) {
	out, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &q.url,
		MaxNumberOfMessages:         queue.BatchSize,
		WaitTimeSeconds:             int32(wait / time.Second),
		VisibilityTimeout:           int32(lease / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return nil, awsfault.Wrap(err, "receive from queue %s", q.url)
	}
	batch := make([]queue.Message, len(out.Messages))
	for i, m := range out.Messages {
		attributes := map[string][]string{}
		for k, v := range m.Attributes {
			attributes[k] = []string{v}
		}
		for k, v := range m.MessageAttributes {
			attributes[k] = []string{aws.ToString(v.StringValue)}
		}
		receives, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		sent, _ := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
		batch[i] = queue.Message{
			ID:         aws.ToString(m.MessageId),
			Receipt:    aws.ToString(m.ReceiptHandle),
			Body:       aws.ToString(m.Body),
			SentAt:     time.UnixMilli(sent).UTC(),
			Receives:   receives,
			Attributes: attributes,
		}
	}
	return batch, nil
}

// Delete removes messages; the errors are in the order of the receipts.
func (q *Queue) Delete(ctx context.Context, receipts []string) []error {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(receipts))
	for i := range receipts {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &receipts[i]}
	}
	out, err := q.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
	if err != nil {
		return all(len(receipts), awsfault.Wrap(err, "delete from queue %s", q.url))
	}
	return partial(len(receipts), out.Failed, "delete from queue "+q.url)
}

// Return makes messages visible again after a delay.
func (q *Queue) Return(ctx context.Context, receipts []string, after time.Duration) []error {
	return q.hide(ctx, "return to", receipts, after)
}

// Extend makes the lease of messages end after lease from now.
func (q *Queue) Extend(ctx context.Context, receipts []string, lease time.Duration) []error {
	return q.hide(ctx, "extend a lease of", receipts, lease)
}

func (q *Queue) hide(ctx context.Context, what string, receipts []string, after time.Duration) []error {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(receipts))
	for i := range receipts {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &receipts[i], VisibilityTimeout: int32(after / time.Second),
		}
	}
	out, err := q.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: entries})
	if err != nil {
		return all(len(receipts), awsfault.Wrap(err, "%s queue %s", what, q.url))
	}
	return partial(len(receipts), out.Failed, what+" queue "+q.url)
}

func all(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// partial spreads a batch's failed entries over the batch. An entry's id is its
// place.
func partial(n int, failed []types.BatchResultErrorEntry, what string) []error {
	errs := make([]error, n)
	for _, f := range failed {
		if i, err := strconv.Atoi(aws.ToString(f.Id)); err == nil && i >= 0 && i < n {
			errs[i] = awsfault.FromCode(aws.ToString(f.Code), "%s: %s", what, aws.ToString(f.Message))
		}
	}
	return errs
}
