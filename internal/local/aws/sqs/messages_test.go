package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestAMessageComesWithWhatItWasSentWith(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	// The digest of this attribute is known from AWS itself.
	out, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("größe \U0001F600"),
		MessageAttributes: map[string]types.MessageAttributeValue{"timestamp": {DataType: aws.String("Number"), StringValue: aws.String("1493147359900")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := aws.ToString(out.MD5OfMessageAttributes), "235c5c510d26fb653d073faed50ae77c"; got != want {
		t.Errorf("digest of the attributes: got %s, want %s", got, want)
	}
	before := s.world.Clock.Now().UnixMilli()
	ms := s.wantBodies(url, "größe \U0001F600")
	m := ms[0]
	if *m.MessageId != *out.MessageId || *m.MD5OfBody != *out.MD5OfMessageBody || *m.MD5OfMessageAttributes != *out.MD5OfMessageAttributes {
		t.Errorf("got %+v, want what was answered to the sender: %+v", m, out)
	}
	if v := m.MessageAttributes["timestamp"]; *v.StringValue != "1493147359900" || *v.DataType != "Number" {
		t.Errorf("got attribute %+v", v)
	}
	var sent, first int64
	fmt.Sscan(m.Attributes["SentTimestamp"], &sent)
	fmt.Sscan(m.Attributes["ApproximateFirstReceiveTimestamp"], &first)
	if sent < before-60_000 || sent > before || first < before || m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SenderId"] == "" {
		t.Errorf("got system attributes %v", m.Attributes)
	}
}

func TestOnlyTheAttributesAskedForAreReceived(t *testing.T) {
	s := start(t)
	url := s.queue("q", map[string]string{"VisibilityTimeout": "0"})
	text := func(v string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String.kind"), StringValue: &v}
	}
	if _, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("x"),
		MessageAttributes:       map[string]types.MessageAttributeValue{"a.b": text("1"), "a.c": text("2"), "d": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}}},
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1")}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		want  int
	}{{nil, 0}, {[]string{"All"}, 3}, {[]string{".*"}, 3}, {[]string{"a.*"}, 2}, {[]string{"d", "a.b"}, 2}, {[]string{"z"}, 0}} {
		out, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, MessageAttributeNames: c.names, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"AWSTraceHeader"}})
		if err != nil {
			t.Fatal(err)
		}
		m := out.Messages[0]
		if len(m.MessageAttributes) != c.want || (m.MD5OfMessageAttributes != nil) != (c.want > 0) {
			t.Errorf("%v: got %v", c.names, m.MessageAttributes)
		}
		if len(m.Attributes) != 1 || m.Attributes["AWSTraceHeader"] != "Root=1" {
			t.Errorf("got system attributes %v", m.Attributes)
		}
	}
	_, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"Mood"}})
	wantCode(t, err, "InvalidAttributeName")
}

