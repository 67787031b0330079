package sns_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

func TestATopicIsMadeOnce(t *testing.T) {
	s := start(t)
	arn := s.topic("t", map[string]string{"DisplayName": "results"})
	if want := "arn:aws:sns:us-east-1:" + account + ":t"; *arn != want {
		t.Errorf("got %s, want %s", *arn, want)
	}
	if again := s.topic("t", nil); *again != *arn {
		t.Errorf("made again: got %s, want %s", *again, *arn)
	}
	_, err := s.CreateTopic(ctx, &awssns.CreateTopicInput{Name: aws.String("t"), Attributes: map[string]string{"DisplayName": "x"}})
	wantCode(t, err, "InvalidParameter")
	for range 2 { // deleting is idempotent
		if _, err := s.DeleteTopic(ctx, &awssns.DeleteTopicInput{TopicArn: arn}); err != nil {
			t.Error(err)
		}
	}
	_, err = s.GetTopicAttributes(ctx, &awssns.GetTopicAttributesInput{TopicArn: arn})
	wantCode(t, err, "NotFound")
}

func TestTopicsThatAWSRefusesAreRefused(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	for _, name := range []string{"", "a b", "t.fifo", strings.Repeat("x", 257)} {
		_, err := s.CreateTopic(ctx, &awssns.CreateTopicInput{Name: &name})
		wantCode(t, err, "InvalidParameter")
	}
	for name, value := range map[string]string{"SignatureVersion": "3", "Policy": "x", "KmsMasterKeyId": "k", "FifoTopic": "true", "Colour": "red", "DisplayName": strings.Repeat("x", 101)} {
		_, err := s.SetTopicAttributes(ctx, &awssns.SetTopicAttributesInput{TopicArn: arn, AttributeName: &name, AttributeValue: &value})
		wantCode(t, err, "InvalidParameter")
	}
	for arn, code := range map[string]string{
		"arn:aws:sns:us-east-1:" + account + ":nope": "NotFound",
		"arn:aws:sqs:us-east-1:" + account + ":t":    "InvalidParameter",
		"t":                                    "InvalidParameter",
		"arn:aws:sns:us-east-1:999999999999:t": "AuthorizationError",
	} {
		_, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: &arn, Message: aws.String("x")})
		wantCode(t, err, code)
	}
	_, err := s.AddPermission(ctx, &awssns.AddPermissionInput{TopicArn: arn, Label: aws.String("l"), AWSAccountId: []string{account}, ActionName: []string{"Publish"}})
	wantCode(t, err, "InvalidAction")
}

