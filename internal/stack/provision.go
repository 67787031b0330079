package stack

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/wiring"
)

// The names of what the stand-in gets.
const (
	premiumTopic = "gas-premium"
	restoreTopic = "gas-restore"
)

// provisionAWS makes tables, vault, bucket, topics, queues and subscriptions in
// the stand-in. It is idempotent.
func (s *Stack) provisionAWS(ctx context.Context) error {
	c := &s.Config
	if err := s.catalog().CreateTables(ctx); err != nil {
		return err
	}
	if _, err := glacier.NewFromConfig(s.AWSConfig).CreateVault(ctx, &glacier.CreateVaultInput{AccountId: aws.String("-"), VaultName: &c.Vault}); err != nil {
		return fmt.Errorf("create vault %s: %w", c.Vault, err)
	}
	objects := s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := objects.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &c.Bucket}); err != nil {
		if _, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &c.Bucket}); err != nil {
			return fmt.Errorf("create bucket %s: %w", c.Bucket, err)
		}
	}
	var err error
	if c.PremiumTopic, c.PremiumQueue, err = s.channel(ctx, premiumTopic, "premium"); err != nil {
		return err
	}
	c.RestoreTopic, c.RestoreQueue, err = s.channel(ctx, restoreTopic, "restore")
	return err
}

// channel makes a topic, the queue behind it, and both subscriptions: the queue
// is the durable way, the webhook the quick one.
func (s *Stack) channel(ctx context.Context, name, source string) (topic, queueURL string, err error) {
	topics, queues := sns.NewFromConfig(s.AWSConfig), sqs.NewFromConfig(s.AWSConfig)
	t, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name, Attributes: map[string]string{"SignatureVersion": "2"}})
	if err != nil {
		return "", "", fmt.Errorf("create topic %s: %w", name, err)
	}
	q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		return "", "", fmt.Errorf("create queue %s: %w", name, err)
	}
	attrs, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", "", fmt.Errorf("look at queue %s: %w", name, err)
	}
	arn := attrs.Attributes[string(sqstypes.QueueAttributeNameQueueArn)]
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []map[string]any{{
			"Effect":    "Allow",
			"Principal": map[string]string{"Service": "sns.amazonaws.com"},
			"Action":    "sqs:SendMessage",
			"Resource":  arn,
			"Condition": map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": *t.TopicArn}},
		}},
	})
	if err != nil {
		return "", "", err
	}
	if _, err := queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: q.QueueUrl, Attributes: map[string]string{"Policy": string(policy), "VisibilityTimeout": "30"},
	}); err != nil {
		return "", "", fmt.Errorf("set attributes of queue %s: %w", name, err)
	}
	for protocol, endpoint := range map[string]string{
		"sqs":  arn,
		"http": "http://" + s.Config.WebhookListen + "/sns/" + source,
	} {
		if _, err := topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: t.TopicArn, Protocol: &protocol, Endpoint: &endpoint}); err != nil {
			return "", "", fmt.Errorf("subscribe %s to topic %s: %w", endpoint, name, err)
		}
	}
	return *t.TopicArn, *q.QueueUrl, nil
}

func (s *Stack) catalog() *dynamodb.Catalog {
	return dynamodb.New(s.AWSConfig, wiring.Tables(s.Config))
}
