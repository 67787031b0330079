// Package sns announces upgrades and confirms subscriptions.
package sns

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/aws/awsfault"
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

// AnnounceUpgrade says on the premium topic that the user is Premium since then, and
// which plan stands on the account; the zero time says nothing of when.
func (t *Topics) AnnounceUpgrade(ctx context.Context, user events.UserID, plan string, since time.Time) error {
	body, err := json.Marshal(struct {
		UserID events.UserID `json:"user_id"`
		Plan   string        `json:"plan_id,omitempty"`
		Since  time.Time     `json:"upgraded_at,omitzero"`
	}{user, plan, since.UTC()})
	if err != nil {
		return fmt.Errorf("announce upgrade: %w", err)
	}
	_, err = t.client.Publish(ctx, &sns.PublishInput{TopicArn: &t.premium, Message: aws.String(string(body))})
	return awsfault.Wrap(err, "announce upgrade of %s", user)
}

// ConfirmSubscription confirms a subscription to topic by the token that its
// endpoint was sent.
func (t *Topics) ConfirmSubscription(ctx context.Context, topic, token string) error {
	_, err := t.client.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token})
	return awsfault.Wrap(err, "confirm subscription to %s", topic)
}
