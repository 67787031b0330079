package estate

import (
	"fmt"
	"strings"
	"testing"
)

const (
	theTopic = "arn:aws:sns:us-east-1:123456789012:gas-restore"
	theQueue = "arn:aws:sqs:us-east-1:123456789012:gas-restore"
)

func TestAPolicyAllowsWhatAWSWould(t *testing.T) {
	send := Access{Service: notifications, Action: "sqs:SendMessage", Resource: theQueue, Source: theTopic, Account: "123456789012"}
	publish := Access{Service: Glacier, Action: "SNS:Publish", Resource: theTopic, Account: "123456789012"}
	statement := func(effect, principal, action, resource, condition string) string {
		if condition != "" {
			condition = `,"Condition":` + condition
		}
		return fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":%s,"Resource":%q%s}`, effect, principal, action, resource, condition)
	}
	policy := func(statements ...string) string { return `{"Statement":[` + strings.Join(statements, ",") + `]}` }
	sns, glacier := `{"Service":"sns.amazonaws.com"}`, `{"Service":["s3.amazonaws.com","glacier.amazonaws.com"]}`
	fromTopic := `{"ArnEquals":{"aws:SourceArn":"` + theTopic + `"}}`
	right := statement("Allow", sns, `"sqs:SendMessage"`, theQueue, fromTopic)
	for _, c := range []struct {
		name   string
		policy string
		access Access
		want   Answer
	}{
		{"none", ``, send, No},
		{"no JSON", `{`, send, No},
		{"no statement", `{"Version":"2012-10-17"}`, send, No},
		{"the one that gas up makes", policy(right), send, Yes},
		{"one statement, no list", `{"Statement":` + right + `}`, send, Yes},
		{"everybody, from the topic", policy(statement("Allow", `"*"`, `"SQS:*"`, theQueue, fromTopic)), send, Yes},
		{"everybody as AWS, from topics that look like it", policy(statement("Allow", `{"AWS":"*"}`, `["sqs:Send*"]`, "*", `{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:*:gas-*"}}`)), send, Yes},
		{"of the account", policy(statement("Allow", sns, `"sqs:SendMessage"`, theQueue, `{"StringEquals":{"AWS:SourceAccount":["1","123456789012"]}}`)), send, Yes},
		{"another topic", policy(statement("Allow", sns, `"sqs:SendMessage"`, theQueue, `{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:123456789012:gas-premium"}}`)), send, No},
		{"another account", policy(statement("Allow", sns, `"sqs:SendMessage"`, theQueue, `{"StringEquals":{"aws:SourceAccount":"999999999999"}}`)), send, No},
		{"another action", policy(statement("Allow", sns, `"sqs:ReceiveMessage"`, theQueue, "")), send, No},
		{"another queue", policy(statement("Allow", sns, `"sqs:SendMessage"`, theQueue+"2", "")), send, No},
		{"another service", policy(statement("Allow", glacier, `"sqs:SendMessage"`, theQueue, "")), send, No},
		{"denied beside", policy(right, statement("Deny", `"*"`, `"sqs:*"`, "*", "")), send, No},
		{"denied without TLS beside", policy(right, statement("Deny", `"*"`, `"sqs:*"`, "*", `{"Bool":{"aws:SecureTransport":"false"}}`)), send, Yes},
		{"denied to whom nobody knows", policy(right, statement("Deny", `"*"`, `"sqs:*"`, "*", `{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}`)), send, Unsure},
		{"a condition that is not known", policy(statement("Allow", sns, `"sqs:SendMessage"`, theQueue, `{"StringEquals":{"aws:SourceOrgID":"o-1"}}`)), send, Unsure},
		{"all but", `{"Statement":{"Effect":"Allow","Principal":"*","NotAction":"sqs:DeleteQueue","Resource":"*"}}`, send, Unsure},
		{"unsure and sure", policy(statement("Allow", sns, `"sqs:SendMessage"`, theQueue, `{"StringEquals":{"aws:SourceOrgID":"o-1"}}`), right), send, Yes},

		{"AWS's own of a topic", `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["SNS:Subscribe","SNS:Publish"],"Resource":"` + theTopic + `","Condition":{"StringEquals":{"AWS:SourceOwner":"123456789012"}}}]}`, publish, Yes},
		{"Glacier", policy(statement("Allow", glacier, `"SNS:Publish"`, theTopic, "")), publish, Yes},
		{"Glacier, in small letters", policy(statement("Allow", glacier, `"sns:publish"`, theTopic, "")), publish, Yes},
		{"Glacier of a vault", policy(statement("Allow", glacier, `"SNS:Publish"`, theTopic, `{"ArnLike":{"aws:SourceArn":"arn:aws:glacier:us-east-1:123456789012:vaults/gas"}}`)), publish, Unsure},
		{"the account", policy(statement("Allow", `{"AWS":"arn:aws:iam::123456789012:root"}`, `"SNS:*"`, theTopic, "")), publish, Yes},
		{"S3 alone", policy(statement("Allow", `{"Service":"s3.amazonaws.com"}`, `"SNS:Publish"`, theTopic, "")), publish, No},
		{"another owner", policy(statement("Allow", `{"AWS":"*"}`, `"SNS:Publish"`, theTopic, `{"StringEquals":{"AWS:SourceOwner":"999999999999"}}`)), publish, No},
	} {
		if got := Allows(c.policy, c.access); got != c.want {
			t.Errorf("%s: got %d, want %d: %s", c.name, got, c.want, c.policy)
		}
	}
}

