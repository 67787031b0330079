package policy

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

const (
	account = "123456789012"
	topic   = "arn:aws:sns:us-east-1:" + account + ":t"
	vault   = "arn:aws:glacier:us-east-1:" + account + ":vaults/v"
)

func TestAPolicySaysWhoMayPublish(t *testing.T) {
	glacier := Request{Service: "glacier.amazonaws.com", Account: account, Source: vault, Action: "sns:Publish", Resource: topic}
	owner := Request{Account: account, Action: "SNS:Publish", Resource: topic}
	statement := func(effect, principal, action, condition string) string {
		s := `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"` + action + `","Resource":"` + topic + `"`
		if condition != "" {
			s += `,"Condition":{` + condition + `}`
		}
		return s + "}"
	}
	const service, anybody = `{"Service":"glacier.amazonaws.com"}`, `{"AWS":"*"}`
	ofOwner := `"StringEquals":{"AWS:SourceOwner":"` + account + `"}`
	for _, c := range []struct {
		name       string
		statements []string
		r          Request
		allows     bool
		denies     bool
	}{
		{"nobody", nil, glacier, false, false},
		{"the service", []string{statement("Allow", service, "SNS:Publish", "")}, glacier, true, false},
		{"another service", []string{statement("Allow", `{"Service":"s3.amazonaws.com"}`, "SNS:Publish", "")}, glacier, false, false},
		{"one of several services", []string{statement("Allow", `{"Service":["s3.amazonaws.com","glacier.amazonaws.com"]}`, "sns:*", "")}, glacier, true, false},
		{"another action", []string{statement("Allow", service, "SNS:Subscribe", "")}, glacier, false, false},
		{"whoever acts for the owner", []string{statement("Allow", anybody, "SNS:Publish", ofOwner)}, glacier, true, false},
		{"whoever acts for another", []string{statement("Allow", anybody, "SNS:Publish", strings.Replace(ofOwner, account, "000000000000", 1))}, glacier, false, false},
		{"the vault", []string{statement("Allow", service, "SNS:Publish", `"ArnLike":{"aws:SourceArn":"arn:aws:glacier:*:*:vaults/v"}`)}, glacier, true, false},
		{"another vault", []string{statement("Allow", service, "SNS:Publish", `"ArnLike":{"aws:SourceArn":"arn:aws:glacier:*:*:vaults/w"}`)}, glacier, false, false},
		{"a pattern that is taken literally", []string{statement("Allow", service, "SNS:Publish", `"StringEquals":{"aws:SourceArn":"arn:aws:glacier:*"}`)}, glacier, false, false},
		{"all but this vault", []string{statement("Allow", service, "SNS:Publish", `"ArnNotLike":{"aws:SourceArn":"`+vault+`"}`)}, glacier, false, false},
		{"two conditions, and one fails", []string{statement("Allow", service, "SNS:Publish", ofOwner+`,"ArnLike":{"aws:SourceArn":"x"}`)}, glacier, false, false},
		{"requests without TLS are denied", []string{statement("Allow", service, "SNS:Publish", ""), statement("Deny", anybody, "SNS:Publish", `"Bool":{"aws:SecureTransport":"false"}`)}, glacier, true, false},
		{"denied beside allowed", []string{statement("Allow", service, "SNS:Publish", ""), statement("Deny", `"*"`, "sns:Publish", "")}, glacier, false, true},
		{"the owner, whom nobody denies", nil, owner, false, false},
		{"the owner, denied", []string{statement("Deny", `"*"`, "sns:Publish", "")}, owner, false, true},
		{"the owner, by the account's number", []string{statement("Deny", `{"AWS":"`+account+`"}`, "sns:Publish", "")}, owner, false, true},
		{"another account is denied", []string{statement("Deny", `{"AWS":"000000000000"}`, "sns:Publish", "")}, owner, false, false},
	} {
		p, err := Parse(`{"Version":"2012-10-17","Statement":[` + strings.Join(c.statements, ",") + `]}`)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a, d := p.Allows(c.r), p.Denies(c.r); a != c.allows || d != c.denies {
			t.Errorf("%s: allows %v, denies %v, want %v, %v", c.name, a, d, c.allows, c.denies)
		}
	}
	var none *Policy
	if none.Allows(glacier) || none.Denies(owner) {
		t.Error("no policy allows or denies something")
	}
}

func TestAPolicyThatCannotBeEvaluatedIsRefused(t *testing.T) {
	for text, unsupported := range map[string]bool{
		`x`:               false,
		`{"Statement":7}`: false,
		`{"Statement":[{"Effect":"Maybe","Principal":"*","Action":"a"}]}`:                                                             false,
		`{"Statement":[{"Effect":"Allow","Principal":"*"}]}`:                                                                          false,
		`{"Statement":[{"Effect":"Allow","Action":"a"}]}`:                                                                             false,
		`{"Statement":[{"Effect":"Deny","NotPrincipal":"*","Action":"a"}]}`:                                                           true,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"a","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o"}}}]}`:     true,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"a","Condition":{"IpAddress":{"aws:SourceArn":"o"}}}]}`:             true,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"a","Condition":{"StringEquals":{"aws:SecureTransport":"true"}}}]}`: true,
	} {
		if _, err := Parse(text); err == nil || errors.Is(err, ErrUnsupported) != unsupported {
			t.Errorf("%s: got %v, want an error, unsupported %v", text, err, unsupported)
		}
	}
}

func FuzzPatternsMatchAsExpressionsDo(f *testing.F) {
	f.Add("arn:*:q?", "arn:aws:q1")
	f.Add("*a*b*", "xxaxxbx")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, `.*`), `\?`, `.`)
		for _, r := range pattern + s {
			if r > 127 {
				return // an expression's . is a character, a pattern's ? is a byte
			}
		}
		want := regexp.MustCompile(`(?s)^` + quoted + `$`).MatchString(s)
		if got := matches(pattern, s); got != want {
			t.Errorf("%q and %q: got %t, want %t", pattern, s, got, want)
		}
	})
}

func FuzzPoliciesAreReadOrRefused(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["a"],"Condition":{"ArnLike":{"aws:SourceArn":["x"]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if p, e := Parse(text); (p == nil) == (e == nil) {
			t.Errorf("got %v and %v", p, e)
		}
	})
}