func TestMessagesThatAWSRefusesAreRefused(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	small := s.queue("small", map[string]string{"MaximumMessageSize": "1024"})
	attribute := func(name, kind, value string) map[string]types.MessageAttributeValue {
		return map[string]types.MessageAttributeValue{name: {DataType: &kind, StringValue: &value}}
	}
	many := map[string]types.MessageAttributeValue{}
	for i := range 11 {
		many[fmt.Sprint("a", i)] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("x")}
	}
	for name, c := range map[string]struct {
		in   awssqs.SendMessageInput
		code string
	}{
		"empty":                {awssqs.SendMessageInput{MessageBody: aws.String("")}, "MissingParameter"},
		"control character":    {awssqs.SendMessageInput{MessageBody: aws.String("a\x01")}, "InvalidMessageContents"},
		"U+FFFF":               {awssqs.SendMessageInput{MessageBody: aws.String("a\uFFFF")}, "InvalidMessageContents"},
		"too long":             {awssqs.SendMessageInput{MessageBody: aws.String(strings.Repeat("x", 1<<20+1))}, "InvalidParameterValue"},
		"too long for it":      {awssqs.SendMessageInput{QueueUrl: small, MessageBody: aws.String(strings.Repeat("x", 1025))}, "InvalidParameterValue"},
		"long delay":           {awssqs.SendMessageInput{MessageBody: aws.String("x"), DelaySeconds: 901}, "InvalidParameterValue"},
		"FIFO":                 {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageDeduplicationId: aws.String("d")}, "InvalidParameterValue"},
		"attribute's type":     {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageAttributes: attribute("a", "Text", "x")}, "InvalidParameterValue"},
		"attribute's number":   {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageAttributes: attribute("a", "Number", "x")}, "InvalidParameterValue"},
		"attribute is empty":   {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageAttributes: attribute("a", "String", "")}, "InvalidParameterValue"},
		"attribute's name":     {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageAttributes: attribute("a..b", "String", "x")}, "InvalidParameterValue"},
		"attribute of AWS":     {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageAttributes: attribute("AWS.x", "String", "x")}, "InvalidParameterValue"},
		"too many attributes":  {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageAttributes: many}, "InvalidParameterValue"},
		"body and attributes":  {awssqs.SendMessageInput{QueueUrl: small, MessageBody: aws.String(strings.Repeat("x", 1020)), MessageAttributes: attribute("a", "String", "x")}, "InvalidParameterValue"},
		"bad system attribute": {awssqs.SendMessageInput{MessageBody: aws.String("x"), MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{"X": {DataType: aws.String("String"), StringValue: aws.String("x")}}}, "InvalidParameterValue"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.in.QueueUrl == nil {
				c.in.QueueUrl = url
			}
			_, err := s.SendMessage(ctx, &c.in)
			wantCode(t, err, c.code)
		})
	}
	s.wantCounts(url, "0", "0", "0")
	s.send(url, strings.Repeat("x", 1<<20))
	for _, in := range []awssqs.ReceiveMessageInput{
		{MaxNumberOfMessages: 11}, {MaxNumberOfMessages: -1}, {VisibilityTimeout: -1}, {VisibilityTimeout: 43201}, {WaitTimeSeconds: 21},
	} {
		in.QueueUrl = url
		_, err := s.ReceiveMessage(ctx, &in)
		wantCode(t, err, "InvalidParameterValue")
	}
}

func TestAReceivedMessageIsHiddenUntilItsVisibilityEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		url := s.queue("q", nil)
		s.send(url, "a")
		first := s.wantBodies(url, "a")[0]
		s.wantCounts(url, "0", "1", "0")
		s.world.Clock.Advance(30*time.Second - time.Millisecond)
		s.wantBodies(url)
		s.world.Clock.Advance(time.Millisecond)
		second := s.wantBodies(url, "a")[0]
		if *first.ReceiptHandle == *second.ReceiptHandle || second.Attributes["ApproximateReceiveCount"] != "2" ||
			first.Attributes["ApproximateFirstReceiveTimestamp"] != second.Attributes["ApproximateFirstReceiveTimestamp"] {
			t.Errorf("got %+v, then %+v", first, second)
		}
		// The first receive's handle is accepted and deletes nothing.
		if err := s.delete(url, first.ReceiptHandle); err != nil {
			t.Error(err)
		}
		wantCode(t, s.hide(url, first.ReceiptHandle, 0), "InvalidParameterValue")
		s.wantCounts(url, "0", "1", "0")
		// The latest is good even when the message is visible again.
		s.world.Clock.Advance(time.Minute)
		wantCode(t, s.hide(url, second.ReceiptHandle, 10), "AWS.SimpleQueueService.MessageNotInflight")
		for range 2 {
			if err := s.delete(url, second.ReceiptHandle); err != nil {
				t.Error(err)
			}
		}
		s.wantCounts(url, "0", "0", "0")
		wantCode(t, s.hide(url, second.ReceiptHandle, 10), "InvalidParameterValue")
	})
}