func TestAPolicyThatIsMendedLetsInAndKeepsTheOthers(t *testing.T) {
	other := `{"Version":"2012-10-17","Statement":{"Sid":"theirs","Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"sqs:ReceiveMessage","Resource":"*"}}`
	for _, was := range []string{"", other} {
		policy, err := LetTopicSend(was, theQueue, theTopic)
		if err != nil {
			t.Fatal(err)
		}
		again, err := LetTopicSend(policy, theQueue, theTopic)
		if err != nil || again != policy {
			t.Errorf("after a second fix it differs: %s, %v", again, err)
		}
		q := FoundQueue{ARN: theQueue, Policy: policy}
		if !q.LetsIn(theTopic) || q.LetsIn(theTopic+"2") || was != "" && !strings.Contains(policy, "theirs") {
			t.Errorf("got %s", policy)
		}
	}
	policy, err := LetPublish("", theTopic, Glacier)
	topic := FoundTopic{ARN: theTopic, Policy: policy}
	if err != nil || !topic.LetsPublish(Glacier) || topic.LetsPublish("s3.amazonaws.com") {
		t.Errorf("got %s, %v", policy, err)
	}
	if _, err := LetPublish("{", theTopic, Glacier); err == nil {
		t.Error("a policy that cannot be read is thrown away")
	}
}

func TestAPatternFitsAsInIAM(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"", "", true}, {"", "a", false}, {"a**", "a", true}, {"*b*d", "abcbd", true}, {strings.Repeat("*a", 30) + "b", strings.Repeat("a", 60), false},
	} {
		if got := fits(c.pattern, c.s); got != c.want {
			t.Errorf("%q to %q: got %v", c.pattern, c.s, got)
		}
	}
}

func FuzzWhateverThePolicyNobodyIsLetInWhomItDoesNotName(f *testing.F) {
	for _, s := range []string{`{}`, `{"Statement":[]}`, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, `{"Statement":[{"Effect":"Deny","Principal":{"AWS":["*"]},"Action":["sqs:*"],"Resource":"*","Condition":{"Bool":{"a":"b"}}}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, policy string) {
		a := Access{Service: notifications, Action: "sqs:SendMessage", Resource: theQueue, Source: theTopic, Account: "123456789012"}
		if Allows(policy, a) == Yes && !strings.Contains(policy, "llow") && !strings.Contains(policy, `\u`) {
			t.Errorf("lets in: %s", policy)
		}
		mended, err := LetTopicSend(policy, theQueue, theTopic)
		if _, whole := statements(policy); whole && err == nil && !strings.Contains(strings.ToLower(policy), "deny") && !strings.Contains(policy, `\u`) && Allows(mended, a) != Yes {
			t.Errorf("the fixed policy lets nobody in: %s", mended)
		}
		ParseRedrive(policy)
	})
}
