// Package sns announces upgrades and confirms subscriptions.
package sns

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

// Topics is SNS as the pipeline uses it.
type Topics struct {
	client  *sns.Client
	premium string
}

// New returns Topics; premium is the ARN of the topic for upgrades.
func New(cfg aws.Config, premium string) *Topics {
	return &Topics{client: sns.NewFromConfig(cfg), premium: premium}
}

// AnnounceUpgrade publishes the message on the premium topic.
func (t *Topics) AnnounceUpgrade(ctx context.Context, m events.UpgradeMessage) error {
	body, err := m.Encode()
	if err != nil {
		return err
	}
	in := &sns.PublishInput{TopicArn: &t.premium, Message: &body}
	if step := trace.Of(ctx); step != "" {
		in.MessageAttributes = map[string]types.MessageAttributeValue{trace.Key: {DataType: aws.String("String"), StringValue: &step}}
	}
	_, err = t.client.Publish(ctx, in)
	return awsfault.Wrap(err, "announce upgrade of %s", m.UserID)
}

// ConfirmSubscription confirms a subscription to topic by the token that its
// endpoint was sent.
func (t *Topics) ConfirmSubscription(ctx context.Context, topic, token string) error {
	_, err := t.client.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token})
	return awsfault.Wrap(err, "confirm subscription to %s", topic)
}
