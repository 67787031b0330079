package sqs

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// MaxMessageSize is the size of the largest message, attributes included.
const MaxMessageSize = 1 << 20

// Attribute is a message attribute: StringValue for the types String and
// Number, BinaryValue for Binary.
type Attribute struct {
	DataType    string `json:"DataType"`
	StringValue string `json:"StringValue,omitempty"`
	BinaryValue []byte `json:"BinaryValue,omitempty"`
}

// message is a message as it is stored; it never changes.
type message struct {
	ID         string               `json:"id"`
	Body       string               `json:"body"`
	Attributes map[string]Attribute `json:"attributes,omitempty"`
	Trace      string               `json:"trace,omitempty"`
	Sender     string               `json:"sender"`
	Sent       int64                `json:"sent"`              // milliseconds
	Visible    int64                `json:"visible,omitempty"` // milliseconds: delayed until then
	// What a dead-letter queue's message brings with it.
	Source   string `json:"source,omitempty"`   // ARN of the queue that gave up on it
	Receives uint32 `json:"receives,omitempty"` // in other queues
	First    int64  `json:"first,omitempty"`    // first receive in another queue
}

// receipt is what changes of a stored message: it was received.
type receipt struct {
	Count uint32 `json:"n"`
	First int64  `json:"first"`
	Until int64  `json:"until"`
}

// size is what counts against the size limits.
func size(body string, attributes map[string]Attribute) int {
	n := len(body)
	for name, a := range attributes {
		n += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

// checkBody tells what AWS has against a body, if anything.
func checkBody(body string) *world.Error {
	if body == "" {
		return missing("MessageBody")
	}
	if !utf8.ValidString(body) {
		return bad("InvalidMessageContents", "Invalid binary character was found in the message body, the set of allowed characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	}
	for _, r := range body {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return bad("InvalidMessageContents", "Invalid binary character '#x%X' was found in the message body, the set of allowed characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF", r)
		}
	}
	return nil
}

var attributeName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// checkAttributes tells what AWS has against message attributes, if anything.
func checkAttributes(attributes map[string]Attribute) *world.Error {
	if len(attributes) > 10 {
		return bad("InvalidParameterValue", "Number of message attributes [%d] exceeds the allowed maximum [10].", len(attributes))
	}
	for name, a := range attributes {
		lower := strings.ToLower(name)
		if len(name) > 256 || !attributeName.MatchString(name) || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
			return bad("InvalidParameterValue", "Message attribute name %q is invalid: 1 to 256 letters, digits, '_', '-' and inner single '.', not beginning with AWS. or Amazon.", name)
		}
		kind, _, _ := strings.Cut(a.DataType, ".")
		if len(a.DataType) > 256 {
			return bad("InvalidParameterValue", "The type of message attribute '%s' is longer than 256 bytes.", name)
		}
		switch kind {
		case "String", "Number":
			if a.BinaryValue != nil || a.StringValue == "" {
				return bad("InvalidParameterValue", "The message attribute '%s' with type '%s' must use field 'String', and must not be empty.", name, kind)
			}
			if kind == "Number" {
				if _, err := strconv.ParseFloat(a.StringValue, 64); err != nil {
					return bad("InvalidParameterValue", "Can't cast the value of message (user) attribute '%s' to a number.", name)
				}
			} else if e := checkBody(a.StringValue); e != nil {
				return bad("InvalidParameterValue", "Message attribute '%s': %s", name, e.Message)
			}
		case "Binary":
			if a.StringValue != "" || len(a.BinaryValue) == 0 {
				return bad("InvalidParameterValue", "The message attribute '%s' with type 'Binary' must use field 'Binary', and must not be empty.", name)
			}
		case "":
			return bad("InvalidParameterValue", "The message attribute '%s' must contain a non-empty message attribute type.", name)
		default:
			return bad("InvalidParameterValue", "The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", name)
		}
	}
	return nil
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// md5OfAttributes is the digest that clients check attributes with; empty if
// there are none.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html.
func md5OfAttributes(attributes map[string]Attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	var b []byte
	field := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		a := attributes[name]
		field(name)
		field(a.DataType)
		if a.BinaryValue != nil {
			b = append(b, 2)
			field(string(a.BinaryValue))
		} else {
			b = append(b, 1)
			field(a.StringValue)
		}
	}
	return md5Of(string(b))
}

// selectAttributes returns those of attributes that a receive asks for.
func selectAttributes(attributes map[string]Attribute, names []string) map[string]Attribute {
	if len(attributes) == 0 || len(names) == 0 {
		return nil
	}
	out := map[string]Attribute{}
	for name, a := range attributes {
		for _, want := range names {
			prefix, wild := strings.CutSuffix(want, ".*")
			if want == "All" || want == name || wild && strings.HasPrefix(name, prefix) {
				out[name] = a
			}
		}
	}
	return out
}
