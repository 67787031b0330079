package awsestate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// place has names for things that do not exist yet.
func place(a *testenv.AWS) estate.Place {
	return estate.Place{
		Partition: "aws", Region: a.Region(), Account: a.World.Account,
		Tables:  estate.Names{Jobs: "new-jobs", Accounts: "new-accounts", Plans: "new-plans"},
		Results: "new-results", Archives: "new-archives", Vault: "new-vault",
		PremiumTopic: "new-premium", PremiumQueue: "new-premium", RestoreTopic: "new-restore", RestoreQueue: "new-restore",
	}
}

// provisioner returns the account and the tables as the role of provision sees them.
func provisioner(t *testing.T, a *testenv.AWS, at estate.Place) (account *awsestate.Account, tables *dynamodb.Catalog, key string) {
	t.Helper()
	role, _ := estate.RoleOf(estate.ProvisionRole)
	key, secret, err := a.SetRole(role.Name, estate.Document(role.Permits(at)))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{Region: a.Region(), Endpoint: a.Endpoint(), AccessKey: key, SecretKey: secret, Transport: a.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	return awsestate.New(cfg), dynamodb.New(cfg, dynamodb.Tables{Jobs: at.Tables.Jobs, Accounts: at.Tables.Accounts, Plans: at.Tables.Plans}), key
}

// todo returns what a plan would do, a line for each change.
func todo(t *testing.T, account *awsestate.Account, tables *dynamodb.Catalog, at estate.Place) (lines []string) {
	t.Helper()
	plan, err := account.Plan(t.Context(), tables, at)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range plan.Changes {
		mark := "+ "
		if c.Existing {
			mark = "~ "
		}
		lines = append(lines, mark+c.On+": "+c.Do)
	}
	for _, f := range plan.Faults {
		lines = append(lines, "! "+f.Problem)
	}
	return lines
}

// TestProvisioningMakesEverythingOnceWithItsRole makes everything in an empty account. It
// breaks one thing after the other: the plan names what is broken, and repairs nothing else.
func TestProvisioningMakesEverythingOnceWithItsRole(t *testing.T) {
	a := testenv.NewAWS(t)
	at := place(a)
	account, tables, key := provisioner(t, a, at)
	first := todo(t, account, tables, at)
	if len(first) < 20 || slices.ContainsFunc(first, func(l string) bool { return !strings.HasPrefix(l, "+ ") && !strings.Contains(l, "subscribe") }) {
		t.Errorf("in an empty account, the plan is: %s", strings.Join(first, "\n"))
	}
	if err := account.Make(t.Context(), tables, at); err != nil {
		t.Fatal(err)
	}
	if left := todo(t, account, tables, at); len(left) > 0 {
		t.Errorf("after everything was made: %s", strings.Join(left, "\n"))
	}
	queues, topics, objects, db := sqs.NewFromConfig(a.Config), sns.NewFromConfig(a.Config), a.Objects, ddb.NewFromConfig(a.Config)
	set := func(queue, name, value string) func(context.Context) error {
		return func(ctx context.Context) error {
			url := a.SQS.QueueURL(queue)
			_, err := queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{name: value}})
			return err
		}
	}
	drop := func(table, index string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := db.UpdateTable(ctx, &ddb.UpdateTableInput{TableName: &table, GlobalSecondaryIndexUpdates: []ddbtypes.GlobalSecondaryIndexUpdate{{Delete: &ddbtypes.DeleteGlobalSecondaryIndexAction{IndexName: &index}}}})
			a.World.Clock.Advance(time.Hour)
			return err
		}
	}
	restoreTopic := at.ARN(estate.RestoreTopic)
	for _, c := range []struct {
		want string
		do   func(context.Context) error
	}{
		{"~ table new-jobs: add index archived_index, which DynamoDB fills while the table is in use", drop(at.Tables.Jobs, estate.ArchivedIndex)},
		{"~ table new-accounts: add index plan_index, which DynamoDB fills while the table is in use", drop(at.Tables.Accounts, estate.PlanIndex)},
		{"~ queue new-premium: move a message to new-premium-dead after 100 receives", set("new-premium", "RedrivePolicy", "")},
		{"~ table new-plans: turn on point-in-time recovery", func(ctx context.Context) error {
			_, err := db.UpdateContinuousBackups(ctx, &ddb.UpdateContinuousBackupsInput{TableName: &at.Tables.Plans, PointInTimeRecoverySpecification: &ddbtypes.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(false)}})
			return err
		}},
		{"~ queue new-premium: let topic new-premium send to it", set("new-premium", "Policy", "")},
		{"~ queue new-premium: keep messages for 14 days", set("new-premium", "MessageRetentionPeriod", "60")},
		{"~ queue new-premium: encrypt messages with SQS's own key", set("new-premium", "SqsManagedSseEnabled", "false")},
		{"~ queue new-restore: move a message to new-restore-dead after 100 receives", set("new-restore", "RedrivePolicy", "")},
		{"~ queue new-restore: take messages of up to 262144 bytes", set("new-restore", "MaximumMessageSize", "1024")},
		{"~ topic new-restore: subscribe queue new-restore", func(ctx context.Context) error {
			out, err := topics.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &restoreTopic})
			if err == nil {
				_, err = topics.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: out.Subscriptions[0].SubscriptionArn})
			}
			return err
		}},
		{"~ bucket new-results: add lifecycle rule gas-unfinished-uploads: uploads that nobody completed end after 14 days", func(ctx context.Context) error {
			_, err := objects.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: &at.Results})
			return err
		}},
		{"~ bucket new-archives: keep versions", func(ctx context.Context) error {
			_, err := objects.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &at.Archives, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}})
			return err
		}},
		{"~ bucket new-archives: tell topic new-restore about temporary copies", func(ctx context.Context) error {
			_, err := objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &at.Archives, NotificationConfiguration: &s3types.NotificationConfiguration{}})
			return err
		}},
	} {
		if err := c.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.want, err)
		}
		if got := todo(t, account, tables, at); len(got) != 1 || got[0] != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if err := account.Make(t.Context(), tables, at); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
		a.World.Clock.Advance(time.Hour) // an index is filled
		if left := todo(t, account, tables, at); len(left) > 0 {
			t.Errorf("%s: after it was repaired: %s", c.want, strings.Join(left, "\n"))
		}
	}
	record := a.Role(key)
	if len(record.Refused) > 0 {
		t.Errorf("the role was refused %v", record.Refused)
	}
	role, _ := estate.RoleOf(estate.ProvisionRole)
	for _, p := range role.Permits(at) {
		for _, action := range p.Actions {
			used := false
			for need := range record.Used {
				used = used || need.Action == action && need.Resource == p.Resource
			}
			if !used {
				t.Errorf("allowed, although provision did not do it: %s on %s", action, p.Resource)
			}
		}
	}
}

