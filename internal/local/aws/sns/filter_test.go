package sns_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/gas-restore/gas/internal/local/aws/sns"
)

// attribute is a message attribute of a type.
func attribute(kind, value string) types.MessageAttributeValue {
	if kind == "Binary" {
		return types.MessageAttributeValue{DataType: &kind, BinaryValue: []byte(value)}
	}
	return types.MessageAttributeValue{DataType: &kind, StringValue: &value}
}

func TestAFilterPolicyLetsMessagesThroughByTheirAttributes(t *testing.T) {
	type attributes = map[string]types.MessageAttributeValue
	text := func(v string) attributes { return attributes{"k": attribute("String", v)} }
	number := func(v string) attributes { return attributes{"k": attribute("Number", v)} }
	list := func(v string) attributes { return attributes{"k": attribute("String.Array", v)} }
	for _, c := range []struct {
		policy     string
		attributes attributes
		want       bool
	}{
		{`{}`, nil, true},
		{`{"k":["a","b"]}`, text("b"), true},
		{`{"k":["a","b"]}`, text("B"), false},
		{`{"k":["a","b"]}`, nil, false},
		{`{"k":["a"]}`, attributes{"K": attribute("String", "a")}, false},
		{`{"k":["a"]}`, attributes{"k": attribute("String", "a"), "other": attribute("String", "x")}, true},
		{`{"k":["a"],"l":["b"]}`, text("a"), false},
		{`{"k":["a"],"l":["b"]}`, attributes{"k": attribute("String", "a"), "l": attribute("String", "b")}, true},
		{`{"k":["a"]}`, attributes{"k": attribute("Binary", "a")}, false},
		{`{"k":["a"]}`, list(`["x","a"]`), true},
		{`{"k":["a"]}`, list(`["x"]`), false},
		{`{"k":["a"]}`, list(`not JSON`), false},
		{`{"k":[null]}`, list(`[null]`), true},
		{`{"k":[true]}`, list(`[false,true]`), true},
		{`{"k":[100]}`, number("1e2"), true},
		{`{"k":[100]}`, text("100"), false},
		{`{"k":["100"]}`, number("100"), false},
		{`{"k":[1.5]}`, list(`[2,1.50]`), true},
		{`{"k":[{"prefix":"in/"}]}`, text("in/x"), true},
		{`{"k":[{"prefix":"in/"}]}`, text("out/x"), false},
		{`{"k":[{"prefix":"1"}]}`, number("1"), false},
		{`{"k":[{"suffix":".vcf"}]}`, text("x.vcf"), true},
		{`{"k":[{"suffix":".vcf"}]}`, text("x.txt"), false},
		{`{"k":[{"equals-ignore-case":"abc"}]}`, text("ABC"), true},
		{`{"k":[{"anything-but":"a"}]}`, text("b"), true},
		{`{"k":[{"anything-but":"a"}]}`, text("a"), false},
		{`{"k":[{"anything-but":"a"}]}`, nil, false},
		{`{"k":[{"anything-but":["a","b"]}]}`, text("b"), false},
		{`{"k":[{"anything-but":["a","b"]}]}`, list(`["b","c"]`), true},
		{`{"k":[{"anything-but":[1,2]}]}`, number("2"), false},
		{`{"k":[{"anything-but":[1,2]}]}`, number("3"), true},
		{`{"k":[{"anything-but":{"prefix":"in/"}}]}`, text("in/x"), false},
		{`{"k":[{"anything-but":{"prefix":"in/"}}]}`, text("out/x"), true},
		{`{"k":[{"anything-but":{"suffix":"x"}}]}`, text("in/x"), false},
		{`{"k":[{"exists":true}]}`, text("a"), true},
		{`{"k":[{"exists":true}]}`, attributes{"k": attribute("Binary", "a")}, true},
		{`{"k":[{"exists":true}]}`, nil, false},
		{`{"k":[{"exists":false}]}`, nil, true},
		{`{"k":[{"exists":false}]}`, text("a"), false},
		{`{"k":["a",{"exists":false}]}`, nil, true},
		{`{"k":[{"numeric":["=",300]}]}`, number("3e2"), true},
		{`{"k":[{"numeric":["<",300]}]}`, number("300"), false},
		{`{"k":[{"numeric":["<=",300]}]}`, number("300"), true},
		{`{"k":[{"numeric":[">",0,"<=",300]}]}`, number("0"), false},
		{`{"k":[{"numeric":[">",0,"<=",300]}]}`, number("0.00001"), true},
		{`{"k":[{"numeric":[">=",0,"<",300]}]}`, number("300"), false},
		{`{"k":[{"numeric":[">=",0]}]}`, text("1"), false},
	} {
		s := start(t)
		arn := s.topic("t", nil)
		s.subscribe(arn, "sqs", queueARN("q"), map[string]string{"FilterPolicy": c.policy})
		if _, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: arn, Message: aws.String("m"), MessageAttributes: c.attributes}); err != nil {
			t.Fatal(err)
		}
		if got := len(s.queues.all()) == 1; got != c.want || s.service.Lost() != 0 {
			t.Errorf("%s with %v: got %v, want %v; %d lost", c.policy, c.attributes, got, c.want, s.service.Lost())
		}
	}
}

