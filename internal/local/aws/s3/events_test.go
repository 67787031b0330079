package s3_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

const account = "123456789012"

func topicARN(name string) string { return "arn:aws:sns:us-east-1:" + account + ":" + name }
func queueARN(name string) string { return "arn:aws:sqs:us-east-1:" + account + ":" + name }

// message is what a destination was sent.
type message struct{ service, source, target, subject, body string }

// destinations take messages, except those that are closed.
type destinations struct {
	got    chan message
	closed map[string]bool
}

func newDestinations() *destinations {
	return &destinations{got: make(chan message, 1000), closed: map[string]bool{}}
}

func (d *destinations) accepts(target string) error {
	if d.closed[target] {
		return errors.New("it is closed")
	}
	return nil
}

// asTopics are the destinations as topics.
type asTopics struct{ *destinations }

func (d asTopics) Accepts(n world.Notification) error { return d.accepts(n.Topic) }
func (d asTopics) Publish(n world.Notification) error {
	d.got <- message{n.Service, n.Source, n.Topic, n.Subject, n.Message}
	return nil
}

func (d *destinations) Accepts(_, _, queue string) error { return d.accepts(queue) }
func (d *destinations) SendAs(service, source, queue, body string) error {
	if err := d.accepts(queue); err != nil {
		return err
	}
	d.got <- message{service, source, queue, "", body}
	return nil
}

func (d *destinations) config(*world.World) s3.Config {
	return s3.Config{Topics: asTopics{d}, Queues: d}
}

// configure sets the configuration, and takes the test events.
func (d *destinations) configure(s *stand, n *types.NotificationConfiguration) {
	s.t.Helper()
	must[*sdk.PutBucketNotificationConfigurationOutput](s.t)(s.PutBucketNotificationConfiguration(ctx, &sdk.PutBucketNotificationConfigurationInput{Bucket: b, NotificationConfiguration: n}))
	for range len(n.QueueConfigurations) + len(n.TopicConfigurations) {
		m := <-d.got
		var e struct{ Service, Event, Time, Bucket, RequestId, HostId string }
		if err := json.Unmarshal([]byte(m.body), &e); err != nil || e.Event != "s3:TestEvent" || e.Service != "Amazon S3" || e.Bucket != "gas-results" || e.RequestId == "" || e.HostId == "" || e.Time == "" {
			s.t.Errorf("the test event is %+v", m)
		}
	}
}

// toQueue is a configuration that tells the queue q.
func toQueue(events ...types.Event) *types.NotificationConfiguration {
	return &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{Id: aws.String("id"), QueueArn: aws.String(queueARN("q")), Events: events}}}
}

// record is what is read of an event's record.
type record struct {
	EventVersion, EventSource, AwsRegion, EventTime, EventName string
	RequestParameters                                          struct{ SourceIPAddress string }
	S3                                                         struct {
		S3SchemaVersion, ConfigurationId string
		Bucket                           struct{ Name, Arn string }
		Object                           struct {
			Key, ETag, VersionId, Sequencer string
			Size                            int64
		}
	}
	GlacierEventData *struct {
		RestoreEventData struct{ LifecycleRestorationExpiryTime, LifecycleRestoreStorageClass string }
	}
}

func recordIn(t testing.TB, body string) record {
	t.Helper()
	var doc struct{ Records []record }
	if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Records) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	return doc.Records[0]
}

// next returns the next event's record.
func (d *destinations) next(t testing.TB) record {
	t.Helper()
	return recordIn(t, (<-d.got).body)
}

