// Package bridge moves SNS messages into JetStream: from the SQS queues, and faster from
// the webhook. The bridge deletes a message from its queue only after JetStream has
// stored the event. If it does not understand a message, it stores a dead letter first.
// So no message is lost, and none blocks the others.
package bridge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/internal/trace"
	"github.com/gas-restore/gas/pkg/events"
)

// Notification is an SNS message without its envelope.
type Notification struct {
	// ID is the SNS MessageId. A raw delivery has none, and has SQS's id here.
	ID   string
	At   time.Time
	Body string
	// Via is [events.ViaSNS] for a message with an envelope, from the queue or the
	// webhook, and [events.ViaSQSRaw] for one without.
	Via events.Via
	// Trace is the step of the sender; empty if nobody traces. It is not signed, and decides
	// nothing.
	Trace string
}

// Source is one topic with its queue, and the meaning of its messages.
type Source struct {
	// Name is the name in the webhook's path, in logs and in metrics.
	Name  string
	Topic string
	// Parse makes the event of a message. An error says why the message is no event; it
	// is a [*NotOurs] if the message is certainly not for us.
	Parse func(Notification) (events.Event, error)
}

// maxMessage is the size of the largest message that is parsed. SQS takes no larger ones.
const maxMessage = 1 << 20

// envelope is what SNS puts around a message for SQS.
type envelope struct {
	Type      string
	MessageID string `json:"MessageId"`
	TopicARN  string `json:"TopicArn"`
	Message   *string
	Timestamp string

	MessageAttributes json.RawMessage
}

// traceOf returns the step that SNS's message attributes name; empty if there is none.
func traceOf(attributes []byte) string {
	var of map[string]struct{ Value string }
	if json.Unmarshal(attributes, &of) != nil {
		return ""
	}
	return of[trace.Key].Value
}

// traced returns the event as a part of the sender's step.
func (d *Drain) traced(n Notification, e events.Event) events.Event {
	ctx, step := trace.Start(trace.In(context.Background(), n.Trace), "bridge", "take "+d.Source.Name+" message")
	defer step.Done(nil)
	if of := trace.Of(ctx); of != "" {
		return events.Traced{Event: e, TraceParent: of}
	}
	return e
}

// unwrap takes the notification out of an SQS message's body: the SNS envelope, or with
// raw message delivery the body itself. A body is an envelope if it has Type and TopicArn
// in exactly this spelling: a raw message may have fields that differ only in case. The
// queue's policy decides who may send; unwrap checks the topic as well.
func unwrap(m queue.Message, topic string) (Notification, error) {
	if len(m.Body) > maxMessage {
		return Notification{}, fmt.Errorf("message of %d bytes, more than %d", len(m.Body), maxMessage)
	}
	var marks struct{ Type, TopicArn json.RawMessage }
	if err := events.UnmarshalObject([]byte(m.Body), &marks); err != nil {
		return Notification{}, err
	}
	if marks.Type == nil || marks.TopicArn == nil {
		return Notification{ID: m.ID, At: m.SentAt, Body: m.Body, Via: events.ViaSQSRaw}, nil
	}
	var e envelope
	if err := events.UnmarshalObject([]byte(m.Body), &e); err != nil {
		return Notification{}, fmt.Errorf("SNS envelope: %w", err)
	}
	at, err := time.Parse(time.RFC3339, e.Timestamp)
	switch {
	case e.TopicARN == topic && (e.Type == "SubscriptionConfirmation" || e.Type == "UnsubscribeConfirmation"):
		return Notification{}, notOurs(Handshake, "a %s: a queue in the topic's own account needs no confirmation", e.Type)
	case e.Type != "Notification":
		return Notification{}, fmt.Errorf("SNS envelope: Type is %q, want Notification", e.Type)
	case e.TopicARN != topic:
		return Notification{}, fmt.Errorf("SNS envelope: TopicArn is %q, want %q", e.TopicARN, topic)
	case e.Message == nil:
		return Notification{}, errors.New("SNS envelope: Message is missing")
	case err != nil:
		return Notification{}, fmt.Errorf("SNS envelope: Timestamp is %q, want RFC 3339", e.Timestamp)
	}
	if err := events.CheckID("SNS envelope: MessageId", e.MessageID); err != nil {
		return Notification{}, err
	}
	return Notification{ID: e.MessageID, At: at, Body: *e.Message, Via: events.ViaSNS, Trace: traceOf(e.MessageAttributes)}, nil
}

