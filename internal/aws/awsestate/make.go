package awsestate

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
)

// MakeChannel makes the topic and its queue, with these names, where they are missing. It
// subscribes the queue, and their policies allow what they must. It does not change what
// is right. It returns the topic's ARN and the queue's URL.
func (a *Account) MakeChannel(ctx context.Context, c estate.Channel, topic, queue string) (arn, url string, err error) {
	t, err := a.topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &topic})
	if err != nil {
		return "", "", awsfault.Wrap(err, "create topic %s", topic)
	}
	arn = *t.TopicArn
	if err := a.mendTopic(ctx, c, arn); err != nil {
		return "", "", err
	}
	if url, err = a.makeQueue(ctx, c, queue, arn); err != nil {
		return "", "", err
	}
	q, err := a.Queue(ctx, url)
	if err != nil || q == nil {
		return "", "", errors.Join(err, fmt.Errorf("queue %s is not there after it was made", queue))
	}
	return arn, url, a.Subscribe(ctx, arn, "sqs", q.ARN)
}

func (a *Account) mendTopic(ctx context.Context, c estate.Channel, arn string) error {
	found, err := a.Topic(ctx, arn)
	if err != nil || found == nil {
		return err
	}
	set := func(name, value string) error {
		_, err := a.topics.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: &name, AttributeValue: &value})
		return awsfault.Wrap(err, "set attribute %s of topic %s", name, arn)
	}
	if len(found.Subscriptions) == 0 { // otherwise other subscribers may depend on the present signatures
		if err := set("SignatureVersion", "2"); err != nil {
			return err
		}
	}
	if c.Topic.Publisher == "" || found.LetsPublish(c.Topic.Publisher) {
		return nil
	}
	policy, err := estate.LetPublish(found.Policy, arn, c.Topic.Publisher)
	if err != nil {
		return fmt.Errorf("topic %s: %w", arn, err)
	}
	return set("Policy", policy)
}

// makeQueue makes the queue where it is missing, and lets the topic send to it.
func (a *Account) makeQueue(ctx context.Context, c estate.Channel, name, topic string) (string, error) {
	url := ""
	out, err := a.queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if _, none := errors.AsType[*types.QueueDoesNotExist](err); none {
		made, merr := a.queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
			"MessageRetentionPeriod": strconv.Itoa(int(c.Queue.Retention.Seconds())),
		}})
		if merr != nil {
			return "", awsfault.Wrap(merr, "create queue %s", name)
		}
		url = *made.QueueUrl
	} else if err != nil {
		return "", awsfault.Wrap(err, "look for queue %s", name)
	} else {
		url = *out.QueueUrl
	}
	q, err := a.Queue(ctx, url)
	if err != nil || q == nil {
		return url, err
	}
	change := map[string]string{}
	if !q.LetsIn(topic) {
		if change["Policy"], err = estate.LetTopicSend(q.Policy, q.ARN, topic); err != nil {
			return "", fmt.Errorf("queue %s: %w", name, err)
		}
	}
	if q.Retention < c.Queue.MinRetention {
		change["MessageRetentionPeriod"] = strconv.Itoa(int(c.Queue.Retention.Seconds()))
	}
	if len(change) > 0 {
		if _, err := a.queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: change}); err != nil {
			return "", awsfault.Wrap(err, "set attributes of queue %s", name)
		}
	}
	return url, nil
}

// Subscribe subscribes the endpoint to the topic. It is no error if the subscription
// exists; if it is not confirmed, SNS sends another request to confirm.
func (a *Account) Subscribe(ctx context.Context, topic, protocol, endpoint string) error {
	_, err := a.topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint})
	return awsfault.Wrap(err, "subscribe %s to topic %s", endpoint, topic)
}

// MakeVault makes the vault. It is no error if the vault exists.
func (a *Account) MakeVault(ctx context.Context, name string) error {
	_, err := glacier.NewFromConfig(a.cfg).CreateVault(ctx, &glacier.CreateVaultInput{AccountId: aws.String("-"), VaultName: &name})
	return awsfault.Wrap(err, "create vault %s", name)
}

// notification is the id of the pipeline's part in a bucket's notification configuration.
const notification = "gas-restore"

// MakeArchiveBucket makes the bucket of archives. The bucket keeps versions, and tells the
// topic about temporary copies. Other notifications of the bucket stay: S3 replaces the whole
// configuration, so this adds to the present one.
func (a *Account) MakeArchiveBucket(ctx context.Context, name, topic string) error {
	if err := a.MakeBucket(ctx, name); err != nil {
		return err
	}
	objects := a.objects()
	if _, err := objects.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	}); err != nil {
		return awsfault.Wrap(err, "turn on the versions of bucket %s", name)
	}
	found, err := a.Topic(ctx, topic)
	if err != nil || found == nil {
		return errors.Join(err, fmt.Errorf("topic %s is not there", topic))
	}
	if !found.LetsPublish(estate.S3) {
		policy, err := estate.LetPublish(found.Policy, topic, estate.S3)
		if err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
		if _, err := a.topics.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("Policy"), AttributeValue: &policy}); err != nil {
			return awsfault.Wrap(err, "set attribute Policy of topic %s", topic)
		}
	}
	have, err := objects.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &name})
	if err != nil {
		return awsfault.Wrap(err, "read the notifications of bucket %s", name)
	}
	for _, t := range have.TopicConfigurations {
		if aws.ToString(t.Id) == notification {
			return nil
		}
	}
	_, err = objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: &name, NotificationConfiguration: &s3types.NotificationConfiguration{
			QueueConfigurations: have.QueueConfigurations, LambdaFunctionConfigurations: have.LambdaFunctionConfigurations, EventBridgeConfiguration: have.EventBridgeConfiguration,
			TopicConfigurations: append(have.TopicConfigurations, s3types.TopicConfiguration{
				Id: aws.String(notification), TopicArn: &topic, Events: []s3types.Event{"s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete"},
			}),
		},
	})
	return awsfault.Wrap(err, "set the notifications of bucket %s", name)
}

func (a *Account) objects() *s3.Client {
	return s3.NewFromConfig(a.cfg, func(o *s3.Options) { o.UsePathStyle = a.cfg.BaseEndpoint != nil })
}

// MakeBucket makes the bucket. It is no error if the bucket exists.
func (a *Account) MakeBucket(ctx context.Context, name string) error {
	objects := a.objects()
	if _, err := objects.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name}); err == nil {
		return nil
	}
	in := &s3.CreateBucketInput{Bucket: &name}
	if a.cfg.Region != "us-east-1" { // which S3 refuses to be told
		in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(a.cfg.Region)}
	}
	_, err := objects.CreateBucket(ctx, in)
	return awsfault.Wrap(err, "create bucket %s", name)
}
