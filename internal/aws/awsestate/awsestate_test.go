package awsestate_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// channel makes the channel called name, as gas up does.
func channel(t *testing.T, a *testenv.AWS, name string) (c estate.Channel, topic, queue string) {
	t.Helper()
	for _, c = range estate.Channels() {
		if c.Name == name {
			break
		}
	}
	topic, queue, err := awsestate.New(a.Config).MakeChannel(t.Context(), c, c.LocalName(), c.LocalName())
	if err != nil {
		t.Fatal(err)
	}
	return c, topic, queue
}

// faults returns what is wrong with the channel.
func faults(t *testing.T, a *testenv.AWS, c estate.Channel, topic, queue string) []estate.Fault {
	t.Helper()
	account := awsestate.New(a.Config)
	ft, err := account.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	fq, err := account.Queue(t.Context(), queue)
	if err != nil {
		t.Fatal(err)
	}
	return append(c.CompareTopic(ft, topic, "/other"), c.CompareQueue(fq, "q", ft, nil)...)
}

func TestWhatIsMadeIsRightAndIsLeftAloneFromThenOn(t *testing.T) {
	a := testenv.NewAWS(t)
	for _, name := range []string{estate.Premium, estate.Restore} {
		c, topic, queue := channel(t, a, name)
		if got := faults(t, a, c, topic, queue); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
		a.ResetCounts()
		_, topic2, queue2 := channel(t, a, name)
		if n := a.Counts()["sqs.SetQueueAttributes"] + a.Counts()["sns.SetTopicAttributes"] + a.Counts()["sqs.CreateQueue"]; n > 0 || topic2 != topic || queue2 != queue {
			t.Errorf("%s, made again: %d changes, %s %s", name, n, topic2, queue2)
		}
	}
}

func TestWhatIsWrongIsMendedAndOthersStatementsStay(t *testing.T) {
	a := testenv.NewAWS(t)
	c, topic, queue := channel(t, a, estate.Restore)
	theirs := `{"Version":"2012-10-17","Statement":[{"Sid":"theirs","Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"%s","Resource":"*"}]}`
	if _, err := sqs.NewFromConfig(a.Config).SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &queue, Attributes: map[string]string{
		"Policy": strings.Replace(theirs, "%s", "sqs:ReceiveMessage", 1), "MessageRetentionPeriod": "60",
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := sns.NewFromConfig(a.Config).SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{
		TopicArn: &topic, AttributeName: aws.String("Policy"), AttributeValue: aws.String(strings.Replace(theirs, "%s", "SNS:Subscribe", 1)),
	}); err != nil {
		t.Fatal(err)
	}
	if got := faults(t, a, c, topic, queue); len(got) != 3 {
		t.Fatalf("broken in three ways: %+v", got)
	}
	channel(t, a, estate.Restore)
	if got := faults(t, a, c, topic, queue); len(got) > 0 {
		t.Errorf("fixed: %+v", got)
	}
	account := awsestate.New(a.Config)
	ft, err := account.Topic(t.Context(), topic)
	if err != nil || !strings.Contains(ft.Policy, "theirs") {
		t.Errorf("their statement is gone from the topic: %+v, %v", ft, err)
	}
	fq, err := account.Queue(t.Context(), queue)
	if err != nil || !strings.Contains(fq.Policy, "theirs") {
		t.Errorf("their statement is gone from the queue: %+v, %v", fq, err)
	}
}

func TestWhatIsNotThereIsNoError(t *testing.T) {
	a := testenv.NewAWS(t)
	account := awsestate.New(a.Config)
	if topic, err := account.Topic(t.Context(), "arn:aws:sns:us-east-1:000000000000:none"); topic != nil || err != nil {
		t.Errorf("topic: %+v, %v", topic, err)
	}
	if queue, err := account.Queue(t.Context(), "http://aws.test/000000000000/none"); queue != nil || err != nil {
		t.Errorf("queue: %+v, %v", queue, err)
	}
	if _, _, err := account.Depths(t.Context(), "http://aws.test/000000000000/none"); err == nil {
		t.Error("a queue that is not there has a depth")
	}
}

// TestWhatARedrivePolicyTookAwayIsPutBack does what README tells an operator to.
func TestWhatARedrivePolicyTookAwayIsPutBack(t *testing.T) {
	a := testenv.NewAWS(t)
	_, _, queue := channel(t, a, estate.Premium)
	queues, account := sqs.NewFromConfig(a.Config), awsestate.New(a.Config)
	if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("taken")}); err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:sqs:us-east-1:000000000000:taken"
	if _, err := queues.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &queue, Attributes: map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"` + arn + `","maxReceiveCount":1}`, "VisibilityTimeout": "0",
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String("x")}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // received once more than it may be
		if _, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue}); err != nil {
			t.Fatal(err)
		}
	}
	depth, dead, err := account.Depths(t.Context(), queue)
	if err != nil || dead == nil || depth.Waiting != 0 || dead.Waiting != 1 || dead.Name != "taken" {
		t.Fatalf("got %+v, %+v, %v; want one message in the dead-letter queue", depth, dead, err)
	}
	if _, err := queues.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(arn)}); err != nil {
		t.Fatal(err)
	}
	for t.Context().Err() == nil {
		if depth, dead, err = account.Depths(t.Context(), queue); err != nil || depth.Waiting == 1 && dead.Waiting == 0 {
			break
		}
	}
	if err != nil || depth.Waiting != 1 {
		t.Errorf("after it was moved: %+v, %+v, %v", depth, dead, err)
	}
}