func TestVisibilityCanBeChangedUpToTwelveHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		url := s.queue("q", nil)
		s.send(url, "a")
		handle := s.wantBodies(url, "a")[0].ReceiptHandle
		if err := s.hide(url, handle, 100); err != nil {
			t.Fatal(err)
		}
		s.world.Clock.Advance(99 * time.Second)
		s.wantBodies(url)
		if err := s.hide(url, handle, 0); err != nil {
			t.Fatal(err)
		}
		handle = s.wantBodies(url, "a")[0].ReceiptHandle
		wantCode(t, s.hide(url, handle, 43201), "InvalidParameterValue")
		s.world.Clock.Advance(10 * time.Second)
		wantCode(t, s.hide(url, handle, 43195), "InvalidParameterValue")
		if err := s.hide(url, handle, 43180); err != nil {
			t.Error(err)
		}
	})
}

func TestHandlesThatAreNoneOrOfAnotherQueueAreRefused(t *testing.T) {
	s := start(t)
	a, b := s.queue("a", nil), s.queue("b", nil)
	s.send(a, "x")
	handle := s.receive(a)[0].ReceiptHandle
	wantCode(t, s.delete(b, handle), "ReceiptHandleIsInvalid")
	wantCode(t, s.delete(a, aws.String("nonsense")), "ReceiptHandleIsInvalid")
	wantCode(t, s.delete(a, aws.String("B"+(*handle)[1:])), "ReceiptHandleIsInvalid")
	wantCode(t, s.hide(b, handle, 1), "ReceiptHandleIsInvalid")
	if err := s.delete(a, handle); err != nil {
		t.Error(err)
	}
}

func TestADelayedMessageComesWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		url := s.queue("q", map[string]string{"DelaySeconds": "10"})
		s.send(url, "by the queue")
		if _, err := s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("alone"), DelaySeconds: 20}); err != nil {
			t.Fatal(err)
		}
		s.wantCounts(url, "0", "0", "2")
		s.world.Clock.Advance(10 * time.Second)
		s.wantBodies(url, "by the queue")
		s.world.Clock.Advance(10 * time.Second)
		s.wantBodies(url, "alone")
	})
}

func TestMessagesAreDroppedWhenTheirRetentionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		url := s.queue("q", map[string]string{"MessageRetentionPeriod": "60"})
		s.send(url, "old", "held")
		s.receive(url)
		s.world.Clock.Advance(30 * time.Second)
		s.send(url, "new")
		s.wantCounts(url, "3", "0", "0")
		s.world.Clock.Advance(30 * time.Second)
		s.wantCounts(url, "1", "0", "0")
		s.wantBodies(url, "new")
	})
}

func TestAMessageReceivedTooOftenGoesToTheDeadLetterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		dead := s.queue("dead", nil)
		url := s.queue("q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:` + account + `:dead","maxReceiveCount":"2"}`})
		s.send(url, "poison")
		id := ""
		for range 2 {
			id = *s.wantBodies(url, "poison")[0].MessageId
			s.world.Clock.Advance(30 * time.Second)
		}
		s.send(url, "fine")
		s.wantCounts(url, "2", "0", "0")
		s.wantBodies(url, "fine")
		m := s.wantBodies(dead, "poison")[0]
		if *m.MessageId != id || m.Attributes["ApproximateReceiveCount"] != "3" || m.Attributes["DeadLetterQueueSourceArn"] != s.service.QueueARN("q") {
			t.Errorf("got %s %v, want message %s, received 3 times, from q", *m.MessageId, m.Attributes, id)
		}
		// Without its dead-letter queue a queue keeps what it has.
		if _, err := s.DeleteQueue(ctx, &awssqs.DeleteQueueInput{QueueUrl: dead}); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			s.world.Clock.Advance(30 * time.Second)
			s.wantBodies(url, "fine")
		}
	})
}

func TestALongPollEndsAtOnceWhenAMessageComes(t *testing.T) {
	for name, bring := range map[string]func(s *stand, url, handle *string){
		"sent":        func(s *stand, url, _ *string) { s.send(url, "x") },
		"handed back": func(s *stand, url, handle *string) { s.hide(url, handle, 0) },
		"by SNS":      func(s *stand, _, _ *string) { s.service.Send(s.service.QueueARN("q"), topic, "x", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, "")
				defer s.close()
				url := s.queue("q", map[string]string{"ReceiveMessageWaitTimeSeconds": "20", "Policy": sendPolicy("*", topic)})
				s.send(url, "held")
				handle := s.receive(url)[0].ReceiptHandle
				began := time.Now()
				go func() {
					<-time.After(3 * time.Second)
					bring(s, url, handle)
				}()
				if ms := s.receive(url); len(ms) != 1 || time.Since(began) != 3*time.Second {
					t.Errorf("got %d messages after %v, want 1 after 3s", len(ms), time.Since(began))
				}
			})
		})
	}
}

func sendPolicy(resource, source string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` +
		resource + `","Condition":{"ArnLike":{"aws:SourceArn":"` + source + `"}}}]}`
}