func TestARestoreTellsOfItsBeginningItsCompletionAndItsExpiry(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, "", d.config)
	d.configure(s, toQueue("s3:ObjectRestore:*"))
	etag := strings.Trim(*s.putIn("GLACIER", "dir/a b+ü", "12345").ETag, `"`)
	s.beginRestore("dir/a%20b+%C3%BC", 1, s3.Standard)
	begun := s.service.Restoring()[0]
	first := <-d.got
	s.world.Clock.Advance(6 * time.Hour)
	second := <-d.got
	expiry := s.service.Restoring()[0].Expiry
	s.world.Clock.Advance(48 * time.Hour)
	third := <-d.got
	for i, want := range []struct {
		m    message
		name string
		at   time.Time
		ip   string
	}{
		{first, "ObjectRestore:Post", begun.Begun, "127.0.0.1"},
		{second, "ObjectRestore:Completed", begun.Due, "s3.amazonaws.com"},
		{third, "ObjectRestore:Delete", expiry, "s3.amazonaws.com"},
	} {
		r := recordIn(t, want.m.body)
		if want.m.service != "s3.amazonaws.com" || want.m.source != "arn:aws:s3:::gas-results" || want.m.target != queueARN("q") {
			t.Errorf("%d: sent as %+v", i, want.m)
		}
		if r.EventVersion != "2.6" || r.EventSource != "aws:s3" || r.AwsRegion != "us-east-1" || r.EventName != want.name || r.RequestParameters.SourceIPAddress != want.ip {
			t.Errorf("%d: %+v", i, r)
		}
		if at := want.at.Format("2006-01-02T15:04:05.000Z"); r.EventTime != at {
			t.Errorf("%s at %s, want %s", want.name, r.EventTime, at)
		}
		o := r.S3.Object
		if o.Key != "dir/a+b%2B%C3%BC" || o.Size != 5 || o.ETag != etag || o.VersionId != "" || o.Sequencer != "" {
			t.Errorf("%s: object %+v", want.name, o)
		}
		if r.S3.S3SchemaVersion != "1.0" || r.S3.ConfigurationId != "id" || r.S3.Bucket.Name != "gas-results" || r.S3.Bucket.Arn != "arn:aws:s3:::gas-results" {
			t.Errorf("%s: %+v", want.name, r.S3)
		}
		switch g := r.GlacierEventData; {
		case want.name != "ObjectRestore:Completed":
			if g != nil {
				t.Errorf("%s: glacierEventData %+v", want.name, g)
			}
		case g == nil || g.RestoreEventData.LifecycleRestoreStorageClass != "GLACIER" || g.RestoreEventData.LifecycleRestorationExpiryTime != expiry.Format("2006-01-02T15:04:05.000Z"):
			t.Errorf("%s: glacierEventData %+v, want the expiry %v", want.name, g, expiry)
		}
	}
}

