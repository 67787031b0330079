package contract

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// queue makes a queue, and returns its URL and ARN.
func (r *run) queue(ctx context.Context, c *sqs.Client, step, name string) (url, arn string, err error) {
	in := &sqs.CreateQueueInput{QueueName: aws.String(r.name(name)), Attributes: map[string]string{"MessageRetentionPeriod": "1209600"}}
	if r.Tags {
		in.Tags = map[string]string{Tag: "yes"}
	}
	out, err := c.CreateQueue(ctx, in)
	if _, err = ask(r, step, "", out, err); err != nil {
		return "", "", err
	}
	got, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: out.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		return "", "", err
	}
	return *out.QueueUrl, got.Attributes["QueueArn"], nil
}

// receive waits for a message.
func receive(ctx context.Context, c *sqs.Client, url string) (out *sqs.ReceiveMessageOutput, err error) {
	until(ctx, func() bool {
		out, err = c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 2, VisibilityTimeout: 30, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}, MessageAttributeNames: []string{"All"},
		})
		return err != nil || len(out.Messages) > 0
	})
	return out, err
}

func (r *run) sqs(ctx context.Context) error {
	c := sqs.NewFromConfig(r.Config)
	none, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(r.name("no-such-queue"))})
	_, _ = ask(r, "sqs: the URL of a queue that is not there", "", none, err)
	_, deadARN, err := r.queue(ctx, c, "sqs: make a dead-letter queue", "dead")
	if err != nil {
		return err
	}
	url, _, err := r.queue(ctx, c, "sqs: make a queue", "queue")
	if err != nil {
		return err
	}
	redrive := `{"deadLetterTargetArn":"` + deadARN + `","maxReceiveCount":"100"}`
	set, err := c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"RedrivePolicy": redrive}})
	_, _ = ask(r, "sqs: set a redrive policy", "", set, err)
	set, err = c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"MessageRetentionPeriod": "1"}})
	_, _ = ask(r, "sqs: set a retention that is too short", "", set, err)
	got, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	_, _ = ask(r, "sqs: the attributes of a queue", "Attributes MessageRetentionPeriod VisibilityTimeout ApproximateNumberOfMessages MaximumMessageSize", got, err)
	empty, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url})
	_, _ = ask(r, "sqs: receive nothing", "Messages", empty, err)
	sent, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(`{"user_id": "fern"}`)})
	_, _ = ask(r, "sqs: send", "MessageId MD5OfMessageBody", sent, err)
	in, err := receive(ctx, c, url)
	_, _ = ask(r, "sqs: receive", "Messages Body MessageId MD5OfBody ReceiptHandle Attributes ApproximateReceiveCount", in, err)
	if err != nil || len(in.Messages) != 1 {
		return err
	}
	receipt := in.Messages[0].ReceiptHandle
	hide, err := c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{{Id: aws.String("0"), ReceiptHandle: receipt, VisibilityTimeout: 0}, {Id: aws.String("1"), ReceiptHandle: aws.String("no receipt"), VisibilityTimeout: 1}}})
	_, _ = ask(r, "sqs: give back a message, and one that is none", "Successful Failed Code SenderFault", hide, err)
	in, err = receive(ctx, c, url)
	_, _ = ask(r, "sqs: receive again", "Messages Body Attributes ApproximateReceiveCount", in, err)
	if err != nil || len(in.Messages) != 1 {
		return err
	}
	removed, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []types.DeleteMessageBatchRequestEntry{{Id: aws.String("0"), ReceiptHandle: in.Messages[0].ReceiptHandle}, {Id: aws.String("1"), ReceiptHandle: aws.String("no receipt")}}})
	_, _ = ask(r, "sqs: delete a message, and one that is none", "Successful Failed Code SenderFault", removed, err)
	gone, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(url + "-gone")})
	_, _ = ask(r, "sqs: receive from a queue that is not there", "", gone, err)
	return nil
}

func (r *run) sns(ctx context.Context) error {
	c, queues := sns.NewFromConfig(r.Config), sqs.NewFromConfig(r.Config)
	in := &sns.CreateTopicInput{Name: aws.String(r.name("topic")), Attributes: map[string]string{"SignatureVersion": "2"}}
	if r.Tags {
		in.Tags = []snstypes.Tag{{Key: aws.String(Tag), Value: aws.String("yes")}}
	}
	out, err := c.CreateTopic(ctx, in)
	if _, err := ask(r, "sns: make a topic", "TopicArn", out, err); err != nil {
		return err
	}
	topic := out.TopicArn
	out, err = c.CreateTopic(ctx, &sns.CreateTopicInput{Name: in.Name, Tags: in.Tags})
	_, _ = ask(r, "sns: make a topic again", "TopicArn", out, err)
	got, err := c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic})
	_, _ = ask(r, "sns: the attributes of a topic", "Attributes TopicArn Owner SignatureVersion", got, err)
	got, err = c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(*topic + "-none")})
	_, _ = ask(r, "sns: the attributes of a topic that is not there", "", got, err)
	url, arn, err := r.queue(ctx, queues, "sns: make a queue", "subscribed")
	if err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` + arn + `","Condition":{"ArnEquals":{"aws:SourceArn":"` + *topic + `"}}}]}`
	set, err := queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"Policy": policy}})
	_, _ = ask(r, "sns: let the topic send to the queue", "", set, err)
	sub, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic, Protocol: aws.String("sqs"), Endpoint: &arn, ReturnSubscriptionArn: true})
	if _, err := ask(r, "sns: subscribe", "", sub, err); err != nil {
		return err
	}
	list, err := c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: topic})
	_, _ = ask(r, "sns: list the subscriptions", "Subscriptions Protocol Endpoint TopicArn", list, err)
	attributes, err := c.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub.SubscriptionArn})
	_, _ = ask(r, "sns: the attributes of a subscription", "Attributes RawMessageDelivery PendingConfirmation Protocol Endpoint", attributes, err)
	confirm, err := c.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: topic, Token: aws.String("0123456789abcdef")})
	_, _ = ask(r, "sns: confirm with a token that is none", "", confirm, err)
	nowhere, err := c.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(*topic + "-none"), Message: aws.String("x")})
	_, _ = ask(r, "sns: publish on a topic that is not there", "", nowhere, err)
	sent, err := c.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: aws.String(`{"user_id": "fern"}`), MessageAttributes: map[string]snstypes.MessageAttributeValue{"traceparent": {DataType: aws.String("String"), StringValue: aws.String("00-1")}}})
	_, _ = ask(r, "sns: publish", "MessageId", sent, err)
	message, err := receive(ctx, queues, url)
	if err == nil && len(message.Messages) == 1 {
		// What is in the envelope matters, and that its body is the message.
		var envelope map[string]any
		if json.Unmarshal([]byte(aws.ToString(message.Messages[0].Body)), &envelope) == nil {
			names, err := json.Marshal(map[string]any{"has": slices.Sorted(maps.Keys(envelope)), "type": envelope["Type"], "message": envelope["Message"], "signed": envelope["SignatureVersion"]})
			if err == nil {
				message.Messages[0].Body = aws.String(string(names))
			}
		}
	}
	_, _ = ask(r, "sns: what comes to the queue", "Messages Body Attributes ApproximateReceiveCount", message, err)
	return nil
}
