package estate

import (
	"encoding/json"
	"slices"
	"strings"
)

// Glacier and notifications are the names of AWS services in policies.
const (
	Glacier       = "glacier.amazonaws.com"
	notifications = "sns.amazonaws.com"
)

// Answer says whether a policy allows an access.
type Answer int

// The answers. Unsure: it depends on conditions that this package cannot judge.
const (
	No Answer = iota
	Unsure
	Yes
)

// Access is an action that an AWS service wants to do.
type Access struct {
	Service, Action, Resource string
	// Source is the ARN of the topic that the service acts for; empty if it is unknown.
	Source string
	// Account is the account of the resource and of the source.
	Account string
}

// Allows returns whether the policy, which is JSON, lets the service in. A policy that
// cannot be read lets nobody in.
func Allows(policy string, a Access) Answer {
	all, ok := statements(policy)
	if !ok {
		return No
	}
	allowed, denied := No, No
	for _, s := range all {
		switch s.Effect {
		case "Allow":
			allowed = max(allowed, s.covers(a))
		case "Deny":
			denied = max(denied, s.covers(a))
		}
	}
	switch {
	case denied == Yes || allowed == No:
		return No
	case denied == Unsure:
		return Unsure
	}
	return allowed
}

// statements returns the statements of the policy; ok is false if it cannot be read.
func statements(policy string) (all []statement, ok bool) {
	var doc struct{ Statement json.RawMessage }
	if policy == "" || json.Unmarshal([]byte(policy), &doc) != nil {
		return nil, false
	}
	if json.Unmarshal(doc.Statement, &all) == nil {
		return all, true
	}
	var one statement
	err := json.Unmarshal(doc.Statement, &one)
	return []statement{one}, err == nil
}

// statement is a statement of a policy.
type statement struct {
	Effect       string
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Action       words
	NotAction    words
	Resource     words
	NotResource  words
	Condition    map[string]map[string]words
}

// words is a string or a list of strings in JSON.
type words []string

// UnmarshalJSON implements [json.Unmarshaler].
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// covers returns whether the statement is about the access.
func (s statement) covers(a Access) Answer {
	if s.NotPrincipal != nil || s.NotAction != nil || s.NotResource != nil {
		return Unsure
	}
	if !s.Action.match(strings.ToLower(a.Action), strings.ToLower) || !s.Resource.match(a.Resource, keep) {
		return No
	}
	return min(s.principal(a), s.conditions(a))
}

func (s statement) principal(a Access) Answer {
	var who string
	if json.Unmarshal(s.Principal, &who) == nil {
		return yes(who == "*")
	}
	var by map[string]words
	if json.Unmarshal(s.Principal, &by) != nil {
		return No
	}
	for _, account := range by["AWS"] {
		// A service acts for the account that owns the source, the vault for example. So a
		// statement for this account covers the service.
		if account == "*" || a.Account != "" && (account == a.Account || strings.HasSuffix(account, "::"+a.Account+":root")) {
			return Yes
		}
	}
	return yes(by["Service"].match(a.Service, keep))
}

func (s statement) conditions(a Access) Answer {
	answer := Yes
	for operator, tests := range s.Condition {
		for name, values := range tests {
			answer = min(answer, condition(operator, name, values, a))
		}
	}
	return answer
}

func condition(operator, name string, values words, a Access) Answer {
	var is string
	switch strings.ToLower(name) {
	case "aws:sourcearn":
		is = a.Source
	case "aws:sourceaccount", "aws:sourceowner":
		is = a.Account
	case "aws:securetransport":
		return yes(operator == "Bool" && slices.Contains(values, "true")) // services always use TLS
	default:
		return Unsure
	}
	if is == "" {
		return Unsure
	}
	switch strings.TrimPrefix(strings.TrimSuffix(operator, "IfExists"), "ForAnyValue:") {
	case "ArnEquals", "ArnLike", "StringLike":
		return yes(values.match(is, keep))
	case "StringEquals":
		for _, v := range values {
			if v == is {
				return Yes
			}
		}
		return No
	case "StringEqualsIgnoreCase":
		for _, v := range values {
			if strings.EqualFold(v, is) {
				return Yes
			}
		}
		return No
	}
	return Unsure
}

func yes(b bool) Answer {
	if b {
		return Yes
	}
	return No
}

func keep(s string) string { return s }

// match reports whether one of the patterns fits s. It changes each pattern with f first.
func (w words) match(s string, f func(string) string) bool {
	for _, pattern := range w {
		if fits(f(pattern), s) {
			return true
		}
	}
	return false
}

// fits reports whether s fits a pattern: * means any letters and ? means one letter.
func fits(pattern, s string) bool {
	// star is the last * in the pattern so far, and mark is the place in s behind the letters
	// that it matches. After a mismatch, the * takes one letter more. So the time is at most
	// the product of both lengths.
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