// Nothing tells of a failed restore, an upgrade, a moved expiry and a refused request: the
// next event is of the sentinel.
func TestNoEventTellsOfAFailedRestore(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, "", d.config)
	s.putIn("GLACIER", "k", "x")
	s.putIn("GLACIER", "sentinel", "x")
	d.configure(s, toQueue("s3:ObjectRestore:*"))
	s.service.FailNextRestores(1)
	s.beginRestore("k", 1, s3.Bulk)
	s.beginRestore("k", 1, s3.Standard)
	s.restore("k", 1, s3.Standard)
	s.world.Clock.Advance(12 * time.Hour)
	s.shown("k")
	s.beginRestore("sentinel", 5, s3.Bulk)
	s.world.Clock.Advance(12 * time.Hour)
	if status, _ := s.restore("sentinel", 9, s3.Bulk); status != 200 {
		t.Errorf("got %d, want 200", status)
	}
	s.beginRestore("k", 1, s3.Bulk)
	var got []string
	for range 4 {
		r := d.next(t)
		got = append(got, r.S3.Object.Key+" "+r.EventName)
	}
	if want := []string{"k ObjectRestore:Post", "sentinel ObjectRestore:Post", "sentinel ObjectRestore:Completed", "k ObjectRestore:Post"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDestinationsAreToldOfWhatTheyWant(t *testing.T) {
	copied := func(s *stand, key string) {
		must[*sdk.CopyObjectOutput](s.t)(s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: &key, CopySource: aws.String("gas-results/in/put.vcf")}))
	}
	deleted := func(s *stand, key string) {
		must[*sdk.DeleteObjectOutput](s.t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: &key}))
	}
	filter := func(prefix, suffix string) *types.NotificationConfigurationFilter {
		out := &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{}}
		if prefix != "" {
			out.Key.FilterRules = append(out.Key.FilterRules, types.FilterRule{Name: "prefix", Value: &prefix})
		}
		if suffix != "" {
			out.Key.FilterRules = append(out.Key.FilterRules, types.FilterRule{Name: "suffix", Value: &suffix})
		}
		return out
	}
	for _, c := range []struct {
		name   string
		filter *types.NotificationConfigurationFilter
		events []types.Event
		want   []string
	}{
		{"all that is created", nil, []types.Event{"s3:ObjectCreated:*"}, []string{"in/put.vcf Put", "in/uploaded.txt CompleteMultipartUpload", "out/copied.vcf Copy"}},
		{"uploads", nil, []types.Event{"s3:ObjectCreated:CompleteMultipartUpload"}, []string{"in/uploaded.txt CompleteMultipartUpload"}},
		{"all that is deleted", nil, []types.Event{"s3:ObjectRemoved:*"}, []string{"in/put.vcf Delete", "out/copied.vcf Delete"}},
		{"copies and deletions", nil, []types.Event{"s3:ObjectCreated:Copy", "s3:ObjectRemoved:Delete"}, []string{"out/copied.vcf Copy", "in/put.vcf Delete", "out/copied.vcf Delete"}},
		{"by prefix", filter("in/", ""), []types.Event{"s3:ObjectCreated:*"}, []string{"in/put.vcf Put", "in/uploaded.txt CompleteMultipartUpload"}},
		{"by suffix", filter("", ".vcf"), []types.Event{"s3:ObjectCreated:*"}, []string{"in/put.vcf Put", "out/copied.vcf Copy"}},
		{"by both", filter("in/", ".vcf"), []types.Event{"s3:ObjectCreated:*"}, []string{"in/put.vcf Put"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDestinations()
			s := newStandWith(t, "", d.config)
			d.configure(s, &types.NotificationConfiguration{
				TopicConfigurations: []types.TopicConfiguration{{TopicArn: aws.String(topicARN("t")), Events: c.events, Filter: c.filter}},
				QueueConfigurations: []types.QueueConfiguration{{QueueArn: aws.String(queueARN("end")), Events: []types.Event{"s3:ObjectRestore:Post"}}},
			})
			s.putIn("", "in/put.vcf", "x")
			s.upload("", "in/uploaded.txt", "x")
			copied(s, "out/copied.vcf")
			deleted(s, "in/put.vcf")
			deleted(s, "out/copied.vcf")
			deleted(s, "never")
			s.putIn("GLACIER", "end", "")
			s.beginRestore("end", 1, s3.Bulk)
			var got []string
			last := ""
			for m := range d.got {
				r := recordIn(t, m.body)
				if m.target == queueARN("end") {
					break
				}
				_, how, _ := strings.Cut(r.EventName, ":")
				if r.S3.Object.Key != "end" {
					got = append(got, r.S3.Object.Key+" "+how)
				}
				if r.S3.Object.Sequencer <= last || m.subject != "Amazon S3 Notification" || r.S3.ConfigurationId == "" {
					t.Errorf("%+v after the sequencer %s", m, last)
				}
				last = r.S3.Object.Sequencer
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAConfigurationReplacesTheOneBefore(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, t.TempDir(), d.config)
	get := func() *sdk.GetBucketNotificationConfigurationOutput {
		return must[*sdk.GetBucketNotificationConfigurationOutput](t)(s.GetBucketNotificationConfiguration(ctx, &sdk.GetBucketNotificationConfigurationInput{Bucket: b}))
	}
	if got := get(); len(got.QueueConfigurations)+len(got.TopicConfigurations) != 0 || got.EventBridgeConfiguration != nil {
		t.Errorf("a new bucket has %+v", got)
	}
	d.configure(s, toQueue("s3:ObjectCreated:*"))
	d.configure(s, &types.NotificationConfiguration{
		TopicConfigurations: []types.TopicConfiguration{{
			TopicArn: aws.String(topicARN("t")), Events: []types.Event{"s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete"},
			Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "prefix", Value: aws.String("in/")}}}},
		}},
		EventBridgeConfiguration: &types.EventBridgeConfiguration{},
	})
	s.close()
	s = newStandWith(t, s.dir, d.config)
	got := get()
	if len(got.QueueConfigurations) != 0 || len(got.TopicConfigurations) != 1 || got.EventBridgeConfiguration == nil {
		t.Fatalf("got %+v", got)
	}
	if tc := got.TopicConfigurations[0]; *tc.TopicArn != topicARN("t") || *tc.Id == "" || len(tc.Events) != 2 || tc.Events[1] != "s3:ObjectRestore:Delete" || *tc.Filter.Key.FilterRules[0].Value != "in/" {
		t.Errorf("got %+v", tc)
	}
	d.configure(s, &types.NotificationConfiguration{})
	if got := get(); len(got.TopicConfigurations) != 0 || got.EventBridgeConfiguration != nil {
		t.Errorf("after an empty one: %+v", got)
	}
}

