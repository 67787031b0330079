// Package bridge carries SNS messages into JetStream: from the SQS queues, which
// are the durable way, and from the webhook, which is the quick one. A message
// leaves its queue only when JetStream has stored the event, and what cannot be
// understood becomes a dead letter first: nothing is lost, nothing blocks.
package bridge

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

// Notice is an SNS message, out of whichever envelope it came in.
type Notice struct {
	// ID is the SNS MessageId; for a raw delivery, which has none, the SQS one.
	ID   string
	At   time.Time
	Body string
	// Via is [events.ViaSNS] for an enveloped message, from the queue or the webhook, and
	// [events.ViaSQSRaw] for one without envelope.
	Via events.Via
}

// Source is one topic with its queue, and what its messages mean.
type Source struct {
	// Name is used in the webhook's path, in logs and in metrics.
	Name  string
	Topic string
	// Parse turns a message into its event. An error says why it never will be, a
	// [*NotOurs] that it is certainly not for us.
	Parse func(Notice) (events.Event, error)
}

// maxMessage is the largest message that is parsed; SQS takes no larger ones.
const maxMessage = 1 << 20

// envelope is what SNS wraps a message in for SQS.
type envelope struct {
	Type      string
	MessageID string `json:"MessageId"`
	TopicARN  string `json:"TopicArn"`
	Message   *string
	Timestamp string
}

// unwrap takes the notice out of an SQS message's body: the SNS envelope of the
// topic, or, with raw message delivery, the body itself. It is an envelope if it has
// Type and TopicArn, spelled as SNS does: a raw message may have fields that differ from an
// envelope's in case. The queue's policy vouches for who may send; the topic is
// compared all the same.
func unwrap(m queue.Message, topic string) (Notice, error) {
	if len(m.Body) > maxMessage {
		return Notice{}, fmt.Errorf("message of %d bytes, more than %d", len(m.Body), maxMessage)
	}
	var marks struct{ Type, TopicArn json.RawMessage }
	if err := events.UnmarshalObject([]byte(m.Body), &marks); err != nil {
		return Notice{}, err
	}
	if marks.Type == nil || marks.TopicArn == nil {
		return Notice{ID: m.ID, At: m.SentAt, Body: m.Body, Via: events.ViaSQSRaw}, nil
	}
	var e envelope
	if err := events.UnmarshalObject([]byte(m.Body), &e); err != nil {
		return Notice{}, fmt.Errorf("SNS envelope: %w", err)
	}
	at, err := time.Parse(time.RFC3339, e.Timestamp)
	switch {
	case e.TopicARN == topic && (e.Type == "SubscriptionConfirmation" || e.Type == "UnsubscribeConfirmation"):
		return Notice{}, notOurs(Handshake, "a %s: who subscribes the queue from its own account need not confirm it", e.Type)
	case e.Type != "Notification":
		return Notice{}, fmt.Errorf("SNS envelope: Type is %q, want Notification", e.Type)
	case e.TopicARN != topic:
		return Notice{}, fmt.Errorf("SNS envelope: TopicArn is %q, want %q", e.TopicARN, topic)
	case e.Message == nil:
		return Notice{}, errors.New("SNS envelope: Message is missing")
	case err != nil:
		return Notice{}, fmt.Errorf("SNS envelope: Timestamp is %q, want RFC 3339", e.Timestamp)
	}
	if err := events.CheckID("SNS envelope: MessageId", e.MessageID); err != nil {
		return Notice{}, err
	}
	return Notice{ID: e.MessageID, At: at, Body: *e.Message, Via: events.ViaSNS}, nil
}

// PremiumSource reads the premium topic, which has [events.UpgradeMessage]s.
func PremiumSource(topic string) Source {
	return Source{Name: "premium", Topic: topic, Parse: parsePremium}
}

func parsePremium(n Notice) (events.Event, error) {
	m, err := events.ParseUpgradeMessage(n.Body)
	if errors.Is(err, events.ErrNoUser) {
		err = cmp.Or(fromS3(n.Body), err)
	}
	if err != nil {
		return nil, err
	}
	return m.Event(n.ID, n.At, n.Via), nil
}

// RestoreSource reads the restore topic: what Glacier says when a retrieval
// completes, which is the body of its DescribeJob.
func RestoreSource(topic string) Source {
	return Source{Name: "restore", Topic: topic, Parse: func(n Notice) (events.Event, error) { return parseCompletion(n, topic) }}
}

// completion has the members of Glacier's notification that are used. See
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

// foreign reports whether somebody else may have asked for the retrieval: ours all name
// our topic. The vault may tell our topic of every retrieval in it.
func (c completion) foreign(topic string) bool {
	var asked string
	return c.SNSTopic != nil && (json.Unmarshal(c.SNSTopic, &asked) != nil || asked != topic)
}

func parseCompletion(n Notice, topic string) (events.Event, error) {
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
		e.Tier = tier // one that Glacier has since this release tells nothing
	}
	e.ID = sameNotice(e)
	if err := c.notOurs(n.Body, e); err != nil {
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

// sameNotice returns the id of all notices that say the same of one retrieval: its own
// topic's and the vault's. One that says something else of it, by mistake or on purpose, is
// no repetition, and keeps none from being heard.
func sameNotice(e events.RetrievalCompleted) string {
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
