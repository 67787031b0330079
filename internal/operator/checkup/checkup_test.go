package checkup_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/estate"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/operator/checkup"
	"github.com/gas-restore/gas/internal/test/testenv"
)

func TestWhatIsRightIsOKAndWhatCannotBeProvenIsSaid(t *testing.T) {
	b := newFixture(t, shared(t))
	hooks := b.confirmer()
	for _, c := range estate.Channels() {
		if err := b.account.Subscribe(t.Context(), b.topics[c.Name], "http", hooks+c.Webhook); err != nil {
			t.Fatal(err)
		}
	}
	b.Account("fern", archive.Free)
	b.Account("moss", archive.Premium)
	states := map[string]checkup.State{}
	for _, f := range b.check() {
		states[f.What] = f.State
		if f.State == checkup.Wrong {
			t.Errorf("%s is wrong: %s", f.What, f.Words)
		}
	}
	for _, what := range []string{"glacier:InitiateJob", "sns:Publish", "glacier:DeleteArchive", "s3:PutObject"} {
		if states[what] != checkup.Unproven {
			t.Errorf("%s: %q, want that it cannot be proven", what, states[what])
		}
	}
	for _, what := range []string{
		"GAS_JOB_TABLE", "GAS_ACCOUNT_TABLE", "GAS_PLAN_TABLE", "GAS_VAULT", "GAS_RESULTS_BUCKET", "GAS_PREMIUM_TOPIC_ARN", "GAS_RESTORE_TOPIC_ARN",
		"GAS_PREMIUM_QUEUE_URL", "GAS_RESTORE_QUEUE_URL", "GAS_NATS_URL", "GAS_OIDC_CLIENT_SECRET", "streams, consumers and buckets",
	} {
		if states[what] != checkup.OK {
			t.Errorf("%s is %q, want ok", what, states[what])
		}
	}
}

// leaves calls f with each field under v that is no structure.
func leaves(path string, v reflect.Value, f func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(path+"."+v.Type().Field(i).Name, v.Field(i), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			leaves(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f)
		}
	default:
		f(path, v)
	}
}

// TestEachFieldOfATableThatIsAnotherIsNamed makes the tables from the definition with one
// field changed, one at a time.
func TestEachFieldOfATableThatIsAnotherIsNamed(t *testing.T) {
	o := shared(t)
	names := estate.Names{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans}
	variables := []string{"GAS_JOB_TABLE", "GAS_ACCOUNT_TABLE", "GAS_PLAN_TABLE"}
	n := 0
	for i, want := range estate.Tables(names) {
		var paths []string
		leaves("", reflect.ValueOf(&want).Elem(), func(path string, _ reflect.Value) { paths = append(paths, path) })
		for _, path := range paths {
			n++
			t.Run(variables[i]+path, func(t *testing.T) {
				b := newFixture(t, o)
				broken := estate.Tables(names)[i]
				words := want.Name
				enough := false // whether it is more than is needed
				leaves("", reflect.ValueOf(&broken).Elem(), func(at string, v reflect.Value) {
					if at != path {
						return
					}
					switch was := v.String(); was {
					case estate.String:
						v.SetString(estate.Number)
					case estate.Number:
						v.SetString(estate.String)
					case estate.All:
						v.SetString(estate.KeysOnly)
					case estate.KeysOnly:
						v.SetString(estate.All)
						enough = true
					default:
						v.SetString(was + "x")
					}
				})
				// An attribute has one type: an index with the same attribute in its key
				// changes with it.
				retype(&broken, path)
				remake(t, b, want.Name, broken)
				found := b.check()
				if enough {
					for _, f := range found {
						if f.State == checkup.Wrong {
							t.Errorf("more than is needed: %+v", f)
						}
					}
					return
				}
				b.named(found, variables[i], words)
			})
		}
	}
	t.Logf("%d fields of tables", n)
}

