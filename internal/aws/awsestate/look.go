// Package awsestate reads tables, topics, queues and policies in AWS in the form of
// package estate, and makes the missing ones. It deletes nothing.
package awsestate

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
)

// Account is topics and queues in an account of AWS.
type Account struct {
	cfg    aws.Config
	topics *sns.Client
	queues *sqs.Client
}

// New returns the account that the configuration signs for.
func New(cfg aws.Config) *Account {
	return &Account{cfg, sns.NewFromConfig(cfg), sqs.NewFromConfig(cfg)}
}

// Topic returns the topic as it is, with its subscriptions; nil if there is none.
func (a *Account) Topic(ctx context.Context, arn string) (*estate.FoundTopic, error) {
	out, err := a.topics.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if _, none := errors.AsType[*snstypes.NotFoundException](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, awsfault.Wrap(err, "look at topic %s", arn)
	}
	found := &estate.FoundTopic{ARN: arn, Policy: out.Attributes["Policy"]}
	for pages := sns.NewListSubscriptionsByTopicPaginator(a.topics, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, awsfault.Wrap(err, "list subscriptions of topic %s", arn)
		}
		for _, s := range page.Subscriptions {
			sub, err := a.subscription(ctx, s)
			if err != nil {
				return nil, err
			}
			found.Subscriptions = append(found.Subscriptions, sub)
		}
	}
	return found, nil
}

func (a *Account) subscription(ctx context.Context, s snstypes.Subscription) (estate.Subscription, error) {
	sub := estate.Subscription{Protocol: aws.ToString(s.Protocol), Endpoint: aws.ToString(s.Endpoint)}
	if !strings.HasPrefix(aws.ToString(s.SubscriptionArn), "arn:") {
		sub.Pending = true // then there is no ARN, and it has no attributes
		return sub, nil
	}
	out, err := a.topics.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
	if err != nil {
		return sub, awsfault.Wrap(err, "look at subscription %s", aws.ToString(s.SubscriptionArn))
	}
	sub.Pending = out.Attributes["PendingConfirmation"] == "true"
	sub.Raw = out.Attributes["RawMessageDelivery"] == "true"
	sub.Filter = out.Attributes["FilterPolicy"]
	return sub, nil
}

// QueueName returns the name of the queue at url.
func QueueName(url string) string { return path.Base(url) }

// attributes returns those of the queue at url; nil if there is none.
func (a *Account) attributes(ctx context.Context, url string) (map[string]string, error) {
	out, err := a.queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if _, none := errors.AsType[*types.QueueDoesNotExist](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, awsfault.Wrap(err, "look at queue %s", QueueName(url))
	}
	return out.Attributes, nil
}

// Queue returns the queue at url as it is; nil if there is none.
func (a *Account) Queue(ctx context.Context, url string) (*estate.FoundQueue, error) {
	all, err := a.attributes(ctx, url)
	if all == nil || err != nil {
		return nil, err
	}
	seconds, _ := strconv.Atoi(all["MessageRetentionPeriod"])
	most, _ := strconv.Atoi(all["MaximumMessageSize"])
	found := &estate.FoundQueue{
		ARN: all["QueueArn"], Policy: all["Policy"], Redrive: all["RedrivePolicy"],
		Retention: time.Duration(seconds) * time.Second, MaxMessage: most, Key: all["KmsMasterKeyId"], Encrypted: all["SqsManagedSseEnabled"] != "false",
	}
	if r, ok := estate.ParseRedrive(found.Redrive); ok {
		switch url, err := a.queueOf(ctx, r.Target); {
		case fault.Is(err, fault.Denied): // somebody else's queue, which is not ours to look at
			found.DeadThere = true
		case err != nil:
			return nil, err
		default:
			found.DeadThere = url != ""
		}
	}
	return found, nil
}

// queueOf returns the URL of the queue with the ARN; empty if there is none.
func (a *Account) queueOf(ctx context.Context, arn string) (string, error) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 {
		return "", nil
	}
	out, err := a.queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &parts[5], QueueOwnerAWSAccountId: &parts[4]})
	if _, none := errors.AsType[*types.QueueDoesNotExist](err); none {
		return "", nil
	}
	if err != nil {
		return "", awsfault.Wrap(err, "look for queue %s", arn)
	}
	return *out.QueueUrl, nil
}

// Depth is how many messages a queue has.
type Depth struct {
	Name string
	// Waiting are those that can be received, or later on; InHand those that somebody has
	// received and not deleted.
	Waiting, InHand int
}

// Depths returns how many messages the queue at url has, and, if a redrive policy names
// one, its dead-letter queue, which is nil otherwise.
func (a *Account) Depths(ctx context.Context, url string) (Depth, *Depth, error) {
	all, err := a.attributes(ctx, url)
	if err != nil || all == nil {
		if err == nil {
			err = errors.New("there is no queue " + url)
		}
		return Depth{}, nil, err
	}
	d := depthOf(QueueName(url), all)
	r, ok := estate.ParseRedrive(all["RedrivePolicy"])
	if !ok {
		return d, nil, nil
	}
	target, err := a.queueOf(ctx, r.Target)
	if err != nil || target == "" {
		return d, nil, err
	}
	if all, err = a.attributes(ctx, target); err != nil || all == nil {
		return d, nil, err
	}
	dead := depthOf(QueueName(target), all)
	return d, &dead, nil
}

func depthOf(name string, all map[string]string) Depth {
	n := func(attribute types.QueueAttributeName) int {
		v, _ := strconv.Atoi(all[string(attribute)])
		return v
	}
	return Depth{
		Name:    name,
		Waiting: n(types.QueueAttributeNameApproximateNumberOfMessages) + n(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
		InHand:  n(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
	}
}