func TestWrongNotificationConfigurationsAreRefused(t *testing.T) {
	d := newDestinations()
	d.closed[queueARN("closed")], d.closed[topicARN("closed")] = true, true
	s := newStandWith(t, "", d.config)
	queue := func(inner string) string {
		return "<QueueConfiguration><Queue>" + queueARN("q") + "</Queue>" + inner + "</QueueConfiguration>"
	}
	const put, all = "<Event>s3:ObjectCreated:Put</Event>", "<Event>s3:ObjectCreated:*</Event>"
	rule := func(name, value string) string {
		return "<FilterRule><Name>" + name + "</Name><Value>" + value + "</Value></FilterRule>"
	}
	filter := func(rules string) string { return "<Filter><S3Key>" + rules + "</S3Key></Filter>" }
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"no XML", "x", 400, "MalformedXML"},
		{"no event", queue(""), 400, "MalformedXML"},
		{"no queue", "<QueueConfiguration>" + put + "</QueueConfiguration>", 400, "MalformedXML"},
		{"an unknown element", queue(put + "<Colour/>"), 400, "MalformedXML"},
		{"an unknown destination", "<EmailConfiguration/>", 400, "MalformedXML"},
		{"an unknown event", queue("<Event>s3:ObjectMelted</Event>"), 400, "not supported for notifications"},
		{"an event without its prefix", queue("<Event>ObjectCreated:Put</Event>"), 400, "not supported for notifications"},
		{"an event that is never sent", queue("<Event>s3:Replication:*</Event>"), 501, "NotImplemented"},
		{"a Lambda function", "<CloudFunctionConfiguration><CloudFunction>f</CloudFunction>" + put + "</CloudFunctionConfiguration>", 501, "Lambda"},
		{"an unknown rule", queue(put + filter(rule("infix", "x"))), 400, "prefix or suffix"},
		{"two prefixes", queue(put + filter(rule("prefix", "x")+rule("Prefix", "y"))), 400, "more than one prefix"},
		{"an id twice", queue("<Id>i</Id>"+put+filter(rule("prefix", "a"))) + queue("<Id>i</Id>"+put+filter(rule("prefix", "b"))), 400, "unique"},
		{"the same event twice", queue(put) + queue(put), 400, "ambiguously"},
		{"a family and its member", queue(put) + queue(all), 400, "ambiguously"},
		{"prefixes that overlap", queue(put+filter(rule("prefix", "a"))) + queue(all+filter(rule("prefix", "ab"))), 400, "ambiguously"},
		{"suffixes that overlap", queue(put+filter(rule("suffix", "pg"))) + queue(put+filter(rule("suffix", "jpg"))), 400, "ambiguously"},
		{"a closed queue", "<QueueConfiguration><Queue>" + queueARN("closed") + "</Queue>" + put + "</QueueConfiguration>", 400, "<ArgumentName>" + queueARN("closed")},
		{"a closed topic", "<TopicConfiguration><Topic>" + topicARN("closed") + "</Topic>" + put + "</TopicConfiguration>", 400, "Unable to validate the following destination"},
	} {
		status, body, _ := s.raw("PUT", "/gas-results?notification", nil, "<NotificationConfiguration>"+c.body+"</NotificationConfiguration>")
		if c.name == "no XML" {
			status, body, _ = s.raw("PUT", "/gas-results?notification", nil, c.body)
		}
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: got %d %s, want %d %s", c.name, status, body, c.status, c.want)
		}
	}
	for name, body := range map[string]string{
		"prefixes apart":     queue(put+filter(rule("prefix", "a"))) + queue(put+filter(rule("prefix", "b"))),
		"suffixes apart":     queue(put+filter(rule("prefix", "a")+rule("suffix", "x"))) + queue(put+filter(rule("suffix", "y"))),
		"other events":       queue(put) + queue("<Event>s3:ObjectRemoved:*</Event>"),
		"EventBridge":        "<EventBridgeConfiguration/>",
		"a rule in capitals": queue(put + filter(rule("Suffix", "x"))),
	} {
		if status, answer, _ := s.raw("PUT", "/gas-results?notification", nil, "<NotificationConfiguration>"+body+"</NotificationConfiguration>"); status != 200 {
			t.Errorf("%s: got %d %s", name, status, answer)
		}
	}
	closed := "<NotificationConfiguration><QueueConfiguration><Queue>" + queueARN("closed") + "</Queue>" + put + "</QueueConfiguration></NotificationConfiguration>"
	if status, answer, _ := s.raw("PUT", "/gas-results?notification", map[string]string{"X-Amz-Skip-Destination-Validation": "true"}, closed); status != 200 {
		t.Errorf("without validation: got %d %s", status, answer)
	}
}