func TestAFilterPolicyLetsMessagesThroughByTheirBody(t *testing.T) {
	const event = `{"Records":[{"eventName":"ObjectRestore:Completed","s3":{"bucket":{"name":"gas-results"},"object":{"key":"in/x","size":5}}},{"eventName":"ObjectRemoved:Delete"}]}`
	for _, c := range []struct {
		policy, body string
		want         bool
	}{
		{`{"Records":{"eventName":[{"prefix":"ObjectRestore:"}]}}`, event, true},
		{`{"Records":{"eventName":["ObjectRemoved:Delete"]}}`, event, true},
		{`{"Records":{"eventName":["ObjectCreated:Put"]}}`, event, false},
		{`{"Records":{"s3":{"object":{"size":[{"numeric":[">",4]}]}}}}`, event, true},
		{`{"Records":{"s3":{"object":{"key":[{"suffix":"/x"}]},"bucket":{"name":["gas-results"]}}}}`, event, true},
		{`{"Records":{"eventName":["ObjectRemoved:Delete"],"s3":{"object":{"key":["in/x"]}}}}`, event, false}, // not of the same record
		{`{"Records":{"s3":{"object":{"versionId":[{"exists":false}]}}}}`, event, true},
		{`{"a":["b"]}`, `{"a":"b"}`, true},
		{`{"a":["b"]}`, `{"a":["x","b"]}`, true},
		{`{"a":["b"]}`, `{"a":{"b":1}}`, false},
		{`{"a":[true]}`, `{"a":true}`, true},
		{`{"a":[null]}`, `{"a":null}`, true},
		{`{"a":[null]}`, `{}`, false},
		{`{"a":[{"exists":false}]}`, `{}`, true},
		{`{"a":{"b":[{"exists":false}]}}`, `{"c":1}`, true},
		{`{"a":{"b":[{"exists":true}]}}`, `{"a":1}`, false},
		{`{"a":[{"exists":false}]}`, `not JSON`, false},
		{`{"a":[{"exists":false}]}`, `["a list"]`, false},
		{`{"a":[{"exists":false}]}`, `{} {}`, false},
	} {
		s := start(t)
		arn := s.topic("t", nil)
		s.subscribe(arn, "sqs", queueARN("q"), map[string]string{"FilterPolicy": c.policy, "FilterPolicyScope": "MessageBody"})
		s.publish(arn, c.body)
		if got := len(s.queues.all()) == 1; got != c.want {
			t.Errorf("%s with %s: got %v, want %v", c.policy, c.body, got, c.want)
		}
	}
}

func TestEachSubscriptionHasAFilterOfItsOwn(t *testing.T) {
	s := open(t, t.TempDir(), sns.Config{})
	defer func() { s.close() }()
	arn := s.topic("t", nil)
	sub := s.subscribe(arn, "sqs", queueARN("filtered"), map[string]string{"FilterPolicy": `{"k":["a"]}`})
	s.subscribe(arn, "sqs", queueARN("all"), nil)
	get := func() map[string]string {
		t.Helper()
		out, err := s.GetSubscriptionAttributes(ctx, &awssns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes
	}
	set := func(name, value string) error {
		_, err := s.SetSubscriptionAttributes(ctx, &awssns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: &name, AttributeValue: &value})
		return err
	}
	s.publish(arn, `{"k":"a"}`)
	if got := s.queues.all(); len(got) != 1 || got[0].queue != queueARN("all") {
		t.Errorf("got %+v", got)
	}
	if err := set("FilterPolicyScope", "MessageBody"); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = open(t, s.world.DB.Dir(), sns.Config{})
	s.queues.open[queueARN("filtered")], s.queues.open[queueARN("all")] = true, true
	if got := get(); got["FilterPolicy"] != `{"k":["a"]}` || got["FilterPolicyScope"] != "MessageBody" {
		t.Errorf("got %v", got)
	}
	s.publish(arn, `{"k":"a"}`)
	if got := s.queues.all(); len(got) != 2 {
		t.Errorf("got %+v", got)
	}
	if err := set("FilterPolicy", `{"k":{"l":["a"]}}`); err != nil {
		t.Error(err)
	}
	wantCode(t, set("FilterPolicyScope", "MessageAttributes"), "InvalidParameter")
	if err := set("FilterPolicy", `{}`); err != nil {
		t.Error(err)
	}
	if got, ok := get()["FilterPolicy"]; ok {
		t.Errorf("an empty policy is %q, want none", got)
	}
	s.publish(arn, "not JSON")
	if got := s.queues.all(); len(got) != 4 {
		t.Errorf("got %+v", got)
	}
	_, err := s.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: aws.String(queueARN("filtered")), Attributes: map[string]string{"FilterPolicy": `{"k":["b"]}`}})
	wantCode(t, err, "InvalidParameter")
}

