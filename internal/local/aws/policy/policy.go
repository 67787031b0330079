// Package policy evaluates the policies of topics and queues, which say who beside the
// account itself may act on them, and the policies of roles. It refuses a policy that it cannot evaluate, so that no policy
// allows more here than at AWS.
package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Policy is a resource's policy. Nil lets nobody in but the account itself.
type Policy struct {
	statements []statement
}

// Request is what somebody wants to do.
type Request struct {
	// Service is the principal, "sns.amazonaws.com" for example; empty for the account's
	// own user.
	Service string
	// Account is the account that it is done for, or by.
	Account string
	// Source is the ARN of what it is done for: a topic, a vault.
	Source string
	// Action is "sns:Publish" for example; case does not matter.
	Action   string
	Resource string
}

// ErrUnsupported means that the stand-in cannot evaluate a policy which AWS may take.
var ErrUnsupported = errors.New("the stand-in cannot evaluate the policy")

type statement struct {
	deny       bool
	everybody  bool
	services   []string
	accounts   []string
	actions    []string
	resources  []string
	conditions []condition
}

// condition holds if the request's value fits one of the patterns.
type condition struct {
	of       func(Request) string
	patterns []string
	exactly  bool
	not      bool
}

// list is what policies have in many places: a string, or several.
type list []string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *list) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*l = make([]string, 1)
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}

type rawStatement struct {
	Effect                               string
	Principal                            json.RawMessage
	Action, Resource                     list
	NotPrincipal, NotAction, NotResource json.RawMessage
	Condition                            map[string]map[string]list
}

// Parse reads the policy of a resource. An error says what is wrong with it; it is
// [ErrUnsupported] if AWS may take the policy.
func Parse(text string) (*Policy, error) { return parse(text, rawStatement.parse) }

// ParseIdentity reads the policy of a role. Its statements name no principal, because they
// are about the role. The errors are as those of [Parse].
func ParseIdentity(text string) (*Policy, error) { return parse(text, rawStatement.parseIdentity) }

func parse(text string, read func(rawStatement) (statement, error)) (*Policy, error) {
	var doc struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("policy statement must be valid JSON: %w", err)
	}
	var raws []rawStatement
	if err := json.Unmarshal(doc.Statement, &raws); err != nil {
		raws = make([]rawStatement, 1)
		if err := json.Unmarshal(doc.Statement, &raws[0]); err != nil {
			return nil, fmt.Errorf("statement must be an object or a list of objects: %w", err)
		}
	}
	p := &Policy{}
	for _, r := range raws {
		st, err := read(r)
		if err != nil {
			return nil, err
		}
		p.statements = append(p.statements, st)
	}
	return p, nil
}

func (r rawStatement) parseIdentity() (statement, error) {
	st, err := r.parseAll()
	switch {
	case err != nil:
	case r.Principal != nil:
		err = errors.New("policy document should not specify a principal")
	case len(r.Resource) == 0:
		err = errors.New("policy statement must contain resources")
	}
	st.everybody = true
	return st, err
}

// parseAll reads what all policies have.
func (r rawStatement) parseAll() (statement, error) {
	st := statement{deny: r.Effect == "Deny", actions: r.Action, resources: r.Resource}
	if r.NotPrincipal != nil || r.NotAction != nil || r.NotResource != nil {
		return st, fmt.Errorf("%w: it has no NotPrincipal, NotAction and NotResource", ErrUnsupported)
	}
	if r.Effect != "Allow" && r.Effect != "Deny" || len(r.Action) == 0 {
		return st, errors.New("every statement needs an Effect (Allow or Deny) and an Action")
	}
	for operator, tests := range r.Condition {
		for key, values := range tests {
			c, err := parseCondition(operator, key, values)
			if err != nil {
				return st, err
			}
			st.conditions = append(st.conditions, c)
		}
	}
	return st, nil
}

func (r rawStatement) parse() (statement, error) {
	st, err := r.parseAll()
	if err != nil {
		return st, err
	}
	var star string
	var who map[string]list
	switch {
	case json.Unmarshal(r.Principal, &star) == nil && star == "*":
		st.everybody = true
	case json.Unmarshal(r.Principal, &who) == nil:
		st.services, st.accounts = who["Service"], who["AWS"]
		st.everybody = slices.Contains(who["AWS"], "*")
	default:
		return st, errors.New("every statement needs a Principal")
	}
	return st, nil
}

// valueOf returns the function that reads a condition key's value, nil if the key is
// unknown. All requests count as TLS, like those of AWS's services.
func valueOf(key string) func(Request) string {
	switch strings.ToLower(key) {
	case "aws:sourcearn":
		return func(r Request) string { return r.Source }
	case "aws:sourceaccount", "aws:sourceowner":
		return func(r Request) string { return r.Account }
	case "aws:securetransport":
		return func(Request) string { return "true" }
	}
	return nil
}

func parseCondition(operator, key string, values []string) (condition, error) {
	c := condition{of: valueOf(key), patterns: values}
	if c.of == nil {
		return c, fmt.Errorf("%w: it does not know condition key %q", ErrUnsupported, key)
	}
	known := true
	name := strings.TrimPrefix(operator, "ForAnyValue:")
	if strings.EqualFold(key, "aws:SecureTransport") {
		known, c.exactly = name == "Bool", true
	} else {
		switch name {
		case "StringEquals":
			c.exactly = true
		case "StringNotEquals":
			c.exactly, c.not = true, true
		case "ArnEquals", "ArnLike", "StringLike":
		case "ArnNotEquals", "ArnNotLike", "StringNotLike":
			c.not = true
		default:
			known = false
		}
	}
	if !known {
		return c, fmt.Errorf("%w: it does not know condition operator %q for %s", ErrUnsupported, operator, key)
	}
	return c, nil
}

func (c condition) holds(r Request) bool {
	value := c.of(r)
	fits := slices.ContainsFunc(c.patterns, func(pattern string) bool {
		if c.exactly {
			return pattern == value
		}
		return matches(pattern, value)
	})
	return fits != c.not
}

func (s statement) covers(r Request) bool {
	switch {
	case s.everybody:
	case r.Service != "":
		if !slices.Contains(s.services, r.Service) {
			return false
		}
	case !slices.Contains(s.accounts, r.Account) && !slices.Contains(s.accounts, "arn:aws:iam::"+r.Account+":root"):
		return false
	}
	return slices.ContainsFunc(s.actions, func(pattern string) bool { return matches(strings.ToLower(pattern), strings.ToLower(r.Action)) }) &&
		slices.ContainsFunc(s.resources, func(pattern string) bool { return matches(pattern, r.Resource) }) &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(r) })
}

// Allows reports whether a statement lets the request in and none denies it.
func (p *Policy) Allows(r Request) bool {
	return p != nil && !p.Denies(r) && slices.ContainsFunc(p.statements, func(s statement) bool { return !s.deny && s.covers(r) })
}

// Denies reports whether a statement denies the request, whoever else allows it.
func (p *Policy) Denies(r Request) bool {
	return p != nil && slices.ContainsFunc(p.statements, func(s statement) bool { return s.deny && s.covers(r) })
}

// matches reports whether s fits a pattern with * and ?.
func matches(pattern, s string) bool {
	// The last * seen and where in s it began to match: on a mismatch it takes
	// one character more.
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