func TestEventBridgeGetsItsOwnForm(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, "", d.config)
	s.putIn("DEEP_ARCHIVE", "a b", "123")
	d.configure(s, &types.NotificationConfiguration{EventBridgeConfiguration: &types.EventBridgeConfiguration{}})
	s.service.SetEventBridgeQueue("gas-results", queueARN("bridge"))
	s.beginRestore("a%20b", 2, s3.Standard)
	s.world.Clock.Advance(12 * time.Hour)
	expiry := s.service.Restoring()[0].Expiry
	s.world.Clock.Advance(72 * time.Hour)
	s.shown("a b")
	must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("a b")}))
	s.put("new", []byte("1"))
	for _, want := range []struct{ detailType, key, requester, class, expiry, reason, deletion string }{
		{"Object Restore Initiated", "a b", account, "DEEP_ARCHIVE", "", "", ""},
		{"Object Restore Completed", "a b", "s3.amazonaws.com", "DEEP_ARCHIVE", expiry.Format("2006-01-02T15:04:05Z"), "", ""},
		{"Object Restore Expired", "a b", "s3.amazonaws.com", "", "", "", ""},
		{"Object Deleted", "a b", account, "", "", "DeleteObject", "Permanently Deleted"},
		{"Object Created", "new", account, "", "", "PutObject", ""},
	} {
		m := <-d.got
		var e struct {
			Version, ID, Source, Account, Time, Region string
			DetailType                                 string `json:"detail-type"`
			Resources                                  []string
			Detail                                     struct {
				Version   string
				Bucket    struct{ Name string }
				Object    struct{ Key, ETag, Sequencer string }
				RequestID string `json:"request-id"`
				Requester string
				Reason    string
				Deletion  string `json:"deletion-type"`
				Expiry    string `json:"restore-expiry-time"`
				Class     string `json:"source-storage-class"`
			}
		}
		if err := json.Unmarshal([]byte(m.body), &e); err != nil {
			t.Fatal(err)
		}
		got := e.Detail
		if e.DetailType != want.detailType || got.Object.Key != want.key || got.Requester != want.requester || got.Class != want.class || got.Expiry != want.expiry || got.Reason != want.reason || got.Deletion != want.deletion {
			t.Errorf("got %+v, want %+v", e, want)
		}
		if m.service != "events.amazonaws.com" || m.target != queueARN("bridge") || e.Version != "0" || e.Source != "aws.s3" || e.Account != account || len(e.Resources) != 1 || e.Resources[0] != "arn:aws:s3:::gas-results" || got.Bucket.Name != "gas-results" || got.RequestID == "" {
			t.Errorf("got %+v", m)
		}
	}
}