func TestAttributesAndTagsAreKept(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	for name, value := range map[string]string{"SignatureVersion": "2", "Policy": `{"Statement":[]}`, "DisplayName": "d"} {
		if _, err := s.SetTopicAttributes(ctx, &awssns.SetTopicAttributesInput{TopicArn: arn, AttributeName: &name, AttributeValue: &value}); err != nil {
			t.Error(err)
		}
	}
	s.subscribe(arn, "sqs", queueARN("q"), nil)
	gone := s.subscribe(arn, "sqs", queueARN("q2"), nil)
	s.subscribe(arn, "http", "http://127.0.0.1:1/", nil)
	if _, err := s.Unsubscribe(ctx, &awssns.UnsubscribeInput{SubscriptionArn: &gone}); err != nil {
		t.Fatal(err)
	}
	out, err := s.GetTopicAttributes(ctx, &awssns.GetTopicAttributesInput{TopicArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"SignatureVersion": "2", "Policy": `{"Statement":[]}`, "DisplayName": "d", "Owner": account, "TopicArn": *arn,
		"SubscriptionsConfirmed": "1", "SubscriptionsPending": "1", "SubscriptionsDeleted": "1",
	} {
		if got := out.Attributes[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if _, err := s.TagResource(ctx, &awssns.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UntagResource(ctx, &awssns.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if tags, err := s.ListTagsForResource(ctx, &awssns.ListTagsForResourceInput{ResourceArn: arn}); err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "b" {
		t.Errorf("got tags %v, %v", tags, err)
	}
}

func TestTopicsAndSubscriptionsAreListedByPage(t *testing.T) {
	s := start(t)
	var want []string
	for i := range 230 {
		want = append(want, *s.topic(fmt.Sprintf("t-%03d", i), nil))
	}
	var got []string
	for p := awssns.NewListTopicsPaginator(s, &awssns.ListTopicsInput{}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range page.Topics {
			got = append(got, *topic.TopicArn)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d topics, want %d in order", len(got), len(want))
	}
	var subs []string
	for i := range 120 {
		subs = append(subs, s.subscribe(&want[3], "sqs", queueARN(fmt.Sprint("q", i)), nil))
	}
	s.subscribe(&want[2], "sqs", queueARN("q"), nil)
	s.subscribe(&want[4], "sqs", queueARN("q"), nil)
	slices.Sort(subs)
	got = nil
	for p := awssns.NewListSubscriptionsByTopicPaginator(s, &awssns.ListSubscriptionsByTopicInput{TopicArn: &want[3]}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, sub := range page.Subscriptions {
			got = append(got, *sub.SubscriptionArn)
		}
	}
	if !slices.Equal(got, subs) {
		t.Errorf("got %d subscriptions, want %d", len(got), len(subs))
	}
	n := 0
	for p := awssns.NewListSubscriptionsPaginator(s, &awssns.ListSubscriptionsInput{}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Subscriptions)
	}
	if n != 122 {
		t.Errorf("got %d subscriptions of all topics, want 122", n)
	}
	_, err := s.ListTopics(ctx, &awssns.ListTopicsInput{NextToken: aws.String("!")})
	wantCode(t, err, "InvalidParameter")
}

func TestSubscriptionsThatAWSOrTheStandInRefusesAreRefused(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	for _, c := range []struct {
		protocol, endpoint string
		attributes         map[string]string
	}{
		{"sqs", "http://x/q", nil},
		{"sqs", queueARN("q.fifo"), nil},
		{"sqs", queueARN("q"), map[string]string{"FilterPolicy": `{"a":"b"}`}},
		{"sqs", queueARN("q"), map[string]string{"FilterPolicyScope": "Message"}},
		{"sqs", queueARN("q"), map[string]string{"RawMessageDelivery": "maybe"}},
		{"sqs", queueARN("q"), map[string]string{"RedrivePolicy": "x"}},
		{"sqs", queueARN("q"), map[string]string{"DeliveryPolicy": "{}"}},
		{"http", "https://127.0.0.1/", nil},
		{"http", "127.0.0.1", nil},
		{"https", "https://example.com/hook", nil},
		{"http", "http://10.0.0.1/", nil},
		{"http", "http://127.0.0.1.example.com/", nil},
		{"email", "a@example.com", nil},
		{"sms", "+1", nil},
		{"pigeon", "x", nil},
	} {
		_, err := s.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: arn, Protocol: &c.protocol, Endpoint: &c.endpoint, Attributes: c.attributes})
		t.Run(c.protocol+" "+c.endpoint, func(t *testing.T) { wantCode(t, err, "InvalidParameter") })
	}
	if n := len(s.service.Subscriptions(*arn)); n != 0 {
		t.Errorf("%d subscriptions were made, want 0", n)
	}
}

func TestASubscriptionIsMadeOnceAndChanged(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	sub := s.subscribe(arn, "sqs", queueARN("q"), nil)
	if again := s.subscribe(arn, "sqs", queueARN("q"), nil); again != sub {
		t.Errorf("made again: got %s, want %s", again, sub)
	}
	_, err := s.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: aws.String(queueARN("q")), Attributes: map[string]string{"RawMessageDelivery": "true"}})
	wantCode(t, err, "InvalidParameter")
	set := func(name, value string) error {
		_, err := s.SetSubscriptionAttributes(ctx, &awssns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: &name, AttributeValue: &value})
		return err
	}
	if err := set("RawMessageDelivery", "true"); err != nil {
		t.Error(err)
	}
	if err := set("RedrivePolicy", `{"deadLetterTargetArn":"`+queueARN("dead")+`"}`); err != nil {
		t.Error(err)
	}
	wantCode(t, set("RedrivePolicy", "x"), "InvalidParameter")
	out, err := s.GetSubscriptionAttributes(ctx, &awssns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
	if err != nil || out.Attributes["RawMessageDelivery"] != "true" || out.Attributes["PendingConfirmation"] != "false" ||
		out.Attributes["RedrivePolicy"] != `{"deadLetterTargetArn":"`+queueARN("dead")+`"}` {
		t.Errorf("got %v, %v", out, err)
	}
	for range 2 {
		if _, err := s.Unsubscribe(ctx, &awssns.UnsubscribeInput{SubscriptionArn: &sub}); err != nil {
			t.Error(err)
		}
	}
	_, err = s.GetSubscriptionAttributes(ctx, &awssns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
	wantCode(t, err, "NotFound")
	_, err = s.Unsubscribe(ctx, &awssns.UnsubscribeInput{SubscriptionArn: aws.String("x")})
	wantCode(t, err, "InvalidParameter")
}