// retype gives all keys of a name the type of the one at path.
func retype(table *estate.Table, path string) {
	if !strings.HasSuffix(path, ".Type") {
		return
	}
	all := []*estate.Attribute{&table.Hash}
	for i := range table.Indexes {
		all = append(all, &table.Indexes[i].Hash, &table.Indexes[i].Sort)
	}
	var changed estate.Attribute
	leaves("", reflect.ValueOf(table).Elem(), func(at string, v reflect.Value) {
		if at == strings.TrimSuffix(path, ".Type")+".Name" {
			changed.Name = v.String()
		}
		if at == path {
			changed.Type = v.String()
		}
	})
	for _, a := range all {
		if a.Name == changed.Name {
			a.Type = changed.Type
		}
	}
}

func remake(t *testing.T, b *fixture, name string, table estate.Table) {
	t.Helper()
	db := ddb.NewFromConfig(b.Config)
	if _, err := db.DeleteTable(t.Context(), &ddb.DeleteTableInput{TableName: &name}); err != nil {
		t.Fatal(err)
	}
	if err := b.Catalog.Make(t.Context(), table); err != nil {
		t.Fatal(err)
	}
}

// change is a way in which what the definition says is not so.
type change struct {
	what, words string
	also        []string
	do          func(context.Context, *fixture) error
}

func setQueue(channel, attribute, value string) func(context.Context, *fixture) error {
	return func(ctx context.Context, b *fixture) error {
		_, err := sqs.NewFromConfig(b.Config).SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: aws.String(b.queues[channel]), Attributes: map[string]string{attribute: value}})
		return err
	}
}

func setTopic(channel, attribute, value string) func(context.Context, *fixture) error {
	return func(ctx context.Context, b *fixture) error {
		_, err := sns.NewFromConfig(b.Config).SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: aws.String(b.topics[channel]), AttributeName: &attribute, AttributeValue: &value})
		return err
	}
}

// redrive gives the queue a dead-letter queue and takes that away again, if it is not to be there.
func redrive(channel string, receives int, there bool) func(context.Context, *fixture) error {
	return func(ctx context.Context, b *fixture) error {
		queues := sqs.NewFromConfig(b.Config)
		dead, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("dead-" + channel)})
		if err != nil {
			return err
		}
		policy := fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead-%s","maxReceiveCount":"%d"}`, channel, receives)
		if err := setQueue(channel, "RedrivePolicy", policy)(ctx, b); err != nil || there {
			return err
		}
		_, err = queues.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: dead.QueueUrl})
		return err
	}
}

func unsubscribe(channel string) func(context.Context, *fixture) error {
	return func(ctx context.Context, b *fixture) error {
		for _, s := range b.SNS.Subscriptions(b.topics[channel]) {
			if _, err := sns.NewFromConfig(b.Config).Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: aws.String(s.ARN)}); err != nil {
				return err
			}
		}
		return nil
	}
}

func subscribe(topic, endpoint string, attributes map[string]string) func(context.Context, *fixture) error {
	return func(ctx context.Context, b *fixture) error {
		if strings.HasPrefix(endpoint, "/") {
			endpoint = b.confirmer() + endpoint
		}
		protocol, _, _ := strings.Cut(endpoint, ":")
		if protocol == "arn" {
			protocol = "sqs"
		}
		_, err := sns.NewFromConfig(b.Config).Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(b.topics[topic]), Protocol: &protocol, Endpoint: &endpoint, Attributes: attributes})
		return err
	}
}