func TestEventsAreLostDoubledAndLate(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, "", d.config)
	d.configure(s, toQueue("s3:ObjectCreated:*"))
	s.service.DropEvents(2)
	for _, key := range []string{"lost", "lost too", "comes"} {
		s.put(key, nil)
	}
	if r := d.next(t); r.S3.Object.Key != "comes" || s.service.LostEvents() != 2 {
		t.Errorf("got %+v, %d lost", r, s.service.LostEvents())
	}
	s.service.SetEventDelivery(func(e s3.Event) []time.Duration {
		if e.Key == "late" && e.Name == "ObjectCreated:Put" && e.Target == queueARN("q") {
			return []time.Duration{time.Hour}
		}
		return []time.Duration{0, 0}
	})
	s.put("late", nil)
	s.put("twice", nil)
	for range 2 {
		if r := d.next(t); r.S3.Object.Key != "twice" {
			t.Errorf("got %+v", r)
		}
	}
	s.world.Clock.Advance(time.Hour)
	if r := d.next(t); r.S3.Object.Key != "late" {
		t.Errorf("got %+v", r)
	}
}

func TestAnEventThatWasNotSentIsSentAfterARestart(t *testing.T) {
	d := newDestinations()
	s := newStandWith(t, t.TempDir(), d.config)
	s.putIn("GLACIER", "k", "x")
	d.configure(s, toQueue("s3:ObjectRestore:Completed"))
	s.service.SetRestoreDelay("GLACIER", s3.Bulk, 50*time.Millisecond, 50*time.Millisecond)
	s.beginRestore("k", 1, s3.Bulk)
	s.close()
	s = newStandWith(t, s.dir, d.config)
	if r := d.next(t); r.EventName != "ObjectRestore:Completed" || s.shown("k") == "" {
		t.Errorf("got %+v", r)
	}
}

