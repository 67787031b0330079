package sns_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/local/aws/sqs"
)

// verify checks an envelope's signature as AWS's documentation says, with the
// certificate that the service serves, and returns its members.
func (s *stand) verify(body string) map[string]string {
	s.t.Helper()
	var raw map[string]any
	if err := json.Unmarshal([]byte(body), &raw); err != nil {
		s.t.Fatalf("%v in %s", err, body)
	}
	m := map[string]string{}
	for k, v := range raw {
		if text, ok := v.(string); ok {
			m[k] = text
		}
	}
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	text := ""
	for _, name := range names {
		if value, ok := m[name]; ok {
			text += name + "\n" + value + "\n"
		}
	}
	u, err := url.Parse(m["SigningCertURL"])
	if err != nil || u.Host != "sns.us-east-1.amazonaws.com" || u.Scheme != "https" {
		s.t.Fatalf("certificate at %s, %v", m["SigningCertURL"], err)
	}
	rec := httptest.NewRecorder()
	if !s.service.ServeCert(rec, httptest.NewRequest("GET", u.Path, nil)) {
		s.t.Fatalf("no certificate at %s", u.Path)
	}
	block, _ := pem.Decode(rec.Body.Bytes())
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.service.CACertPEM())
	for _, name := range []string{"sns.amazonaws.com", "sns.us-east-1.amazonaws.com"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: s.world.Clock.Now()}); err != nil {
			s.t.Error(err)
		}
	}
	signature, err := base64.StdEncoding.DecodeString(m["Signature"])
	if err != nil {
		s.t.Error(err)
	}
	hash, sum := crypto.SHA1, sha1.New()
	if m["SignatureVersion"] == "2" {
		hash, sum = crypto.SHA256, sha256.New()
	}
	sum.Write([]byte(text))
	if err := rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), hash, sum.Sum(nil), signature); err != nil {
		s.t.Errorf("the signature of %s is wrong: %v", body, err)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", m["Timestamp"]); err != nil {
		s.t.Error(err)
	}
	return m
}

func TestAMessageGoesToEveryQueueInASignedEnvelope(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		s := start(t)
		arn := s.topic("t", map[string]string{"SignatureVersion": version})
		subs := []string{s.subscribe(arn, "sqs", queueARN("a"), nil), s.subscribe(arn, "sqs", queueARN("b"), nil)}
		out, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: arn, Message: aws.String("<größe> & \"line\"\nbreak"), Subject: aws.String("it's done"),
			MessageAttributes: map[string]types.MessageAttributeValue{
				"n": {DataType: aws.String("Number"), StringValue: aws.String("7")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{1, 2}}}})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.queues.all()); n != 2 {
			t.Fatalf("sent to %d queues when Publish answered, want 2", n)
		}
		for _, got := range s.queues.all() {
			m := s.verify(got.body)
			if m["MessageId"] != *out.MessageId || m["Message"] != "<größe> & \"line\"\nbreak" || m["Subject"] != "it's done" || m["TopicArn"] != *arn || m["SignatureVersion"] != version {
				t.Errorf("got %v", m)
			}
			if got.topic != *arn || got.attributes != nil {
				t.Errorf("sent from %s with %v", got.topic, got.attributes)
			}
			if u := m["UnsubscribeURL"]; !strings.HasSuffix(u, subs[0]) && !strings.HasSuffix(u, subs[1]) {
				t.Errorf("got UnsubscribeURL %s", u)
			}
			if !strings.Contains(got.body, "\"MessageAttributes\" : {\n    \"b\" : {\"Type\":\"Binary\",\"Value\":\"AQI=\"},\n    \"n\" : {\"Type\":\"Number\",\"Value\":\"7\"}\n  }") {
				t.Errorf("got %s", got.body)
			}
		}
	}
}

