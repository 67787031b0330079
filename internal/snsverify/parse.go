package snsverify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// fields are those of an SNS message, decoded and checked for shape. The string
// that SNS signs is ambiguous: with a line break in a value, a value moved into
// its neighbour still verifies. So no field but Message may have one, and each
// has a shape that nothing else fits.
type fields struct {
	typ, id, topicARN, message, timestamp string
	subject                               string
	hasSubject                            bool
	token, subscribeURL                   string
	version, certURL                      string
	signature                             []byte
	at                                    time.Time
}

var (
	uuidShape  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	tokenShape = regexp.MustCompile(`^[0-9a-zA-Z_-]+$`)
)

// known are the fields that have a meaning; others are passed over, so that SNS
// may add some, unless they look like one of these.
var known = map[string]bool{
	"Type": true, "MessageId": true, "TopicArn": true, "Message": true, "Timestamp": true,
	"Subject": true, "Token": true, "SubscribeURL": true, "UnsubscribeURL": true,
	"SignatureVersion": true, "SigningCertURL": true, "Signature": true, "MessageAttributes": true,
}

func parse(body []byte) (*fields, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("body of %d bytes, more than %d", len(body), MaxBody)
	}
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("body is not UTF-8")
	}
	values, err := object(body)
	if err != nil {
		return nil, err
	}
	f := &fields{
		typ: values["Type"], id: values["MessageId"], topicARN: values["TopicArn"],
		message: values["Message"], timestamp: values["Timestamp"],
		token: values["Token"], subscribeURL: values["SubscribeURL"],
		version: values["SignatureVersion"], certURL: values["SigningCertURL"],
	}
	f.subject, f.hasSubject = values["Subject"]
	for name, value := range values {
		if name != "Message" && strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("%s has a line break", name)
		}
	}
	if _, ok := values["Message"]; !ok {
		return nil, fmt.Errorf("field Message is missing")
	}
	_, hasToken := values["Token"]
	_, hasSubscribe := values["SubscribeURL"]
	switch f.typ {
	case Notification:
		if hasToken || hasSubscribe {
			return nil, fmt.Errorf("a Notification has a Token or SubscribeURL")
		}
	case SubscriptionConfirmation, UnsubscribeConfirmation:
		if f.hasSubject {
			return nil, fmt.Errorf("a %s has a Subject", f.typ)
		}
		if len(f.token) < 16 || len(f.token) > 2048 || !tokenShape.MatchString(f.token) {
			return nil, fmt.Errorf("field Token is missing or malformed")
		}
		if !strings.HasPrefix(f.subscribeURL, "https://") {
			return nil, fmt.Errorf("field SubscribeURL is missing or not https")
		}
	case "":
		return nil, fmt.Errorf("field Type is missing")
	default:
		return nil, fmt.Errorf("field Type is %q", f.typ)
	}
	if !uuidShape.MatchString(f.id) {
		return nil, fmt.Errorf("field MessageId is missing or no UUID")
	}
	if CheckTopic(f.topicARN) != nil {
		return nil, fmt.Errorf("field TopicArn is missing or malformed")
	}
	if f.at, err = time.Parse(time.RFC3339, f.timestamp); err != nil {
		return nil, fmt.Errorf("field Timestamp is missing or not RFC 3339")
	}
	if f.signature, err = decodeSignature(values["Signature"]); err != nil {
		return nil, err
	}
	return f, nil
}

// object returns the string members of the one JSON object in body. A name that
// stands twice, or in another case, is an error: two readers could see two
// messages.
func object(body []byte) (map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("body is not JSON")
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("body is not a JSON object")
	}
	values := map[string]string{}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("body is not JSON: %w", err)
		}
		name := t.(string) // the decoder gives nothing else for a name
		folded := strings.ToLower(name)
		if seen[folded] {
			return nil, fmt.Errorf("%q stands twice", name)
		}
		seen[folded] = true
		if !known[name] {
			for k := range known {
				if strings.EqualFold(k, name) {
					return nil, fmt.Errorf("%q is not spelled %q", name, k)
				}
			}
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("body is not JSON: %w", err)
		}
		if !known[name] || name == "MessageAttributes" {
			continue
		}
		var value *string
		if err := json.Unmarshal(raw, &value); err != nil || value == nil {
			return nil, fmt.Errorf("%s is not a string", name)
		}
		values[name] = *value
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("body is not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("body has more than one JSON value")
	}
	return values, nil
}