// TestEventsReachRealQueues directly, and through a topic in its envelope, if the policies
// let S3 send.
func TestEventsReachRealQueues(t *testing.T) {
	var queues *sqs.Service
	var topics *sns.Service
	s := newStandWith(t, "", func(w *world.World) s3.Config {
		var err error
		if queues, err = sqs.New(w, "http://sqs.test"); err != nil {
			t.Fatal(err)
		}
		if topics, err = sns.New(w, sns.Config{Queues: queues}); err != nil {
			t.Fatal(err)
		}
		return s3.Config{Topics: topics, Queues: queues}
	})
	qs, ts := httptest.NewServer(world.Handler(queues)), httptest.NewServer(world.Handler(topics))
	defer qs.Close()
	defer ts.Close()
	key := credentials.NewStaticCredentialsProvider("AKID", "secret", "")
	q := awssqs.New(awssqs.Options{Region: "us-east-1", BaseEndpoint: &qs.URL, Credentials: key, HTTPClient: qs.Client()})
	n := awssns.New(awssns.Options{Region: "us-east-1", BaseEndpoint: &ts.URL, Credentials: key, HTTPClient: ts.Client()})
	policy := func(service, action, resource, source string) string {
		return fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":%q,"Resource":%q,"Condition":{"ArnLike":{"aws:SourceArn":%q}}}]}`, service, action, resource, source)
	}
	queue := func(name, service, source string) string {
		out := must[*awssqs.CreateQueueOutput](t)(q.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
			"Policy": policy(service, "sqs:SendMessage", queueARN(name), source),
		}}))
		return *out.QueueUrl
	}
	receive := func(url string) string {
		out := must[*awssqs.ReceiveMessageOutput](t)(q.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20}))
		if len(out.Messages) != 1 {
			t.Fatalf("%d messages in %s", len(out.Messages), url)
		}
		must[*awssqs.DeleteMessageOutput](t)(q.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle}))
		return *out.Messages[0].Body
	}
	direct := queue("direct", "s3.amazonaws.com", "arn:aws:s3:::gas-results")
	closed := queue("closed", "s3.amazonaws.com", "arn:aws:s3:::another")
	told := queue("told", "sns.amazonaws.com", topicARN("t"))
	must[*awssns.CreateTopicOutput](t)(n.CreateTopic(ctx, &awssns.CreateTopicInput{Name: aws.String("t"), Attributes: map[string]string{
		"Policy": policy("s3.amazonaws.com", "sns:Publish", topicARN("t"), "arn:aws:s3:*:*:gas-results"),
	}}))
	must[*awssns.CreateTopicOutput](t)(n.CreateTopic(ctx, &awssns.CreateTopicInput{Name: aws.String("closed"), Attributes: map[string]string{
		"Policy": policy("glacier.amazonaws.com", "sns:Publish", topicARN("closed"), "*"),
	}}))
	must[*awssns.SubscribeOutput](t)(n.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: aws.String(topicARN("t")), Protocol: aws.String("sqs"), Endpoint: aws.String(queueARN("told"))}))

	configure := func(queue, topic string) error {
		_, err := s.PutBucketNotificationConfiguration(ctx, &sdk.PutBucketNotificationConfigurationInput{Bucket: b, NotificationConfiguration: &types.NotificationConfiguration{
			QueueConfigurations: []types.QueueConfiguration{{QueueArn: aws.String(queueARN(queue)), Events: []types.Event{"s3:ObjectRestore:Post"}}},
			TopicConfigurations: []types.TopicConfiguration{{TopicArn: aws.String(topicARN(topic)), Events: []types.Event{"s3:ObjectRestore:Completed"}}},
		}})
		return err
	}
	for _, c := range [][2]string{{"closed", "t"}, {"direct", "closed"}, {"none", "t"}, {"direct", "none"}} {
		refused(t, configure(c[0], c[1]), "InvalidArgument", "Unable to validate the following destination configurations")
	}
	if err := configure("direct", "t"); err != nil {
		t.Fatal(err)
	}
	s.putIn("GLACIER", "k", "x")
	s.beginRestore("k", 1, s3.Expedited)
	s.world.Clock.Advance(5 * time.Minute)
	if got := receive(direct); !strings.Contains(got, `"Event":"s3:TestEvent"`) {
		t.Errorf("got %s", got)
	}
	if r := recordIn(t, receive(direct)); r.EventName != "ObjectRestore:Post" {
		t.Errorf("got %+v", r)
	}
	var envelope struct{ Type, Subject, Message, Signature, TopicArn string }
	for _, want := range []string{`"Event":"s3:TestEvent"`, `"eventName":"ObjectRestore:Completed"`} {
		if err := json.Unmarshal([]byte(receive(told)), &envelope); err != nil {
			t.Fatal(err)
		}
		if envelope.Type != "Notification" || envelope.Subject != "Amazon S3 Notification" || envelope.Signature == "" || !strings.Contains(envelope.Message, want) {
			t.Errorf("got %+v, want %s", envelope, want)
		}
	}
	out := must[*awssqs.ReceiveMessageOutput](t)(q.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: &closed}))
	if len(out.Messages) != 0 || s.service.LostEvents() != 0 {
		t.Errorf("the closed queue got %v; %d lost", out.Messages, s.service.LostEvents())
	}
	// A policy that changes later loses the events without a word.
	must[*awssqs.SetQueueAttributesOutput](t)(q.SetQueueAttributes(ctx, &awssqs.SetQueueAttributesInput{QueueUrl: &direct, Attributes: map[string]string{"Policy": ""}}))
	s.world.Clock.Advance(72 * time.Hour)
	s.beginRestore("k", 1, s3.Expedited)
	s.world.Clock.Advance(5 * time.Minute)
	receive(told)
	if got := s.service.LostEvents(); got != 1 {
		t.Errorf("%d lost, want 1", got)
	}
}