func TestTheEnvelopeLooksLikeAWSs(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	sub := s.subscribe(arn, "sqs", queueARN("q"), nil)
	id := s.publish(arn, "hello")
	body := s.queues.all()[0].body
	m := s.verify(body)
	got := strings.NewReplacer(id, "ID", m["Timestamp"], "TIME", m["Signature"], "SIGNATURE", s.service.CertPath(), "/CERT", sub, "SUB").Replace(body)
	want := `{
  "Type" : "Notification",
  "MessageId" : "ID",
  "TopicArn" : "arn:aws:sns:us-east-1:123456789012:t",
  "Message" : "hello",
  "Timestamp" : "TIME",
  "SignatureVersion" : "1",
  "Signature" : "SIGNATURE",
  "SigningCertURL" : "https://sns.us-east-1.amazonaws.com/CERT",
  "UnsubscribeURL" : "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=SUB"
}`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestEnvelopesOfEveryTypeAreGenuine(t *testing.T) {
	s := start(t)
	for _, kind := range []string{sns.TypeNotification, sns.TypeSubscriptionConfirmation, sns.TypeUnsubscribeConfirmation} {
		for _, version := range []string{"", "1", "2"} {
			m := s.verify(string(s.service.Envelope(sns.Message{Type: kind, TopicARN: "arn:aws:sns:us-east-1:" + account + ":x", Message: "m", Subject: "", Token: "abc", SignatureVersion: version})))
			if m["Type"] != kind || (kind != sns.TypeNotification) != (m["Token"] == "abc") {
				t.Errorf("got %v", m)
			}
		}
	}
}

func TestRawDeliveryIsTheMessageAloneWithItsAttributes(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	s.subscribe(arn, "sqs", queueARN("q"), map[string]string{"RawMessageDelivery": "true"})
	if _, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: arn, Message: aws.String("m"), MessageAttributes: map[string]types.MessageAttributeValue{
		"a": {DataType: aws.String("String"), StringValue: aws.String("v")}}}); err != nil {
		t.Fatal(err)
	}
	got := s.queues.all()[0]
	if got.body != "m" || got.attributes["a"].StringValue != "v" {
		t.Errorf("got %+v", got)
	}
}

func TestEachProtocolGetsItsTextOfAStructuredMessage(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	s.subscribe(arn, "sqs", queueARN("q"), map[string]string{"RawMessageDelivery": "true"})
	structure := aws.String("json")
	for message, want := range map[string]string{`{"default":"d","sqs":"q"}`: "q", `{"default":"d","http":"h"}`: "d"} {
		if _, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: arn, Message: &message, MessageStructure: structure}); err != nil {
			t.Fatal(err)
		}
		all := s.queues.all()
		if got := all[len(all)-1].body; got != want {
			t.Errorf("%s: got %s, want %s", message, got, want)
		}
	}
	for _, bad := range []string{"x", `{"sqs":"q"}`, `{"default":1}`} {
		_, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: arn, Message: &bad, MessageStructure: structure})
		wantCode(t, err, "InvalidParameter")
	}
}

func TestMessagesThatAWSRefusesAreRefused(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	s.subscribe(arn, "sqs", queueARN("q"), nil)
	text := aws.String
	attribute := func(kind, value string) map[string]types.MessageAttributeValue {
		return map[string]types.MessageAttributeValue{"a": {DataType: &kind, StringValue: &value}}
	}
	for name, c := range map[string]struct {
		in   awssns.PublishInput
		code string
	}{
		"empty":                 {awssns.PublishInput{Message: text("")}, "InvalidParameter"},
		"too long":              {awssns.PublishInput{Message: text(strings.Repeat("x", 256<<10+1))}, "InvalidParameter"},
		"subject: line break":   {awssns.PublishInput{Message: text("m"), Subject: text("a\nb")}, "InvalidParameter"},
		"subject: empty":        {awssns.PublishInput{Message: text("m"), Subject: text("")}, "InvalidParameter"},
		"subject: long":         {awssns.PublishInput{Message: text("m"), Subject: text(strings.Repeat("x", 101))}, "InvalidParameter"},
		"subject: not ASCII":    {awssns.PublishInput{Message: text("m"), Subject: text("ä")}, "InvalidParameter"},
		"subject: blank before": {awssns.PublishInput{Message: text("m"), Subject: text(" a")}, "InvalidParameter"},
		"structure":             {awssns.PublishInput{Message: text("m"), MessageStructure: text("xml")}, "InvalidParameter"},
		"FIFO":                  {awssns.PublishInput{Message: text("m"), MessageDeduplicationId: text("d")}, "InvalidParameter"},
		"attribute's type":      {awssns.PublishInput{Message: text("m"), MessageAttributes: attribute("Text", "x")}, "ParameterValueInvalid"},
		"attribute's number":    {awssns.PublishInput{Message: text("m"), MessageAttributes: attribute("Number", "x")}, "ParameterValueInvalid"},
		"attribute is empty":    {awssns.PublishInput{Message: text("m"), MessageAttributes: attribute("String", "")}, "ParameterValueInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.TopicArn = arn
			_, err := s.Publish(ctx, &c.in)
			wantCode(t, err, c.code)
		})
	}
	_, err := s.Publish(ctx, &awssns.PublishInput{PhoneNumber: text("+1"), Message: text("m")})
	wantCode(t, err, "InvalidParameter")
	if n := len(s.queues.all()); n != 0 {
		t.Errorf("%d messages were sent, want 0", n)
	}
	s.publish(arn, strings.Repeat("x", 256<<10))
}

