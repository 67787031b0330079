package sqs

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/policy"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// settings are a queue's attributes, parsed.
type settings struct {
	visibility, delay, wait, retention, maxSize int
	redrive                                     *redrivePolicy
	allow                                       *redriveAllowPolicy
	policy                                      *policy.Policy
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

// parsePolicy reads a queue's policy: who else may send, Amazon SNS.
func parsePolicy(value string) (*policy.Policy, *world.Error) {
	p, err := policy.Parse(value)
	switch {
	case errors.Is(err, policy.ErrUnsupported):
		return nil, bad("UnsupportedOperation", "%v", err)
	case err != nil:
		return nil, invalid(value, "Policy", err.Error())
	}
	return p, nil
}