// changes are, for each field of the definition of channels, the ways to break it, and
// then those that are no field.
func changes() map[string][]change {
	const arn = "arn:aws:sqs:us-east-1:000000000000:"
	all := map[string][]change{}
	for i, c := range estate.Channels() {
		at := fmt.Sprintf("[%d]", i)
		other := estate.Channels()[1-i]
		queue, topic := "GAS_"+strings.ToUpper(c.Name)+"_QUEUE_URL", "GAS_"+strings.ToUpper(c.Name)+"_TOPIC_ARN"
		all[at+".Name"] = []change{
			{topic, "there is no topic", nil, func(ctx context.Context, b *fixture) error {
				_, err := sns.NewFromConfig(b.Config).DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: aws.String(b.topics[c.Name])})
				return err
			}},
			{queue, "there is no queue", nil, func(ctx context.Context, b *fixture) error {
				_, err := sqs.NewFromConfig(b.Config).DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: aws.String(b.queues[c.Name])})
				return err
			}},
			{queue, "is not subscribed", nil, unsubscribe(c.Name)},
			{queue, "too", nil, subscribe(other.Name, arn+c.LocalName(), nil)},
			{queue, "does not let topic", nil, setQueue(c.Name, "Policy", "")},
			{queue, "does not let topic", nil, setQueue(c.Name, "Policy", `{"Statement":{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:000000000000:another"}}}}`)},
		}
		if len(c.Topic.Publishers) > 0 {
			all[at+".Topic.Publishers[0]"] = []change{{topic, "does not let glacier.amazonaws.com publish", nil, setTopic(c.Name, "Policy", `{"Statement":{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"SNS:Publish","Resource":"*"}}`)}}
		}
		all[at+".Queue.MinReceives"] = []change{
			{queue, "after 3 receives", nil, redrive(c.Name, 3, true)}, {queue, "after 9 receives", nil, redrive(c.Name, 9, true)},
			{queue, "is not there", nil, redrive(c.Name, 10, false)},
		}
		all[at+".Queue.MinRetention"] = []change{{queue, "forgets messages after 1m0s", nil, setQueue(c.Name, "MessageRetentionPeriod", "60")}}
		all[at+".Queue.MinMessage"] = []change{{queue, "takes messages of up to 1024 bytes", nil, setQueue(c.Name, "MaximumMessageSize", "1024")}}
		all[at+".Webhook"] = []change{
			{topic, "stays PendingConfirmation", nil, subscribe(c.Name, "http://127.0.0.1:1"+c.Webhook, nil)},
			{topic, "is for the other topic", nil, subscribe(c.Name, other.Webhook, nil)},
			{topic, "raw message delivery", nil, subscribe(c.Name, c.Webhook, map[string]string{"RawMessageDelivery": "true"})},
		}
	}
	index := func(status string) func(context.Context, *fixture) error {
		return func(_ context.Context, b *fixture) error {
			b.rewrite = func(operation, answer string) string {
				if operation != "DescribeTable" || !strings.Contains(answer, estate.DueIndex) {
					return answer
				}
				return strings.Replace(answer, `"IndexStatus":"ACTIVE"`, status, 1)
			}
			return nil
		}
	}
	deny := func(service, operation string) func(context.Context, *fixture) error {
		return func(_ context.Context, b *fixture) error {
			return b.Faults.Add(localaws.Fault{Service: service, Operation: operation, Status: 403, Code: "AccessDeniedException"})
		}
	}
	all[""] = []change{
		{"GAS_JOB_TABLE", "is CREATING", nil, index(`"IndexStatus":"CREATING"`)},
		{"GAS_JOB_TABLE", "still being filled", nil, index(`"IndexStatus":"CREATING","Backfilling":true`)},
		{"GAS_JOB_TABLE", "is DELETING", nil, func(_ context.Context, b *fixture) error {
			b.rewrite = func(operation, answer string) string {
				if operation == "DescribeTable" && strings.Contains(answer, estate.DueIndex) {
					return strings.Replace(answer, `"TableStatus":"ACTIVE"`, `"TableStatus":"DELETING"`, 1)
				}
				return answer
			}
			return nil
		}},
		{"GAS_ACCOUNT_TABLE", `is "premium"`, nil, func(ctx context.Context, b *fixture) error {
			b.Account("fern", archive.Free)
			_, err := ddb.NewFromConfig(b.Config).PutItem(ctx, &ddb.PutItemInput{TableName: aws.String(testenv.Accounts), Item: map[string]ddbtypes.AttributeValue{
				"user_id": &ddbtypes.AttributeValueMemberS{Value: "moss"}, "role": &ddbtypes.AttributeValueMemberS{Value: "premium"},
			}})
			return err
		}},
		{"GAS_VAULT", "describe vault", nil, func(ctx context.Context, b *fixture) error {
			_, err := b.Vaults.DeleteVault(ctx, &glacier.DeleteVaultInput{AccountId: aws.String("-"), VaultName: aws.String(testenv.VaultID)})
			return err
		}},
		{"GAS_VAULT", "this account may not use Glacier vaults", nil, func(_ context.Context, b *fixture) error {
			return b.Faults.Add(localaws.Fault{Service: "glacier", Code: "NoLongerSupportedException", Status: 400})
		}},
		{"GAS_RESULTS_BUCKET", "gas-results", nil, func(ctx context.Context, b *fixture) error {
			_, err := b.Objects.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String(testenv.BucketID)})
			return err
		}},
		{"GAS_JOB_TABLE", "AccessDenied", []string{"GAS_ACCOUNT_TABLE"}, deny("dynamodb", "Query")},
		{"GAS_JOB_TABLE", "AccessDenied", []string{"GAS_ACCOUNT_TABLE", "GAS_PLAN_TABLE"}, deny("dynamodb", "GetItem")},
		{"GAS_ACCOUNT_TABLE", "AccessDenied", nil, deny("dynamodb", "Scan")},
		{"GAS_VAULT", "AccessDenied", nil, deny("glacier", "ListJobs")},
		{"GAS_RESULTS_BUCKET", "403", nil, deny("s3", "HeadObject")},
		{"GAS_PREMIUM_TOPIC_ARN", "AccessDenied", []string{"GAS_RESTORE_TOPIC_ARN"}, deny("sns", "ListSubscriptionsByTopic")},
		{"GAS_PREMIUM_QUEUE_URL", "AccessDenied", []string{"GAS_RESTORE_QUEUE_URL"}, deny("sqs", "GetQueueAttributes")},
	}
	return all
}