func TestABatchAnswersEachEntry(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	s.subscribe(arn, "sqs", queueARN("q"), map[string]string{"RawMessageDelivery": "true"})
	entry := func(id, message string) types.PublishBatchRequestEntry {
		return types.PublishBatchRequestEntry{Id: &id, Message: &message}
	}
	batch := func(entries ...types.PublishBatchRequestEntry) (*awssns.PublishBatchOutput, error) {
		return s.PublishBatch(ctx, &awssns.PublishBatchInput{TopicArn: arn, PublishBatchRequestEntries: entries})
	}
	out, err := batch(entry("a", "1"), entry("b", ""), entry("c", "3"))
	if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 || *out.Failed[0].Id != "b" || *out.Failed[0].Code != "InvalidParameter" {
		t.Fatalf("got %+v, %v", out, err)
	}
	if all := s.queues.all(); len(all) != 2 || all[0].body != "1" || all[1].body != "3" {
		t.Errorf("sent %+v", all)
	}
	_, err = batch(make([]types.PublishBatchRequestEntry, 0)...)
	wantCode(t, err, "EmptyBatchRequest")
	_, err = batch(entry("a", "1"), entry("a", "2"))
	wantCode(t, err, "BatchEntryIdsNotDistinct")
	_, err = batch(entry("a b", "1"))
	wantCode(t, err, "InvalidBatchEntryId")
	half := strings.Repeat("x", 128<<10+1)
	_, err = batch(entry("a", half), entry("b", half))
	wantCode(t, err, "BatchRequestTooLong")
	var eleven []types.PublishBatchRequestEntry
	for _, id := range strings.Split("abcdefghijk", "") {
		eleven = append(eleven, entry(id, "x"))
	}
	_, err = batch(eleven...)
	wantCode(t, err, "TooManyEntriesInBatchRequest")
}

func TestWhatAQueueDoesNotTakeIsLostOrGoesToTheDeadLetterQueue(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	sub := s.subscribe(arn, "sqs", queueARN("q"), nil)
	s.queues.open[queueARN("q")] = false
	s.publish(arn, "lost")
	if n := s.service.Lost(); n != 1 {
		t.Errorf("lost %d, want 1", n)
	}
	s.queues.open[queueARN("dead")] = true
	if _, err := s.SetSubscriptionAttributes(ctx, &awssns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: aws.String("RedrivePolicy"),
		AttributeValue: aws.String(`{"deadLetterTargetArn":"` + queueARN("dead") + `"}`)}); err != nil {
		t.Fatal(err)
	}
	s.publish(arn, "saved")
	if all := s.queues.all(); len(all) != 1 || all[0].queue != queueARN("dead") || s.verify(all[0].body)["Message"] != "saved" {
		t.Errorf("sent %+v", all)
	}
}

