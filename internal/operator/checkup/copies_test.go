package checkup_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/operator/checkup"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestABucketThatNobodyHearsOfIsNamed breaks each part of the way of S3's events.
func TestABucketThatNobodyHearsOfIsNamed(t *testing.T) {
	o := shared(t)
	for _, c := range []struct {
		name  string
		harm  func(ctx context.Context, b *fixture) error
		state checkup.State
		says  string
	}{
		{"nothing", func(context.Context, *fixture) error { return nil }, "", ""},
		{"no versions", func(ctx context.Context, b *fixture) error {
			_, err := b.Objects.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: aws.String(testenv.ColdID), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}})
			return err
		}, checkup.Unproven, "keeps no versions"},
		{"no notifications", func(ctx context.Context, b *fixture) error {
			_, err := b.Objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: aws.String(testenv.ColdID), NotificationConfiguration: &s3types.NotificationConfiguration{}})
			return err
		}, checkup.Unproven, "does not tell topic"},
		{"only the expiry is told", func(ctx context.Context, b *fixture) error {
			_, err := b.Objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: aws.String(testenv.ColdID), NotificationConfiguration: &s3types.NotificationConfiguration{
				TopicConfigurations: []s3types.TopicConfiguration{{TopicArn: aws.String(b.topics[estate.Restore]), Events: []s3types.Event{"s3:ObjectRestore:Delete"}}},
			}})
			return err
		}, checkup.Unproven, "does not tell topic"},
		{"S3 may not publish", func(ctx context.Context, b *fixture) error {
			policy, err := estate.LetPublish("", b.topics[estate.Restore], estate.Glacier)
			if err != nil {
				return err
			}
			_, err = sns.NewFromConfig(b.Config).SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{
				TopicArn: aws.String(b.topics[estate.Restore]), AttributeName: aws.String("Policy"),
				AttributeValue: &policy,
			})
			return err
		}, checkup.Wrong, "does not let s3.amazonaws.com publish"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t, o)
			if err := b.account.MakeArchiveBucket(t.Context(), testenv.ColdID, b.topics[estate.Restore]); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			b.vars = append(b.vars, "GAS_ARCHIVE_BUCKET="+testenv.ColdID)
			var named []string
			for _, f := range b.check() {
				if f.What == "GAS_ARCHIVE_BUCKET" && f.State != checkup.OK {
					named = append(named, string(f.State)+": "+f.Words+" -> "+f.Fix)
				}
			}
			got := strings.Join(named, "\n")
			if c.says == "" && got != "" || !strings.HasPrefix(got, string(c.state)) || !strings.Contains(got, c.says) || c.says != "" && (len(named) != 1 || !strings.Contains(got, "gas provision aws")) {
				t.Errorf("got %q, want one line: %s: …%s…", got, c.state, c.says)
			}
		})
	}
}