// TestProvisioningKeepsWhatOthersConfigured has rules, notifications and statements of
// somebody else, which must still be there afterwards.
func TestProvisioningKeepsWhatOthersConfigured(t *testing.T) {
	a := testenv.NewAWS(t)
	at := place(a)
	account, tables, _ := provisioner(t, a, at)
	ctx := t.Context()
	for _, bucket := range []string{at.Results, at.Archives} {
		if _, err := a.Objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Objects.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: &at.Results, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: []s3types.LifecycleRule{{
		ID: aws.String("theirs"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("tmp/")}, AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(3)},
	}}}}); err != nil {
		t.Fatal(err)
	}
	queues, topics := sqs.NewFromConfig(a.Config), sns.NewFromConfig(a.Config)
	deadLetters, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("theirs")})
	if err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"Theirs","Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"sqs:SendMessage","Resource":%q}]}`, at.ARN(estate.PremiumQueue))
	if _, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &at.PremiumQueue, Attributes: map[string]string{
		"Policy": policy, "RedrivePolicy": `{"deadLetterTargetArn":"` + a.SQS.QueueARN("theirs") + `","maxReceiveCount":50}`,
	}}); err != nil {
		t.Fatal(err, deadLetters)
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &at.RestoreTopic})
	if err != nil {
		t.Fatal(err)
	}
	theirs := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"Theirs","Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"SNS:Publish","Resource":%q}]}`, *topic.TopicArn)
	if _, err := topics.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: topic.TopicArn, AttributeName: aws.String("Policy"), AttributeValue: &theirs}); err != nil {
		t.Fatal(err)
	}

	if err := account.Make(ctx, tables, at); err != nil {
		t.Fatal(err)
	}
	rules, err := a.Objects.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &at.Results})
	if err != nil || len(rules.Rules) != 2 || aws.ToString(rules.Rules[0].ID) != "theirs" {
		t.Errorf("lifecycle rules: %v, %v", rules, err)
	}
	q, err := account.Queue(ctx, a.SQS.QueueURL(at.PremiumQueue))
	if err != nil || !strings.Contains(q.Policy, "Theirs") || !strings.Contains(q.Redrive, `:theirs"`) || !q.LetsIn(at.ARN(estate.PremiumTopic)) {
		t.Errorf("queue: %+v, %v", q, err)
	}
	found, err := account.Topic(ctx, *topic.TopicArn)
	if err != nil || !strings.Contains(found.Policy, "Theirs") || !found.LetsPublish(estate.Glacier) || !found.LetsPublish(estate.S3) {
		t.Errorf("topic: %+v, %v", found, err)
	}
}

// TestProvisioningLeavesWhatADeletionWouldMend has a table with other keys.
func TestProvisioningLeavesWhatADeletionWouldMend(t *testing.T) {
	a := testenv.NewAWS(t)
	at := place(a)
	if _, err := ddb.NewFromConfig(a.Config).CreateTable(t.Context(), &ddb.CreateTableInput{
		TableName: &at.Tables.Plans, BillingMode: ddbtypes.BillingModePayPerRequest,
		KeySchema:            []ddbtypes.KeySchemaElement{{AttributeName: aws.String("other"), KeyType: ddbtypes.KeyTypeHash}},
		AttributeDefinitions: []ddbtypes.AttributeDefinition{{AttributeName: aws.String("other"), AttributeType: ddbtypes.ScalarAttributeTypeS}},
	}); err != nil {
		t.Fatal(err)
	}
	account, tables, _ := provisioner(t, a, at)
	plan, err := account.Plan(t.Context(), tables, at)
	if err != nil || len(plan.Faults) != 1 || !strings.Contains(plan.Faults[0].Problem, "the keys of table new-plans") {
		t.Errorf("got %+v, %v", plan.Faults, err)
	}
}
