package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Clean removes everything at the target with a name that begins with its prefix, also what an
// interrupted run left. The error names what is left.
func Clean(ctx context.Context, t Target) error {
	if len(t.Prefix) < len("gas-") || !strings.HasPrefix(t.Prefix, "gas-") {
		return fmt.Errorf("the prefix is %q, want one that begins with gas-: all that has it is removed", t.Prefix)
	}
	var errs []error
	keep := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", what, err))
		}
	}
	for _, part := range []struct {
		of    Service
		clean func(context.Context, func(string, error)) error
	}{{S3, t.cleanS3}, {DynamoDB, t.cleanDynamoDB}, {SQS, t.cleanSQS}, {SNS, t.cleanSNS}, {Glacier, t.cleanGlacier}} {
		if slices.Contains(t.Services, part.of) {
			keep("what is in "+string(part.of), part.clean(ctx, keep))
		}
	}
	return errors.Join(errs...)
}

func (t Target) ours(name *string) bool { return strings.HasPrefix(aws.ToString(name), t.Prefix) }

func (t Target) cleanS3(ctx context.Context, keep func(string, error)) error {
	c := t.objects()
	buckets, err := c.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return err
	}
	for _, b := range buckets.Buckets {
		if !t.ours(b.Name) {
			continue
		}
		keep("the uploads to "+*b.Name, t.endUploads(ctx, c, b.Name))
		keep("the objects of "+*b.Name, t.emptyBucket(ctx, c, b.Name))
		_, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: b.Name})
		keep("bucket "+*b.Name, err)
	}
	return nil
}

func (t Target) endUploads(ctx context.Context, c *s3.Client, bucket *string) error {
	pages := s3.NewListMultipartUploadsPaginator(c, &s3.ListMultipartUploadsInput{Bucket: bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if _, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: u.Key, UploadId: u.UploadId}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t Target) emptyBucket(ctx context.Context, c *s3.Client, bucket *string) error {
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, v := range page.Versions {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: v.Key, VersionId: v.VersionId}); err != nil {
				return err
			}
		}
		for _, v := range page.DeleteMarkers {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: v.Key, VersionId: v.VersionId}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t Target) cleanDynamoDB(ctx context.Context, keep func(string, error)) error {
	c := dynamodb.NewFromConfig(t.Config)
	pages := dynamodb.NewListTablesPaginator(c, &dynamodb.ListTablesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, name := range page.TableNames {
			if t.ours(&name) {
				keep("table "+name, removeTable(ctx, c, name))
			}
		}
	}
	return nil
}

// removeTable deletes a table. One that is being made cannot be deleted yet.
func removeTable(ctx context.Context, c *dynamodb.Client, name string) error {
	made := dynamodb.NewTableExistsWaiter(c, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, 5*time.Second })
	if err := made.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, 2*time.Minute); err != nil {
		return err
	}
	_, err := c.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name})
	return err
}

func (t Target) cleanSQS(ctx context.Context, keep func(string, error)) error {
	c := sqs.NewFromConfig(t.Config)
	pages := sqs.NewListQueuesPaginator(c, &sqs.ListQueuesInput{QueueNamePrefix: &t.Prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, url := range page.QueueUrls {
			_, err := c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
			if _, gone := errors.AsType[*sqstypes.QueueDoesNotExist](err); !gone { // a list may be behind
				keep("queue "+url, err)
			}
		}
	}
	return nil
}

func (t Target) cleanSNS(ctx context.Context, keep func(string, error)) error {
	c := sns.NewFromConfig(t.Config)
	pages := sns.NewListTopicsPaginator(c, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, topic := range page.Topics {
			arn := aws.ToString(topic.TopicArn)
			if name := arn[strings.LastIndexByte(arn, ':')+1:]; !t.ours(&name) {
				continue
			}
			subs, err := c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
			keep("the subscriptions of "+arn, err)
			for i := 0; err == nil && i < len(subs.Subscriptions); i++ {
				_, err := c.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: subs.Subscriptions[i].SubscriptionArn})
				keep("subscription "+aws.ToString(subs.Subscriptions[i].SubscriptionArn), err)
			}
			_, err = c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &arn})
			keep("topic "+arn, err)
		}
	}
	return nil
}

// cleanGlacier deletes the vaults. At AWS, a vault in which an archive was can be deleted only
// after the next inventory, which is made once a day.
func (t Target) cleanGlacier(ctx context.Context, keep func(string, error)) error {
	c := glacier.NewFromConfig(t.Config)
	pages := glacier.NewListVaultsPaginator(c, &glacier.ListVaultsInput{AccountId: aws.String("-")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			if strings.Contains(err.Error(), "NoLongerSupported") {
				return nil
			}
			return err
		}
		for _, v := range page.VaultList {
			if t.ours(v.VaultName) {
				_, err := c.DeleteVault(ctx, &glacier.DeleteVaultInput{AccountId: aws.String("-"), VaultName: v.VaultName})
				keep("vault "+*v.VaultName, err)
			}
		}
	}
	return nil
}
