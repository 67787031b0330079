package sns

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/sqs"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// The types of a message.
const (
	TypeNotification             = "Notification"
	TypeSubscriptionConfirmation = "SubscriptionConfirmation"
	TypeUnsubscribeConfirmation  = "UnsubscribeConfirmation"
)

// Message is what an envelope holds.
type Message struct {
	Type      string // TypeNotification if empty
	MessageID string // a new one if empty
	TopicARN  string
	Subject   string // none if empty
	Message   string
	Timestamp time.Time // the world's time if zero
	// Attributes are shown in the envelope and are not signed.
	Attributes map[string]sqs.Attribute
	// Token is that of a confirmation.
	Token string
	// SubscriptionARN is for a notification's UnsubscribeURL.
	SubscriptionARN string
	// SignatureVersion is "1" or "2"; that of the topic, else "1", if empty.
	SignatureVersion string
}

// Envelope returns m in a signed envelope as AWS sends it. Tests get genuine
// messages from it.
func (s *Service) Envelope(m Message) []byte {
	m = s.complete(m)
	return s.envelope(m, s.keys().sign(m.SignatureVersion, s.stringToSign(m)))
}

func (s *Service) complete(m Message) Message {
	if m.Type == "" {
		m.Type = TypeNotification
	}
	if m.MessageID == "" {
		m.MessageID = world.UUID()
	}
	if m.Timestamp.IsZero() {
		m.Timestamp = s.w.Clock.Now()
	}
	if m.SignatureVersion == "" {
		t, _ := s.topics.Get(m.TopicARN)
		m.SignatureVersion = t.signatureVersion()
	}
	return m
}

func (m Message) timestamp() string { return m.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *Service) subscribeURL(m Message) string {
	// AWS puts them in this order, and does not escape the ARN.
	return "https://" + host(s.w.Region) + "/?Action=ConfirmSubscription&TopicArn=" + m.TopicARN + "&Token=" + m.Token
}

// stringToSign returns what the signature is of: names and values, a line each,
// in byte order of the names.
// See https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
func (s *Service) stringToSign(m Message) string {
	var b bytes.Buffer
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", m.Message)
	add("MessageId", m.MessageID)
	if m.Type == TypeNotification {
		if m.Subject != "" {
			add("Subject", m.Subject)
		}
	} else {
		add("SubscribeURL", s.subscribeURL(m))
	}
	add("Timestamp", m.timestamp())
	if m.Type != TypeNotification {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicARN)
	add("Type", m.Type)
	return b.String()
}

// envelope writes the members in AWS's order and spacing.
func (s *Service) envelope(m Message, signature string) []byte {
	var b bytes.Buffer
	add := func(name, value string) {
		if b.Len() == 0 {
			b.WriteString("{\n  ")
		} else {
			b.WriteString(",\n  ")
		}
		b.Write(quote(name))
		b.WriteString(" : ")
		b.Write(quote(value))
	}
	add("Type", m.Type)
	add("MessageId", m.MessageID)
	if m.Type != TypeNotification {
		add("Token", m.Token)
	}
	add("TopicArn", m.TopicARN)
	if m.Subject != "" {
		add("Subject", m.Subject)
	}
	add("Message", m.Message)
	if m.Type != TypeNotification {
		add("SubscribeURL", s.subscribeURL(m))
	}
	add("Timestamp", m.timestamp())
	add("SignatureVersion", m.SignatureVersion)
	add("Signature", signature)
	add("SigningCertURL", s.SigningCertURL())
	if m.Type == TypeNotification {
		add("UnsubscribeURL", "https://"+host(s.w.Region)+"/?Action=Unsubscribe&SubscriptionArn="+m.SubscriptionARN)
	}
	if len(m.Attributes) > 0 {
		b.WriteString(",\n  \"MessageAttributes\" : {")
		for i, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			if i > 0 {
				b.WriteString(",")
			}
			a := m.Attributes[name]
			value := a.StringValue
			if a.BinaryValue != nil {
				value = base64.StdEncoding.EncodeToString(a.BinaryValue)
			}
			b.WriteString("\n    ")
			b.Write(quote(name))
			b.WriteString(" : {\"Type\":")
			b.Write(quote(a.DataType))
			b.WriteString(",\"Value\":")
			b.Write(quote(value))
			b.WriteString("}")
		}
		b.WriteString("\n  }")
	}
	b.WriteString("\n}")
	return b.Bytes()
}

// quote returns s as a JSON string, without HTML's escapes.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("sns: " + err.Error()) // a string is always JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