// TestEachPartOfAChannelThatIsWrongIsNamed breaks topics, queues, policies, redrive and
// subscriptions, one at a time.
func TestEachPartOfAChannelThatIsWrongIsNamed(t *testing.T) {
	o := shared(t)
	all := changes()
	leaves("", reflect.ValueOf(estate.Channels()), func(path string, v reflect.Value) {
		// Some settings are made and not compared: a retention of less than 14 days is
		// enough.
		if len(all[path]) == 0 && !strings.HasSuffix(path, ".Queue.Retention") && !strings.HasSuffix(path, ".Queue.Receives") && !v.IsZero() {
			t.Errorf("field %s of the channels is not broken: say how", path)
		}
	})
	n := 0
	for path, list := range all {
		for _, c := range list {
			n++
			t.Run(path+" "+c.what+" "+c.words, func(t *testing.T) {
				b := newFixture(t, o)
				if err := c.do(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				b.named(b.check(), c.what, c.words, c.also...)
			})
		}
	}
	t.Logf("%d ways", n)
}

func TestWhatIsMissingInJetStreamIsNamed(t *testing.T) {
	o := shared(t)
	b := newFixture(t, o)
	js, err := bus.Connect(t.Context(), bus.Config{URL: o.nats, User: "operator", Password: "dev-operator", Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer js.Close()
	for _, c := range []struct {
		what, words string
		do          func() error
	}{
		{"stream DEAD", "is not there", func() error { return js.JS.DeleteStream(t.Context(), "DEAD") }},
		{"consumer restore of RESTORE", "is not there", func() error { return js.JS.DeleteConsumer(t.Context(), "RESTORE", bus.ConsumerRestore) }},
		{"bucket COPIES", "is not there", func() error { return js.JS.DeleteStream(t.Context(), "KV_COPIES") }},
		{"stream STATUS", "max_bytes", func() error {
			st, err := js.JS.Stream(t.Context(), "STATUS")
			if err != nil {
				return err
			}
			conf := st.CachedInfo().Config
			conf.MaxBytes = 5
			_, err = js.JS.UpdateStream(t.Context(), conf)
			return err
		}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		b.named(b.check(), c.what, c.words)
		if err := bus.Provision(t.Context(), js.JS, bus.Settings{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestObjectsThatALifecycleRuleMovedAreCounted(t *testing.T) {
	b := newFixture(t, shared(t))
	key, bucket := "gas/fern/moved", testenv.BucketID
	if _, err := b.Objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x"), StorageClass: s3types.StorageClassGlacier}); err != nil {
		t.Fatal(err)
	}
	defer b.Objects.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	for _, f := range b.check() {
		if f.What == "GAS_RESULTS_BUCKET" && strings.Contains(f.Words, "1 of ") && strings.Contains(f.Words, "GLACIER") {
			return
		}
	}
	t.Error("the check does not count the object in GLACIER")
}