func TestDeliveriesAreLostDoubledAndLateAsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		arn := s.topic("t", nil)
		s.subscribe(arn, "sqs", queueARN("q"), nil)
		for _, c := range []struct {
			copies     []time.Duration
			now, later int
		}{
			{nil, 0, 0},
			{[]time.Duration{0}, 1, 1},
			{[]time.Duration{0, 0}, 2, 2},
			{[]time.Duration{time.Hour, 0}, 1, 2},
		} {
			before := len(s.queues.all())
			s.service.SetDelivery(func(topic string) []time.Duration {
				if topic != *arn {
					t.Errorf("asked for topic %s", topic)
				}
				return c.copies
			})
			s.publish(arn, "m")
			if n := len(s.queues.all()) - before; n != c.now {
				t.Errorf("%v: %d came at once, want %d", c.copies, n, c.now)
			}
			s.world.Clock.Advance(time.Hour)
			synctest.Wait()
			if n := len(s.queues.all()) - before; n != c.later {
				t.Errorf("%v: %d came in the end, want %d", c.copies, n, c.later)
			}
		}
		s.service.SetDelivery(nil)
		before := len(s.queues.all())
		s.publish(arn, "m")
		if n := len(s.queues.all()) - before; n != 1 || s.service.Lost() != 1 {
			t.Errorf("%d came at once, want 1; %d were lost, want 1", n, s.service.Lost())
		}
	})
}

func TestOtherServicesPublishToo(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	s.subscribe(arn, "sqs", queueARN("q"), nil)
	if err := s.service.Publish(notification(*arn, "Notification From Amazon Glacier Service", `{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if m := s.verify(s.queues.all()[0].body); m["Message"] != `{"a":1}` || m["Subject"] != "Notification From Amazon Glacier Service" {
		t.Errorf("got %v", m)
	}
	if err := s.service.Publish(notification(*arn+"-not", "", "x")); err != nil {
		t.Errorf("to a topic that is not there: %v", err)
	}
	if err := s.service.Publish(notification(*arn, "", "")); err == nil {
		t.Error("an empty message was published")
	}
	if n := s.service.Lost(); n != 1 {
		t.Errorf("lost %d, want 1", n)
	}
}

func TestTheCertificateIsTheSameAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, sns.Config{})
	ca, path := string(s.service.CACertPEM()), s.service.CertPath()
	old := string(s.service.Envelope(sns.Message{TopicARN: "arn:aws:sns:us-east-1:" + account + ":t", Message: "m"}))
	s.close()
	s = open(t, dir, sns.Config{})
	defer s.close()
	if string(s.service.CACertPEM()) != ca || s.service.CertPath() != path {
		t.Error("another certificate after the restart")
	}
	s.verify(old)
	if len(path) != len("/SimpleNotificationService-.pem")+32 {
		t.Errorf("got path %s", path)
	}
	for _, r := range []struct{ method, path string }{{"POST", path}, {"GET", "/SimpleNotificationService-0.pem"}, {"GET", "/"}} {
		if s.service.ServeCert(httptest.NewRecorder(), httptest.NewRequest(r.method, r.path, nil)) {
			t.Errorf("%s %s was served", r.method, r.path)
		}
	}
}

func FuzzRequestsAreServedOrRefused(f *testing.F) {
	f.Add("Action=Publish&TopicArn=arn:aws:sns:us-east-1:123456789012:t&Message=m&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=x")
	f.Add("Action=Subscribe&TopicArn=arn:aws:sns:us-east-1:123456789012:t&Protocol=sqs&Endpoint=arn:aws:sqs:us-east-1:123456789012:q&Attributes.entry.1.key=RedrivePolicy&Attributes.entry.1.value={}")
	f.Add("Action=PublishBatch&TopicArn=arn:aws:sns:us-east-1:123456789012:t&PublishBatchRequestEntries.member.1.Id=a&PublishBatchRequestEntries.member.1.Message=b")
	f.Add("Action=CreateTopic&Name=x&Tags.member.1.Key=a&Tags.member.1.Value=b")
	f.Add("Action=ListTopics&NextToken=%zz")
	s := start(f)
	s.topic("t", nil)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		rec := httptest.NewRecorder()
		if op, e := s.service.Operation(r); e != nil {
			s.service.WriteError(rec, r, e)
		} else {
			op.Serve(rec, r)
		}
		if rec.Code >= 500 {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	for name, attributes := range map[string]map[string]string{"signed": nil, "raw": {"RawMessageDelivery": "true"}} {
		b.Run(name, func(b *testing.B) {
			s := open(b, b.TempDir(), sns.Config{Queues: nowhere{}})
			defer s.close()
			arn := s.topic("t", nil)
			s.subscribe(arn, "sqs", queueARN("q"), attributes)
			for b.Loop() {
				s.service.Publish(notification(*arn, "", "message"))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

type nowhere struct{}

func (nowhere) Send(string, string, string, map[string]sqs.Attribute) error { return nil }
