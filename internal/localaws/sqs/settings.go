package sqs

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/localaws/world"
)

// settings are a queue's attributes, parsed.
type settings struct {
	visibility, delay, wait, retention, maxSize int
	redrive                                     *redrivePolicy
	allow                                       *redriveAllowPolicy
	policy                                      *policy
}

type redrivePolicy struct {
	target string // a queue's name
	max    uint32
}

type redriveAllowPolicy struct {
	permission string
	sources    []string
}

// numeric are the attributes that are numbers, with their bounds and defaults.
var numeric = map[string]struct{ low, high, otherwise int }{
	"VisibilityTimeout":             {0, 43200, 30},
	"DelaySeconds":                  {0, 900, 0},
	"ReceiveMessageWaitTimeSeconds": {0, 20, 0},
	"MessageRetentionPeriod":        {60, 1209600, 345600},
	"MaximumMessageSize":            {1024, MaxMessageSize, MaxMessageSize},
}

// merge returns old with the changes; an empty policy is removed.
func merge(old, changes map[string]string) map[string]string {
	out := map[string]string{}
	for name, n := range numeric {
		out[name] = strconv.Itoa(n.otherwise)
	}
	out["SqsManagedSseEnabled"] = "true"
	for _, m := range []map[string]string{old, changes} {
		for k, v := range m {
			if v == "" && strings.HasSuffix(k, "Policy") {
				delete(out, k)
			} else {
				out[k] = v
			}
		}
	}
	return out
}

// parseSettings reads a queue's attributes and refuses what AWS refuses.
func parseSettings(attributes map[string]string) (*settings, *world.Error) {
	numbers := map[string]int{}
	for name, n := range numeric {
		numbers[name] = n.otherwise
	}
	set := &settings{}
	for name, value := range attributes {
		if n, ok := numeric[name]; ok {
			i, err := strconv.Atoi(value)
			if err != nil || i < n.low || i > n.high {
				return nil, bad("InvalidAttributeValue", "Invalid value for the parameter %s: %q is not a number from %d to %d.", name, value, n.low, n.high)
			}
			numbers[name] = i
			continue
		}
		var e *world.Error
		switch name {
		case "RedrivePolicy":
			set.redrive, e = parseRedrive(value)
		case "RedriveAllowPolicy":
			set.allow, e = parseRedriveAllow(value)
		case "Policy":
			set.policy, e = parsePolicy(value)
		case "SqsManagedSseEnabled":
			if value != "true" && value != "false" {
				e = bad("InvalidAttributeValue", "Invalid value for the parameter SqsManagedSseEnabled.")
			}
		case "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit":
			if name != "FifoQueue" || value != "false" {
				e = bad("UnsupportedOperation", "the stand-in has standard queues only, no FIFO queues (attribute %s)", name)
			}
		case "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds":
			e = bad("UnsupportedOperation", "the stand-in has no KMS keys (attribute %s)", name)
		default:
			e = bad("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
		if e != nil {
			return nil, e
		}
	}
	set.visibility = numbers["VisibilityTimeout"]
	set.delay = numbers["DelaySeconds"]
	set.wait = numbers["ReceiveMessageWaitTimeSeconds"]
	set.retention = numbers["MessageRetentionPeriod"]
	set.maxSize = numbers["MaximumMessageSize"]
	return set, nil
}

func parseRedrive(value string) (*redrivePolicy, *world.Error) {
	var p struct {
		Target string          `json:"deadLetterTargetArn"`
		Max    json.RawMessage `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return nil, invalid(value, "RedrivePolicy", "Redrive policy is not a valid JSON map.")
	}
	parts := strings.Split(p.Target, ":")
	if len(parts) != 6 || parts[2] != "sqs" {
		return nil, invalid(value, "RedrivePolicy", "Invalid value for deadLetterTargetArn.")
	}
	n := 10 // AWS's default
	if p.Max != nil {
		var err error
		if n, err = strconv.Atoi(strings.Trim(string(p.Max), `"`)); err != nil || n < 1 || n > 1000 {
			return nil, invalid(value, "RedrivePolicy", "Invalid value for maxReceiveCount: must be from 1 to 1000.")
		}
	}
	return &redrivePolicy{target: parts[5], max: uint32(n)}, nil
}

func parseRedriveAllow(value string) (*redriveAllowPolicy, *world.Error) {
	var p struct {
		Permission string   `json:"redrivePermission"`
		Sources    []string `json:"sourceQueueArns"`
	}
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return nil, invalid(value, "RedriveAllowPolicy", "Redrive allow policy is not a valid JSON map.")
	}
	switch {
	case p.Permission != "allowAll" && p.Permission != "denyAll" && p.Permission != "byQueue":
		return nil, invalid(value, "RedriveAllowPolicy", "redrivePermission must be allowAll, denyAll or byQueue.")
	case (p.Permission == "byQueue") != (len(p.Sources) > 0) || len(p.Sources) > 10:
		return nil, invalid(value, "RedriveAllowPolicy", "sourceQueueArns: 1 to 10 with byQueue, none otherwise.")
	}
	return &redriveAllowPolicy{p.Permission, p.Sources}, nil
}

