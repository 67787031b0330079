package stack_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
)

// tableOf has the tables and indexes of the estate's things.
func tableOf(p estate.Place, t estate.Thing) (table, index *string) {
	switch t {
	case estate.Jobs:
		return &p.Tables.Jobs, nil
	case estate.JobsByUser:
		return &p.Tables.Jobs, aws.String(estate.UserIndex)
	case estate.JobsArchived:
		return &p.Tables.Jobs, aws.String(estate.ArchivedIndex)
	case estate.JobsDue:
		return &p.Tables.Jobs, aws.String(estate.DueIndex)
	case estate.Accounts:
		return &p.Tables.Accounts, nil
	case estate.AccountPlans:
		return &p.Tables.Accounts, aws.String(estate.PlanIndex)
	}
	return &p.Tables.Plans, nil
}

// there is the key of an object in both buckets.
const there = "there"

// try makes a call on a thing as somebody might who is curious: with names that exist, and mostly
// an object, a job or an archive that does not.
func try(ctx context.Context, cfg aws.Config, p estate.Place, c estate.Call) error {
	objects := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	tables, vaults, queues, topics := dynamodb.NewFromConfig(cfg), glacier.NewFromConfig(cfg), sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg)
	account, key, id := aws.String("-"), aws.String("no-such-thing"), aws.String("no-such-thing")
	bucket, vault := &p.Results, &p.Vault
	if c.On == estate.Archives {
		bucket = &p.Archives
	}
	table, index := tableOf(p, c.On)
	keyName := map[string]string{p.Tables.Jobs: "job_id", p.Tables.Accounts: "user_id", p.Tables.Plans: "id"}[*table]
	item := map[string]ddb.AttributeValue{keyName: &ddb.AttributeValueMemberS{Value: "no-such-thing"}}
	var queue string
	arn := p.ARN(c.On)
	if c.On == estate.PremiumQueue || c.On == estate.RestoreQueue || c.On == estate.PremiumDead || c.On == estate.RestoreDead {
		queue = *cfg.BaseEndpoint + "/" + p.Account + "/" + estate.LastOf(arn)
	}
	name := aws.String(estate.LastOf(arn))
	version := aws.String("3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")
	var err error
	switch c.Operation {
	case "DynamoDB.GetItem":
		_, err = tables.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: item})
	case "DynamoDB.BatchGetItem":
		_, err = tables.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]ddb.KeysAndAttributes{*table: {Keys: []map[string]ddb.AttributeValue{item}}}})
	case "DynamoDB.PutItem":
		_, err = tables.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item, ConditionExpression: aws.String("attribute_exists(" + keyName + ")")})
	case "DynamoDB.DeleteItem":
		_, err = tables.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: table, Key: item})
	case "DynamoDB.UpdateItem":
		_, err = tables.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: table, Key: item, UpdateExpression: aws.String("REMOVE x"), ConditionExpression: aws.String("attribute_exists(" + keyName + ")")})
	case "DynamoDB.Query":
		hash := map[estate.Thing]string{estate.JobsByUser: "user_id", estate.JobsArchived: "user_id", estate.JobsDue: "due_shard", estate.AccountPlans: "plan_shard"}[c.On]
		var value ddb.AttributeValue = &ddb.AttributeValueMemberS{Value: "x"}
		if strings.HasSuffix(hash, "_shard") {
			value = &ddb.AttributeValueMemberN{Value: "1"}
		}
		_, err = tables.Query(ctx, &dynamodb.QueryInput{TableName: table, IndexName: index, KeyConditionExpression: aws.String(hash + " = :v"), ExpressionAttributeValues: map[string]ddb.AttributeValue{":v": value}})
	case "DynamoDB.Scan":
		_, err = tables.Scan(ctx, &dynamodb.ScanInput{TableName: table, IndexName: index, Limit: aws.Int32(1)})
	case "DynamoDB.DescribeTable":
		_, err = tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: table})
	case "DynamoDB.CreateTable":
		_, err = tables.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: table, BillingMode: ddb.BillingModePayPerRequest, KeySchema: []ddb.KeySchemaElement{{AttributeName: &keyName, KeyType: ddb.KeyTypeHash}},
			AttributeDefinitions: []ddb.AttributeDefinition{{AttributeName: &keyName, AttributeType: ddb.ScalarAttributeTypeS}},
		})
	case "DynamoDB.UpdateTable":
		_, err = tables.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: table, BillingMode: ddb.BillingModePayPerRequest})
	case "DynamoDB.DescribeContinuousBackups":
		_, err = tables.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: table})
	case "DynamoDB.UpdateContinuousBackups":
		_, err = tables.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{TableName: table, PointInTimeRecoverySpecification: &ddb.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}})
	case "Glacier.UploadArchive":
		// The hash is wrong, so nothing is kept.
		_, err = vaults.UploadArchive(ctx, &glacier.UploadArchiveInput{AccountId: account, VaultName: vault, Body: strings.NewReader("x"), Checksum: aws.String(strings.Repeat("0", 64))})
	case "Glacier.InitiateJob":
		_, err = vaults.InitiateJob(ctx, &glacier.InitiateJobInput{AccountId: account, VaultName: vault})
	case "Glacier.DescribeJob":
		_, err = vaults.DescribeJob(ctx, &glacier.DescribeJobInput{AccountId: account, VaultName: vault, JobId: id})
	case "Glacier.ListJobs":
		_, err = vaults.ListJobs(ctx, &glacier.ListJobsInput{AccountId: account, VaultName: vault})
	case "Glacier.GetJobOutput":
		_, err = vaults.GetJobOutput(ctx, &glacier.GetJobOutputInput{AccountId: account, VaultName: vault, JobId: id})
	case "Glacier.DeleteArchive":
		_, err = vaults.DeleteArchive(ctx, &glacier.DeleteArchiveInput{AccountId: account, VaultName: vault, ArchiveId: id})
	case "Glacier.DescribeVault":
		_, err = vaults.DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: account, VaultName: vault})
	case "Glacier.CreateVault":
		_, err = vaults.CreateVault(ctx, &glacier.CreateVaultInput{AccountId: account, VaultName: vault})
	case "S3.HeadBucket":
		_, err = objects.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: bucket})
	case "S3.CreateBucket":
		_, err = objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	case "S3.ListObjectsV2":
		_, err = objects.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(1)})
	case "S3.ListObjectVersions":
		_, err = objects.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket, MaxKeys: aws.Int32(1)})
	case "S3.HeadObject":
		_, err = objects.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	case "S3.HeadObject of a version":
		_, err = objects.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key, VersionId: version})
	case "S3.GetObject":
		// Whether an object exists is not for all who may read it.
		_, err = objects.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String(there)})
	case "S3.GetObject of a version":
		_, err = objects.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, VersionId: version})
	case "S3.PutObject":
		_, err = objects.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("x")})
		if err == nil {
			_, err = s3.NewFromConfig(rootOf(cfg), func(o *s3.Options) { o.UsePathStyle = true }).DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
		}
	case "S3.CreateMultipartUpload":
		_, err = objects.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	case "S3.UploadPart":
		_, err = objects.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	case "S3.CompleteMultipartUpload":
		_, err = objects.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: id, MultipartUpload: &s3types.CompletedMultipartUpload{Parts: []s3types.CompletedPart{{ETag: aws.String("x"), PartNumber: aws.Int32(1)}}}})
	case "S3.ListParts":
		_, err = objects.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: id})
	case "S3.ListMultipartUploads":
		_, err = objects.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
	case "S3.AbortMultipartUpload":
		_, err = objects.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: id})
	case "S3.RestoreObject":
		_, err = objects.RestoreObject(ctx, &s3.RestoreObjectInput{Bucket: bucket, Key: key, RestoreRequest: &s3types.RestoreRequest{Days: aws.Int32(1)}})
	case "S3.DeleteObject if the same":
		_, err = objects.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, IfMatch: aws.String(`"5d41402abc4b2a76b9719d911017c592"`)})
	case "S3.DeleteObject of a version":
		_, err = objects.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: version})
	case "S3.GetBucketVersioning":
		_, err = objects.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})
	case "S3.PutBucketVersioning":
		_, err = objects.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	case "S3.GetBucketNotificationConfiguration":
		_, err = objects.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: bucket})
	case "S3.PutBucketNotificationConfiguration":
		_, err = objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: bucket, NotificationConfiguration: &s3types.NotificationConfiguration{}})
	case "S3.GetBucketLifecycleConfiguration":
		_, err = objects.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: bucket})
	case "S3.PutBucketLifecycleConfiguration":
		_, err = objects.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: bucket, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: []s3types.LifecycleRule{}}})
	case "SQS.ReceiveMessage":
		_, err = queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queue})
	case "SQS.DeleteMessageBatch":
		_, err = queues.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &queue, Entries: []sqstypes.DeleteMessageBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: id}}})
	case "SQS.ChangeMessageVisibilityBatch":
		_, err = queues.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &queue, Entries: []sqstypes.ChangeMessageVisibilityBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: id}}})
	case "SQS.SendMessage":
		_, err = queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String("x"), DelaySeconds: 900})
	case "SQS.GetQueueAttributes":
		_, err = queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &queue})
	case "SQS.GetQueueUrl":
		_, err = queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: name})
	case "SQS.CreateQueue":
		_, err = queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: name})
	case "SQS.SetQueueAttributes":
		_, err = queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &queue, Attributes: map[string]string{"DelaySeconds": "0"}})
	case "SNS.Publish":
		_, err = topics.Publish(ctx, &sns.PublishInput{TopicArn: &arn, Message: aws.String("{}")})
	case "SNS.ConfirmSubscription":
		_, err = topics.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: &arn, Token: id})
	case "SNS.GetTopicAttributes":
		_, err = topics.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	case "SNS.SetTopicAttributes":
		_, err = topics.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: aws.String("SignatureVersion"), AttributeValue: aws.String("2")})
	case "SNS.ListSubscriptionsByTopic":
		_, err = topics.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
	case "SNS.GetSubscriptionAttributes":
		_, err = topics.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: aws.String(arn + ":0b0b0b0b-0000-4000-8000-000000000000")})
	case "SNS.CreateTopic":
		_, err = topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: name})
	case "SNS.Subscribe":
		_, err = topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &arn, Protocol: aws.String("sqs"), Endpoint: aws.String(p.ARN(estate.PremiumQueue))})
	default:
		return fmt.Errorf("the test does not know how to call %s", c.Operation)
	}
	return awsfault.Wrap(err, "try")
}

