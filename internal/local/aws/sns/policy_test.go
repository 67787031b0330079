package sns_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// notification is what Glacier tells of a vault.
func notification(topic, subject, message string) world.Notification {
	return world.Notification{Service: "glacier.amazonaws.com", Source: "arn:aws:glacier:us-east-1:" + account + ":vaults/v", Topic: topic, Subject: subject, Message: message}
}

// TestAServicePublishesWhereTheTopicsPolicyLetsIt, and nobody is told where it does not.
func TestAServicePublishesWhereTheTopicsPolicyLetsIt(t *testing.T) {
	statement := func(effect, principal, condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"SNS:Publish","Resource":"*","Condition":{` + condition + `}}]}`
	}
	const service = `{"Service":"glacier.amazonaws.com"}`
	for _, c := range []struct {
		name, policy string
		glacier, own bool
	}{
		{"none: the default", "", true, true},
		{"Glacier", statement("Allow", service, ""), true, true},
		{"Glacier for this account", statement("Allow", service, `"StringEquals":{"AWS:SourceOwner":"`+account+`"}`), true, true},
		{"Glacier for this vault", statement("Allow", service, `"ArnLike":{"aws:SourceArn":"arn:aws:glacier:*:*:vaults/v"}`), true, true},
		{"Glacier for another vault", statement("Allow", service, `"ArnLike":{"aws:SourceArn":"arn:aws:glacier:*:*:vaults/w"}`), false, true},
		{"S3", statement("Allow", `{"Service":"s3.amazonaws.com"}`, ""), false, true},
		{"nobody", `{"Statement":[]}`, false, true},
		{"everybody denied", statement("Deny", `"*"`, ""), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			arn := s.topic("t", map[string]string{"Policy": c.policy})
			s.subscribe(arn, "sqs", queueARN("q"), nil)
			if err := s.service.Publish(notification(*arn, "", "m")); err != nil {
				t.Fatal(err)
			}
			if got := len(s.queues.all()) == 1; got != c.glacier || s.service.Lost() != map[bool]int64{false: 1}[c.glacier] {
				t.Errorf("Glacier's message came: %v, want %v; %d lost", got, c.glacier, s.service.Lost())
			}
			before := len(s.queues.all())
			_, err := s.Publish(ctx, &awssns.PublishInput{TopicArn: arn, Message: aws.String("m")})
			batch, berr := s.PublishBatch(ctx, &awssns.PublishBatchInput{TopicArn: arn, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{{Id: aws.String("1"), Message: aws.String("m")}}})
			if !c.own {
				wantCode(t, err, "AuthorizationError")
				wantCode(t, berr, "AuthorizationError")
			} else if err != nil || berr != nil || len(batch.Successful) != 1 {
				t.Errorf("the account's own user: %v, %v", err, berr)
			}
			if n, want := len(s.queues.all())-before, map[bool]int{true: 2}[c.own]; n != want {
				t.Errorf("%d of our own came, want %d", n, want)
			}
		})
	}
	s := start(t)
	arn := s.topic("t", nil)
	for _, policy := range []string{"x", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"SNS:Publish","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o"}}}]}`} {
		_, err := s.SetTopicAttributes(ctx, &awssns.SetTopicAttributesInput{TopicArn: arn, AttributeName: aws.String("Policy"), AttributeValue: &policy})
		wantCode(t, err, "InvalidParameter")
	}
}
