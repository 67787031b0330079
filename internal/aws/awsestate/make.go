package awsestate

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
)

// Make makes and repairs everything at the place, and changes existing things without asking.
func (a *Account) Make(ctx context.Context, tables Tables, at estate.Place) error {
	plan, err := a.Plan(ctx, tables, at)
	if err != nil {
		return err
	}
	return plan.run(ctx)
}

func (p Plan) run(ctx context.Context) error {
	for _, c := range p.Changes {
		if err := c.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// MakeChannel makes and repairs the topic and its queue, with these names. It returns the
// topic's ARN and the queue's URL.
func (a *Account) MakeChannel(ctx context.Context, c estate.Channel, topic, queue string) (arn, url string, err error) {
	partition, account, err := a.Identity(ctx)
	if err != nil {
		return "", "", err
	}
	at := estate.Place{Partition: partition, Region: a.cfg.Region, Account: account, PremiumTopic: topic, PremiumQueue: queue}
	arn = at.ARN(estate.PremiumTopic)
	p := &planner{Account: a}
	if err := p.topic(ctx, c, topic, arn); err != nil {
		return "", "", err
	}
	if err := p.queue(ctx, c, queue, at.ARN(estate.PremiumQueue), arn); err != nil {
		return "", "", err
	}
	if err := p.run(ctx); err != nil {
		return "", "", err
	}
	url, _, err = p.find(ctx, queue)
	return arn, url, err
}

// URL returns the URL of the queue; empty if there is none.
func (a *Account) URL(ctx context.Context, queue string) (string, error) {
	url, _, err := (&planner{Account: a}).find(ctx, queue)
	return url, err
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

// MakeArchiveBucket makes and repairs the bucket of archives. The bucket keeps versions, and
// tells the topic about temporary copies.
func (a *Account) MakeArchiveBucket(ctx context.Context, name, topic string) error {
	p := &planner{Account: a}
	if err := p.topic(ctx, estate.Channel{Topic: estate.Topic{Publishers: []string{estate.S3}}}, estate.LastOf(topic), topic); err != nil {
		return err
	}
	if err := p.archives(ctx, name, topic); err != nil {
		return err
	}
	return p.run(ctx)
}

func (a *Account) keepVersions(ctx context.Context, bucket string) error {
	_, err := a.objects().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	return awsfault.Wrap(err, "turn on the versions of bucket %s", bucket)
}

// tell has the bucket tell the topic about temporary copies. Other notifications of the
// bucket stay: S3 replaces the whole configuration, so this adds to the present one.
func (a *Account) tell(ctx context.Context, bucket, topic string) error {
	objects := a.objects()
	have, err := objects.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &bucket})
	if err != nil {
		return awsfault.Wrap(err, "read the notifications of bucket %s", bucket)
	}
	topics := slices.DeleteFunc(slices.Clone(have.TopicConfigurations), func(t s3types.TopicConfiguration) bool { return aws.ToString(t.Id) == notification })
	_, err = objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: &bucket, NotificationConfiguration: &s3types.NotificationConfiguration{
			QueueConfigurations: have.QueueConfigurations, LambdaFunctionConfigurations: have.LambdaFunctionConfigurations, EventBridgeConfiguration: have.EventBridgeConfiguration,
			TopicConfigurations: append(topics, s3types.TopicConfiguration{
				Id: aws.String(notification), TopicArn: &topic, Events: []s3types.Event{"s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete"},
			}),
		},
	})
	return awsfault.Wrap(err, "set the notifications of bucket %s", bucket)
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