// PremiumSource reads the premium topic. Its messages are [events.UpgradeMessage]s.
func PremiumSource(topic string) Source {
	return Source{Name: "premium", Topic: topic, Parse: parsePremium}
}

func parsePremium(n Notification) (events.Event, error) {
	m, err := events.ParseUpgradeMessage(n.Body)
	if errors.Is(err, events.ErrNoUser) {
		err = cmp.Or(fromS3(n.Body), err)
	}
	if err != nil {
		return nil, err
	}
	return m.Event(n.ID, n.At, n.Via), nil
}

// RestoreSource reads the restore topic. Glacier sends its message when a retrieval
// completes; the body is the answer of DescribeJob. S3 tells the same topic or its queue about
// temporary copies.
func RestoreSource(topic string) Source {
	return Source{Name: "restore", Topic: topic, Parse: func(n Notification) (events.Event, error) { return parseCompletion(n, topic) }}
}

// completion has the fields of Glacier's notification that the bridge uses. See
// https://docs.aws.amazon.com/amazonglacier/latest/dev/api-describe-job-get.html.
type completion struct {
	Action                string
	ArchiveID             string `json:"ArchiveId"`
	ArchiveSHA256TreeHash string
	ArchiveSizeInBytes    int64
	Completed             bool
	CompletionDate        string
	JobDescription        *string
	JobID                 string `json:"JobId"`
	SNSTopic              json.RawMessage
	StatusCode            string
	StatusMessage         *string
	Tier                  *string
}

// foreign reports whether somebody else may have requested the retrieval. All retrievals
// of ours name our topic. But a vault can send notifications of every retrieval to our
// topic.
func (c completion) foreign(topic string) bool {
	var asked string
	return c.SNSTopic != nil && (json.Unmarshal(c.SNSTopic, &asked) != nil || asked != topic)
}

func parseCompletion(n Notification, topic string) (events.Event, error) {
	if e, is, err := parseS3(n); is {
		return e, err
	}
	var c completion
	if err := events.UnmarshalObject([]byte(n.Body), &c); err != nil {
		return nil, err
	}
	e := events.RetrievalCompleted{
		Notification: n.ID,
		Foreign:      c.foreign(topic),
		JobID:        events.JobID(text(c.JobDescription)),
		ArchiveID:    events.ArchiveID(c.ArchiveID),
		RetrievalID:  events.RetrievalID(c.JobID),
		Status:       events.RetrievalStatus(c.StatusCode),
		Reason:       text(c.StatusMessage),
		Size:         c.ArchiveSizeInBytes,
		TreeHash:     c.ArchiveSHA256TreeHash,
	}
	if tier := events.Tier(text(c.Tier)); tier.Known() {
		e.Tier = tier // a tier that Glacier has since this release is left out
	}
	e.ID = sameMessage(e)
	if err := c.notOurs(e); err != nil {
		return nil, err
	}
	switch {
	case c.Action != "ArchiveRetrieval":
		return nil, fmt.Errorf("field Action is %q, want ArchiveRetrieval", c.Action)
	case !c.Completed:
		return nil, errors.New("field Completed is not true")
	case e.Status != events.RetrievalSucceeded && e.Status != events.RetrievalFailed:
		return nil, fmt.Errorf("StatusCode is %q, want Succeeded or Failed", c.StatusCode)
	case c.ArchiveSizeInBytes < 0:
		return nil, fmt.Errorf("ArchiveSizeInBytes is %d", c.ArchiveSizeInBytes)
	}
	if err := errors.Join(
		events.CheckID("JobDescription (the job_id)", e.JobID),
		events.CheckID("ArchiveId", e.ArchiveID),
		events.CheckID("JobId", e.RetrievalID),
	); err != nil {
		return nil, err
	}
	if c.CompletionDate != "" {
		at, err := time.Parse(time.RFC3339, c.CompletionDate)
		if err != nil {
			return nil, fmt.Errorf("CompletionDate is %q, want RFC 3339", c.CompletionDate)
		}
		e.CompletedAt = at.UTC()
	}
	return e, nil
}

// sameMessage returns one id for all notifications that say the same about one retrieval:
// the one to its own topic and the one to the vault's. A notification with other
// contents, wrong or forged, has another id, so it cannot hide the true one.
func sameMessage(e events.RetrievalCompleted) string {
	h := sha256.New()
	for _, part := range []string{string(e.RetrievalID), string(e.JobID), string(e.ArchiveID), string(e.Status), strconv.FormatInt(e.Size, 10), e.TreeHash} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