func TestALongPollEndsWhenVisibilityOrDelayDoesOrItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		url := s.queue("q", nil)
		poll := func() (int, time.Duration) {
			began := time.Now()
			out, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20, VisibilityTimeout: 5})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Messages), time.Since(began)
		}
		if n, d := poll(); n != 0 || d != 20*time.Second {
			t.Errorf("empty: got %d after %v, want 0 after 20s", n, d)
		}
		s.send(url, "a")
		if n, d := poll(); n != 1 || d != 0 {
			t.Errorf("there: got %d after %v, want 1 at once", n, d)
		}
		if n, d := poll(); n != 1 || d != 5*time.Second {
			t.Errorf("hidden: got %d after %v, want 1 after 5s", n, d)
		}
		if _, err := s.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: url}); err != nil {
			t.Fatal(err)
		}
		go func() {
			<-time.After(time.Second)
			s.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("b"), DelaySeconds: 2})
		}()
		if n, d := poll(); n != 1 || d != 3*time.Second {
			t.Errorf("delayed: got %d after %v, want 1 after 3s", n, d)
		}
	})
}

func TestALongPollWhoseClientIsGoneTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		url := s.queue("q", nil)
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() {
			_, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want a cancellation", err)
		}
		s.send(url, "a")
		m := s.wantBodies(url, "a")[0]
		if m.Attributes["ApproximateReceiveCount"] != "1" {
			t.Error("the poll that was gone received it")
		}
	})
}

func TestTheEndOfTheWorldEndsLongPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		url := s.queue("q", nil)
		done := make(chan struct{})
		go func() {
			s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
			close(done)
		}()
		synctest.Wait()
		began := time.Now()
		s.close()
		<-done
		if d := time.Since(began); d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

func TestBatchesAnswerEachEntry(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	out, err := s.SendMessageBatch(ctx, &awssqs.SendMessageBatchInput{QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("a"), MessageBody: aws.String("1")},
		{Id: aws.String("b"), MessageBody: aws.String("\x00")},
		{Id: aws.String("c"), MessageBody: aws.String("3")},
	}})
	if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 || *out.Failed[0].Id != "b" || *out.Failed[0].Code != "InvalidMessageContents" || !out.Failed[0].SenderFault {
		t.Fatalf("got %+v, %v", out, err)
	}
	ms := s.wantBodies(url, "1", "3")
	hidden, err := s.ChangeMessageVisibilityBatch(ctx, &awssqs.ChangeMessageVisibilityBatchInput{QueueUrl: url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: ms[0].ReceiptHandle, VisibilityTimeout: 0},
		{Id: aws.String("b"), ReceiptHandle: ms[1].ReceiptHandle, VisibilityTimeout: 99999},
	}})
	if err != nil || len(hidden.Successful) != 1 || len(hidden.Failed) != 1 || *hidden.Failed[0].Code != "InvalidParameterValue" {
		t.Errorf("got %+v, %v", hidden, err)
	}
	s.wantCounts(url, "1", "1", "0")
	deleted, err := s.DeleteMessageBatch(ctx, &awssqs.DeleteMessageBatchInput{QueueUrl: url, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: ms[0].ReceiptHandle},
		{Id: aws.String("b"), ReceiptHandle: aws.String("x")},
		{Id: aws.String("c"), ReceiptHandle: ms[1].ReceiptHandle},
	}})
	if err != nil || len(deleted.Successful) != 2 || len(deleted.Failed) != 1 || *deleted.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("got %+v, %v", deleted, err)
	}
	s.wantCounts(url, "0", "0", "0")
}