// root is the key that may do everything.
var root = credentials.NewStaticCredentialsProvider(localaws.DefaultAccessKey, localaws.DefaultSecretKey, "")

// rootOf is cfg with a key that may do everything.
func rootOf(cfg aws.Config) aws.Config {
	out := cfg.Copy()
	out.Credentials = root
	return out
}

// denied reports whether AWS refused the call because of the policy.
func denied(err error) bool {
	if err == nil || fault.KindOf(err) != fault.Denied {
		return false
	}
	head, _ := errors.AsType[*awshttp.ResponseError](err) // HEAD has no body
	return strings.Contains(err.Error(), "is not authorized to perform") || head != nil && head.HTTPStatusCode() == 403
}

// TestEachRoleMayMakeItsCallsAndNoOther makes each call of all roles with each role's key.
// Whether a role may make it is calculated from the map in the package estate; the answer is
// that of the stand-in, which has a map of its own.
func TestEachRoleMayMakeItsCallsAndNoOther(t *testing.T) {
	t.Parallel()
	s, err := stack.Start(t.Context(), stack.Options{Dir: testenv.Memory(t), Only: []string{stack.AWS}, Store: stack.InBoth, IAM: true, AWSAddr: "127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	place := wiring.Place(s.Config)
	for _, bucket := range []string{place.Results, place.Archives} {
		if _, err := s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true }).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(there), Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
	}
	var calls []estate.Call
	for _, role := range estate.Roles() {
		for _, c := range role.Calls {
			if !slices.Contains(calls, c) {
				calls = append(calls, c)
			}
		}
	}
	allowed, refused := 0, 0
	for _, role := range estate.Roles() {
		key := s.Roles[role.Name]
		cfg, err := awsclient.Load(t.Context(), awsclient.Options{Region: s.AWS.Region(), Endpoint: s.AWS.Endpoint(), AccessKey: key.Access, SecretKey: key.Secret})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		for _, c := range calls {
			may := role.May(c)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			err := try(ctx, cfg, place, c)
			cancel()
			if may {
				allowed++
			} else {
				refused++
			}
			if denied(err) == may {
				t.Errorf("%s makes %s on %s: got %v, and whether it may is %v", role.Name, c.Operation, c.On, err, may)
			}
		}
	}
	if allowed < 100 || refused < 300 {
		t.Errorf("%d calls allowed and %d refused: the roles have shrunk", allowed, refused)
	}
	t.Logf("%d calls of %d roles were allowed, %d refused", allowed, len(estate.Roles()), refused)
}

// TestAnUpgradeBringsAllBackUnderTheRoles runs the pipeline with the role of each service.
func TestAnUpgradeBringsAllBackUnderTheRoles(t *testing.T) {
	t.Parallel()
	people := []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 8}}
	s := upWith(t, stack.Options{Dir: testenv.Memory(t), Store: stack.InBoth, IAM: true}, people)
	if _, err := sns.NewFromConfig(s.AWSConfig).Publish(t.Context(), &sns.PublishInput{TopicArn: &s.Config.PremiumTopic, Message: aws.String(`{"user_id": "fern"}`)}); err != nil {
		t.Fatal(err)
	}
	restored(t, s, "fern", 8)
	for _, role := range []string{estate.BridgeRole, estate.ThawRole, estate.RestoreRole} {
		record := s.AWS.Role(s.Roles[role].Access)
		if len(record.Used) == 0 || len(record.Refused) > 0 {
			t.Errorf("role %s used %d permits, and was refused %v", role, len(record.Used), record.Refused)
		}
	}
}