// checkRedrive tells whether the queue with the ARN source may have the
// redrive policy of set.
func (s *Service) checkRedrive(source string, set *settings, value string) *world.Error {
	if set.redrive == nil {
		return nil
	}
	if !strings.Contains(value, s.QueueARN(set.redrive.target)) {
		return invalid(value, "RedrivePolicy", "Dead letter target must be in the source queue's region and account.")
	}
	dlq := s.queues[set.redrive.target]
	if dlq == nil {
		return bad("InvalidParameterValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.", value)
	}
	allow := dlq.settings.Load().allow
	if allow != nil && (allow.permission == "denyAll" || allow.permission == "byQueue" && !slices.Contains(allow.sources, source)) {
		return world.Errorf(http.StatusBadRequest, "InvalidParameterValue", "Value %s for parameter RedrivePolicy is invalid. Reason: the dead letter target's RedriveAllowPolicy does not allow this source queue.", value)
	}
	return nil
}

// policy is a queue's resource policy. The stand-in has one principal, which
// may all, and reads it only for who else may send: Amazon SNS.
type policy struct {
	statements []statement
}

type statement struct {
	deny      bool
	principal bool // covers sns.amazonaws.com
	send      bool // covers sqs:SendMessage
	resources []string
	sources   []string // allowed aws:SourceArn patterns; nil: any
	account   []string // allowed aws:SourceAccount values; nil: any
}

// stringOrList is what policies have in many places.
type stringOrList []string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *stringOrList) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*l = make([]string, 1)
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}

func parsePolicy(value string) (*policy, *world.Error) {
	var doc struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	refuse := func(reason string) *world.Error { return invalid(value, "Policy", reason) }
	if err := json.Unmarshal([]byte(value), &doc); err != nil {
		return nil, refuse("Policy statement must be valid JSON: " + err.Error())
	}
	type raw struct {
		Effect    string
		Principal json.RawMessage
		Action    stringOrList
		Resource  stringOrList
		Condition map[string]map[string]stringOrList
	}
	var list []raw
	if err := json.Unmarshal(doc.Statement, &list); err != nil {
		var one raw
		if err := json.Unmarshal(doc.Statement, &one); err != nil {
			return nil, refuse("Statement must be an object or a list of objects: " + err.Error())
		}
		list = []raw{one}
	}
	p := &policy{}
	for _, r := range list {
		st := statement{deny: r.Effect == "Deny", resources: r.Resource}
		if r.Effect != "Allow" && r.Effect != "Deny" || len(r.Action) == 0 {
			return nil, refuse("every statement needs an Effect (Allow or Deny) and an Action.")
		}
		var star string
		var who map[string]stringOrList
		switch {
		case json.Unmarshal(r.Principal, &star) == nil && star == "*":
			st.principal = true
		case json.Unmarshal(r.Principal, &who) == nil:
			st.principal = slices.Contains(who["Service"], "sns.amazonaws.com") || slices.Contains(who["AWS"], "*")
		default:
			return nil, refuse("every statement needs a Principal.")
		}
		for _, a := range r.Action {
			if matches(strings.ToLower(a), "sqs:sendmessage") {
				st.send = true
			}
		}
		for operator, tests := range r.Condition {
			for name, values := range tests {
				operator = strings.TrimPrefix(operator, "ForAnyValue:")
				switch strings.ToLower(name) {
				case "aws:sourcearn":
					if !slices.Contains([]string{"ArnEquals", "ArnLike", "StringEquals", "StringLike"}, operator) {
						return nil, bad("UnsupportedOperation", "the stand-in does not know condition operator %q for %s", operator, name)
					}
					st.sources = values
				case "aws:sourceaccount":
					if operator != "StringEquals" && operator != "StringLike" {
						return nil, bad("UnsupportedOperation", "the stand-in does not know condition operator %q for %s", operator, name)
					}
					st.account = values
				default:
					return nil, bad("UnsupportedOperation", "the stand-in does not know condition key %q", name)
				}
			}
		}
		p.statements = append(p.statements, st)
	}
	return p, nil
}

// allows tells whether the SNS topic source of account may send to the queue arn.
func (p *policy) allows(arn, source, account string) bool {
	if p == nil {
		return false
	}
	allowed := false
	for _, st := range p.statements {
		if !st.principal || !st.send || !matchesAny(st.resources, arn) ||
			st.sources != nil && !matchesAny(st.sources, source) || st.account != nil && !matchesAny(st.account, account) {
			continue
		}
		if st.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func matchesAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, s) })
}

// matches tells whether s fits a pattern with * and ?.
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
