package estate

import (
	"encoding/json"
	"fmt"
	"strings"
)

// sid begins the ids of the statements that we add to policies.
const sid = "GasRestorePipeline"

// sidOf is the id of the statement for a service, so that two services have one each.
func sidOf(service string) string {
	name, _, _ := strings.Cut(service, ".")
	return sid + strings.ToUpper(name[:1]) + name[1:]
}

// LetTopicSend returns the queue's policy, which may be empty, with a statement that lets
// the topic send to the queue. The error says that the policy cannot be read.
func LetTopicSend(policy, queue, topic string) (string, error) {
	return with(policy, map[string]any{
		"Sid": sid, "Effect": "Allow", "Principal": map[string]string{"Service": notifications},
		"Action": "sqs:SendMessage", "Resource": queue,
		"Condition": map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": topic}},
	})
}

// LetPublish returns the topic's policy, which may be empty, with a statement that lets
// the service publish for the topic's account. The error says that the policy cannot be
// read.
func LetPublish(policy, topic, service string) (string, error) {
	return with(policy, map[string]any{
		"Sid": sidOf(service), "Effect": "Allow", "Principal": map[string]string{"Service": service},
		"Action": "SNS:Publish", "Resource": topic,
		"Condition": map[string]any{"StringEquals": map[string]string{"aws:SourceAccount": account(topic)}},
	})
}

// with returns the policy with the statement added. It replaces the statement that an
// earlier call added.
func with(policy string, add map[string]any) (string, error) {
	doc := map[string]any{"Version": "2012-10-17"}
	if policy != "" {
		if err := json.Unmarshal([]byte(policy), &doc); err != nil {
			return "", fmt.Errorf("read policy: %w", err)
		}
	}
	var kept []any
	switch was := doc["Statement"].(type) {
	case []any:
		kept = was
	case map[string]any:
		kept = []any{was}
	}
	all := []any{}
	for _, s := range kept {
		if m, ok := s.(map[string]any); !ok || m["Sid"] != add["Sid"] {
			all = append(all, s)
		}
	}
	doc["Statement"] = append(all, add)
	out, err := json.Marshal(doc)
	return string(out), err
}
