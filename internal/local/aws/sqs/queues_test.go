package sqs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestAQueueIsMadeOnceAndFoundByItsName(t *testing.T) {
	s := start(t)
	url := s.queue("q", map[string]string{"VisibilityTimeout": "40"})
	if want := "http://sqs.test/" + account + "/q"; *url != want {
		t.Errorf("got URL %s, want %s", *url, want)
	}
	if again := s.queue("q", nil); *again != *url {
		t.Errorf("made again: got %s, want %s", *again, *url)
	}
	_, err := s.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"VisibilityTimeout": "41"}})
	wantCode(t, err, "QueueAlreadyExists")
	var exists *types.QueueNameExists
	if !errors.As(err, &exists) {
		t.Errorf("got %T, want a QueueNameExists", err)
	}
	if out, err := s.GetQueueUrl(ctx, &awssqs.GetQueueUrlInput{QueueName: aws.String("q")}); err != nil || *out.QueueUrl != *url {
		t.Errorf("got %v, %v", out, err)
	}
	s.service.SetEndpoint("http://127.0.0.1:9")
	if got, want := *s.queue("q", nil), "http://127.0.0.1:9/"+account+"/q"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.send(aws.String("https://sqs.us-east-1.amazonaws.com/"+account+"/q"), "by another address")
	s.wantBodies(url, "by another address")
}

func TestAQueueThatDoesNotExistIsSaidSo(t *testing.T) {
	s := start(t)
	url := aws.String("http://sqs.test/" + account + "/nope")
	_, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url})
	wantCode(t, err, "AWS.SimpleQueueService.NonExistentQueue")
	var gone *types.QueueDoesNotExist
	if !errors.As(err, &gone) {
		t.Errorf("got %T, want a QueueDoesNotExist", err)
	}
	_, err = s.GetQueueUrl(ctx, &awssqs.GetQueueUrlInput{QueueName: aws.String("nope")})
	wantCode(t, err, "AWS.SimpleQueueService.NonExistentQueue")
	_, err = s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: aws.String("http://x/a b")})
	wantCode(t, err, "InvalidAddress")
}

func TestQueuesThatAWSRefusesAreRefused(t *testing.T) {
	s := start(t)
	closed := s.queue("closed", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
	s.queue("open", nil)
	arn := func(name string) string { return "arn:aws:sqs:us-east-1:" + account + ":" + name }
	for _, c := range []struct {
		name       string
		attributes map[string]string
		code       string
	}{
		{"", nil, "MissingParameter"},
		{"a b", nil, "InvalidParameterValue"},
		{strings.Repeat("x", 81), nil, "InvalidParameterValue"},
		{"q.fifo", nil, "AWS.SimpleQueueService.UnsupportedOperation"},
		{"q", map[string]string{"FifoQueue": "true"}, "AWS.SimpleQueueService.UnsupportedOperation"},
		{"q", map[string]string{"KmsMasterKeyId": "k"}, "AWS.SimpleQueueService.UnsupportedOperation"},
		{"q", map[string]string{"Speed": "1"}, "InvalidAttributeName"},
		{"q", map[string]string{"VisibilityTimeout": "43201"}, "InvalidAttributeValue"},
		{"q", map[string]string{"VisibilityTimeout": "x"}, "InvalidAttributeValue"},
		{"q", map[string]string{"DelaySeconds": "901"}, "InvalidAttributeValue"},
		{"q", map[string]string{"ReceiveMessageWaitTimeSeconds": "21"}, "InvalidAttributeValue"},
		{"q", map[string]string{"MessageRetentionPeriod": "59"}, "InvalidAttributeValue"},
		{"q", map[string]string{"MaximumMessageSize": "1048577"}, "InvalidAttributeValue"},
		{"q", map[string]string{"SqsManagedSseEnabled": "yes"}, "InvalidAttributeValue"},
		{"q", map[string]string{"RedrivePolicy": `x`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"x","maxReceiveCount":1}`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arn("nope") + `","maxReceiveCount":1}`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arn("open") + `","maxReceiveCount":0}`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arn("closed") + `","maxReceiveCount":1}`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:` + account + `:open","maxReceiveCount":1}`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"byQueue"}`}, "InvalidParameterValue"},
		{"q", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"some"}`}, "InvalidParameterValue"},
		{"q", map[string]string{"Policy": `x`}, "InvalidParameterValue"},
		{"q", map[string]string{"Policy": `{"Statement":{"Effect":"Allow","Action":"sqs:*"}}`}, "InvalidParameterValue"},
		{"q", map[string]string{"Policy": `{"Statement":{"Effect":"Allow","Action":"sqs:*","Principal":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o"}}}}`}, "AWS.SimpleQueueService.UnsupportedOperation"},
	} {
		_, err := s.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: &c.name, Attributes: c.attributes})
		t.Run(fmt.Sprintf("%s %v", c.name, c.attributes), func(t *testing.T) { wantCode(t, err, c.code) })
	}
	_, err := s.SetQueueAttributes(ctx, &awssqs.SetQueueAttributesInput{QueueUrl: closed, Attributes: map[string]string{"QueueArn": "x"}})
	wantCode(t, err, "InvalidAttributeName")
	_, err = s.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: closed, AttributeNames: []types.QueueAttributeName{"Colour"}})
	wantCode(t, err, "InvalidAttributeName")
}