func TestWrongFilterPoliciesAreRefused(t *testing.T) {
	s := start(t)
	arn := s.topic("t", nil)
	wide := func(n int) string { return `["x"` + strings.Repeat(`,"x"`, n-1) + `]` }
	for _, c := range []struct{ policy, scope, want string }{
		{`x`, "", "failed to parse JSON"},
		{`{"k":["a"]} {}`, "", "failed to parse JSON"},
		{`["a"]`, "", "not an object"},
		{`{"k":"a"}`, "", "must be an object or an array"},
		{`{"k":[]}`, "", "Empty arrays"},
		{`{"k":{"l":["a"]}}`, "", "does not support nested"},
		{`{"k":{}}`, "MessageBody", "Empty objects"},
		{`{"k":[["a"]]}`, "", "Match value must be"},
		{`{"k":[{"contains":"a"}]}`, "", "Unrecognized match type contains"},
		{`{"k":[{"wildcard":"a*"}]}`, "", "the stand-in does not have"},
		{`{"k":[{"cidr":"10.0.0.0/8"}]}`, "", "the stand-in does not have"},
		{`{"$or":[{"k":["a"]}]}`, "", "the stand-in does not have"},
		{`{"k":[{"prefix":"a","suffix":"b"}]}`, "", "Only one key"},
		{`{"k":[{}]}`, "", "Only one key"},
		{`{"k":[{"prefix":1}]}`, "", "must be a string"},
		{`{"k":[{"suffix":""}]}`, "", "must be a string"},
		{`{"k":[{"exists":"yes"}]}`, "", "either true or false"},
		{`{"k":[{"anything-but":[]}]}`, "", "Empty arrays"},
		{`{"k":[{"anything-but":{}}]}`, "", "Empty objects"},
		{`{"k":[{"anything-but":{"numeric":["=",1]}}]}`, "", "Unsupported anything-but"},
		{`{"k":[{"anything-but":{"prefix":1}}]}`, "", "must be a string"},
		{`{"k":[{"anything-but":[["a"]]}]}`, "", "Match value must be"},
		{`{"k":[{"numeric":1}]}`, "", "must be an array"},
		{`{"k":[{"numeric":["=",1,"<"]}]}`, "", "must be an array"},
		{`{"k":[{"numeric":["~",1]}]}`, "", "Unrecognized numeric range operator"},
		{`{"k":[{"numeric":["<","1"]}]}`, "", "must be a number"},
		{`{"k":[{"numeric":["<",1,">",0]}]}`, "", "a range begins"},
		{`{"k":[1e10]}`, "", "must be a number"},
		{`{"a":["x"],"b":["x"],"c":["x"],"d":["x"],"e":["x"],"f":["x"]}`, "", "can not have more than 5 keys"},
		{fmt.Sprintf(`{"a":%s,"b":%s}`, wide(15), wide(11)), "", "too complex"},
		{fmt.Sprintf(`{"a":{"b":%s}}`, wide(80)), "MessageBody", "too complex"},
		{`{"k":["` + strings.Repeat("x", 256<<10) + `"]}`, "", "256 KB"},
	} {
		attributes := map[string]string{"FilterPolicy": c.policy}
		if c.scope != "" {
			attributes["FilterPolicyScope"] = c.scope
		}
		_, err := s.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: aws.String(queueARN("q")), Attributes: attributes})
		if wantCode(t, err, "InvalidParameter"); err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: got %v, want %s", c.policy, err, c.want)
		}
	}
	s.subscribe(arn, "sqs", queueARN("q"), map[string]string{"FilterPolicy": fmt.Sprintf(`{"a":%s,"b":%s}`, wide(15), wide(10))})
}