func TestBatchesThatAWSRefusesAreRefusedWhole(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	var eleven []types.SendMessageBatchRequestEntry
	for i := range 11 {
		eleven = append(eleven, entry(fmt.Sprint(i), "x"))
	}
	half := strings.Repeat("x", 1<<19+1)
	for code, entries := range map[string][]types.SendMessageBatchRequestEntry{
		"EmptyBatchRequest":            {},
		"TooManyEntriesInBatchRequest": eleven,
		"BatchEntryIdsNotDistinct":     {entry("a", "x"), entry("a", "y")},
		"InvalidBatchEntryId":          {entry("a b", "x")},
		"BatchRequestTooLong":          {entry("a", half), entry("b", half)},
	} {
		_, err := s.SendMessageBatch(ctx, &awssqs.SendMessageBatchInput{QueueUrl: url, Entries: entries})
		wantCode(t, err, "AWS.SimpleQueueService."+code)
	}
	s.wantCounts(url, "0", "0", "0")
}

func TestSNSMaySendWhereThePolicyLetsIt(t *testing.T) {
	s := start(t)
	arn := s.service.QueueARN("q")
	url := s.queue("q", nil)
	set := func(policy string) {
		t.Helper()
		if _, err := s.SetQueueAttributes(ctx, &awssqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Policy": policy}}); err != nil {
			t.Fatal(err)
		}
	}
	allow := func(principal, action, resource string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":` + action + `,"Resource":"` + resource + `"}`
	}
	const sns = `{"Service":"sns.amazonaws.com"}`
	for _, c := range []struct {
		name, policy string
		want         bool
	}{
		{"none", "", false},
		{"the topic", sendPolicy(arn, topic), true},
		{"a pattern of topics", sendPolicy(arn, "arn:aws:sns:*:"+account+":to?ic"), true},
		{"another topic", sendPolicy(arn, topic+"s"), false},
		{"another queue", sendPolicy(arn+"s", topic), false},
		{"anybody", `{"Statement":` + allow(`"*"`, `"SQS:*"`, "*") + `}`, true},
		{"SNS", `{"Statement":[` + allow(sns, `["sqs:SendMessage"]`, arn) + `]}`, true},
		{"another service", `{"Statement":[` + allow(`{"Service":"s3.amazonaws.com"}`, `"sqs:SendMessage"`, arn) + `]}`, false},
		{"another action", `{"Statement":[` + allow(sns, `"sqs:ReceiveMessage"`, arn) + `]}`, false},
		{"denied", `{"Statement":[` + allow(sns, `"sqs:SendMessage"`, arn) + `,` + strings.Replace(allow(sns, `"sqs:SendMessage"`, arn), "Allow", "Deny", 1) + `]}`, false},
	} {
		set(c.policy)
		if err := s.service.Send(arn, topic, "x", nil); (err == nil) != c.want {
			t.Errorf("%s: got %v, want to be let: %t", c.name, err, c.want)
		}
	}
	if err := s.service.Send(s.service.QueueARN("nope"), topic, "x", nil); err == nil {
		t.Error("sent to a queue that does not exist")
	}
	s.wantCounts(url, "4", "0", "0")
}

func TestMessagesGoBackFromADeadLetterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "")
		defer s.close()
		dead := s.queue("dead", nil)
		url := s.queue("q", map[string]string{"VisibilityTimeout": "0", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:` + account + `:dead","maxReceiveCount":1}`})
		s.send(url, "a", "b", "c")
		s.receive(url)
		s.wantBodies(url)
		s.wantCounts(dead, "3", "0", "0")
		arn := s.service.QueueARN("dead")
		task, err := s.StartMessageMoveTask(ctx, &awssqs.StartMessageMoveTaskInput{SourceArn: &arn, MaxNumberOfMessagesPerSecond: aws.Int32(2)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.StartMessageMoveTask(ctx, &awssqs.StartMessageMoveTaskInput{SourceArn: &arn})
		wantCode(t, err, "AWS.SimpleQueueService.UnsupportedOperation")
		synctest.Wait()
		list := func() types.ListMessageMoveTasksResultEntry {
			out, err := s.ListMessageMoveTasks(ctx, &awssqs.ListMessageMoveTasksInput{SourceArn: &arn})
			if err != nil {
				t.Fatal(err)
			}
			return out.Results[0]
		}
		if r := list(); *r.Status != "RUNNING" || r.ApproximateNumberOfMessagesMoved != 2 || *r.TaskHandle != *task.TaskHandle {
			t.Errorf("after the first second: %+v", r)
		}
		s.world.Clock.Advance(time.Second)
		synctest.Wait()
		if r := list(); *r.Status != "COMPLETED" || r.ApproximateNumberOfMessagesMoved != 3 || *r.ApproximateNumberOfMessagesToMove != 3 || r.TaskHandle != nil {
			t.Errorf("at the end: %+v", r)
		}
		s.wantCounts(dead, "0", "0", "0")
		for _, m := range s.wantBodies(url, "a", "b", "c") {
			if m.Attributes["ApproximateReceiveCount"] != "1" {
				t.Errorf("%s: received %s times, want 1", *m.Body, m.Attributes["ApproximateReceiveCount"])
			}
		}
		_, err = s.CancelMessageMoveTask(ctx, &awssqs.CancelMessageMoveTaskInput{TaskHandle: task.TaskHandle})
		wantCode(t, err, "ResourceNotFoundException")
		// A queue that is nobody's dead-letter queue.
		q := s.service.QueueARN("q")
		_, err = s.StartMessageMoveTask(ctx, &awssqs.StartMessageMoveTaskInput{SourceArn: &q})
		wantCode(t, err, "InvalidParameterValue")
	})
}

func TestOtherProtocolsAndOperationsAreRefused(t *testing.T) {
	s := start(t)
	_, err := s.AddPermission(ctx, &awssqs.AddPermissionInput{QueueUrl: aws.String("x"), Label: aws.String("l"), AWSAccountIds: []string{account}, Actions: []string{"SendMessage"}})
	wantCode(t, err, "UnknownOperationException")
}

func TestManySendersAndReceiversShareAQueueWithoutLossOrDouble(t *testing.T) {
	s := start(t)
	url := s.queue("q", nil)
	const senders, batches = 4, 50
	var work sync.WaitGroup
	for sender := range senders {
		work.Go(func() {
			for batch := range batches {
				var entries []types.SendMessageBatchRequestEntry
				for i := range 10 {
					id := fmt.Sprint(i)
					entries = append(entries, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String(fmt.Sprint(sender, batch, i))})
				}
				if _, err := s.SendMessageBatch(ctx, &awssqs.SendMessageBatchInput{QueueUrl: url, Entries: entries}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	bodies := make(chan string, senders*batches*10)
	for range 4 {
		work.Go(func() {
			for len(bodies) < cap(bodies) {
				out, err := s.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
				if err != nil {
					t.Error(err)
					return
				}
				for _, m := range out.Messages {
					if err := s.delete(url, m.ReceiptHandle); err != nil {
						t.Error(err)
					}
					select {
					case bodies <- *m.Body:
					default:
						t.Errorf("%s is one too many", *m.Body)
					}
				}
			}
		})
	}
	work.Wait()
	close(bodies)
	seen := map[string]bool{}
	for body := range bodies {
		if seen[body] {
			t.Errorf("%s was received twice", body)
		}
		seen[body] = true
	}
	s.wantCounts(url, "0", "0", "0")
}