func TestAttributesAreWhatWasSetAndTheDefaultsOtherwise(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	if _, err := s.SetQueueAttributes(ctx, &awssqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"DelaySeconds": "3", "Policy": `{"Statement":[]}`}}); err != nil {
		t.Fatal(err)
	}
	got := s.attributes(url)
	for name, want := range map[string]string{
		"VisibilityTimeout": "30", "DelaySeconds": "3", "ReceiveMessageWaitTimeSeconds": "0", "MessageRetentionPeriod": "345600",
		"MaximumMessageSize": "1048576", "QueueArn": "arn:aws:sqs:us-east-1:" + account + ":q", "Policy": `{"Statement":[]}`,
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if _, err := s.SetQueueAttributes(ctx, &awssqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Policy": ""}}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.attributes(url)["Policy"]; ok {
		t.Error("an empty policy is still there")
	}
}

func TestQueuesAreListedByPrefixAndPage(t *testing.T) {
	s := start(t)
	dlq := s.queue("dead", nil)
	var want []string
	for i := range 5 {
		want = append(want, *s.queue(fmt.Sprintf("q-%d", i), map[string]string{
			"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:` + account + `:dead","maxReceiveCount":"3"}`}))
	}
	var got []string
	for p := awssqs.NewListQueuesPaginator(s, &awssqs.ListQueuesInput{QueueNamePrefix: aws.String("q-"), MaxResults: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.QueueUrls...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	sources, err := s.ListDeadLetterSourceQueues(ctx, &awssqs.ListDeadLetterSourceQueuesInput{QueueUrl: dlq})
	if err != nil || !slices.Equal(sources.QueueUrls, want) {
		t.Errorf("sources: got %v, %v", sources, err)
	}
	_, err = s.ListQueues(ctx, &awssqs.ListQueuesInput{MaxResults: aws.Int32(1001)})
	wantCode(t, err, "InvalidParameterValue")
}

func TestTagsAreKept(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	if _, err := s.TagQueue(ctx, &awssqs.TagQueueInput{QueueUrl: url, Tags: map[string]string{"a": "1", "b": "2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UntagQueue(ctx, &awssqs.UntagQueueInput{QueueUrl: url, TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if out, err := s.ListQueueTags(ctx, &awssqs.ListQueueTagsInput{QueueUrl: url}); err != nil || len(out.Tags) != 1 || out.Tags["b"] != "2" {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestAPurgedQueueIsEmptyAndOldHandlesDoNoHarm(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	s.send(url, "a", "b")
	held := s.receive(url)[0].ReceiptHandle
	if _, err := s.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: url}); err != nil {
		t.Fatal(err)
	}
	s.wantCounts(url, "0", "0", "0")
	_, err := s.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: url})
	wantCode(t, err, "AWS.SimpleQueueService.PurgeQueueInProgress")
	s.send(url, "c")
	if err := s.delete(url, held); err != nil {
		t.Errorf("delete what was purged: %v", err)
	}
	s.wantBodies(url, "c")
	s.world.Clock.Advance(time.Minute)
	if _, err := s.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: url}); err != nil {
		t.Error(err)
	}
}

func TestADeletedQueueIsGoneAndItsNameFreeAfterAMinute(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	s.send(url, "a")
	if _, err := s.DeleteQueue(ctx, &awssqs.DeleteQueueInput{QueueUrl: url}); err != nil {
		t.Fatal(err)
	}
	_, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("b")})
	wantCode(t, err, "AWS.SimpleQueueService.NonExistentQueue")
	_, err = s.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: aws.String("q")})
	wantCode(t, err, "AWS.SimpleQueueService.QueueDeletedRecently")
	s.world.Clock.Advance(time.Minute)
	s.wantCounts(s.queue("q", nil), "0", "0", "0")
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.queue("dead", nil)
	url := s.queue("q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:` + account + `:dead","maxReceiveCount":2}`})
	purged := s.queue("purged", nil)
	s.send(purged, "no", "more")
	if _, err := s.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: purged}); err != nil {
		t.Fatal(err)
	}
	s.send(url, "held", "deleted")
	ms := s.receive(url)
	if err := s.delete(url, ms[1].ReceiptHandle); err != nil {
		t.Fatal(err)
	}
	s.send(url, "waiting")
	if _, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("delayed"), DelaySeconds: 60}); err != nil {
		t.Fatal(err)
	}
	s.close()

	s = open(t, dir)
	defer s.close()
	s.wantCounts(url, "1", "1", "1")
	s.wantCounts(purged, "0", "0", "0")
	s.wantBodies(url, "waiting")
	s.world.Clock.Advance(time.Minute)
	got := s.receive(url)
	if len(got) != 3 {
		t.Fatalf("received %d messages, want 3", len(got))
	}
	for _, m := range got {
		want := "2"
		if *m.Body == "delayed" {
			want = "1"
		}
		if n := m.Attributes["ApproximateReceiveCount"]; n != want {
			t.Errorf("%s: receive count %s, want %s", *m.Body, n, want)
		}
	}
	if err := s.delete(url, ms[0].ReceiptHandle); err != nil {
		t.Errorf("a handle of before the restart: %v", err)
	}
	s.wantCounts(url, "0", "3", "0") // it was stale
	s.send(url, "new")
	s.wantBodies(url, "new")
}
