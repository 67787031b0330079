package bridge

import (
	"errors"
	"fmt"

	"github.com/gas-restore/gas/pkg/events"
)

// Foreign is a kind of message that is certainly not for us.
type Foreign int

// The kinds of messages that come over our topics beside our own.
const (
	// Inventory is the job of a vault's inventory, or a select.
	Inventory Foreign = iota
	// OtherRetrieval is the retrieval of an archive. It names no job of ours, and not our
	// topic.
	OtherRetrieval
	// S3Event is a notification of S3 about a bucket, or its s3:TestEvent.
	S3Event
	// Handshake is the confirmation of a subscription or of its end.
	Handshake

	foreignKinds // how many there are
)

// Foreigns returns all kinds.
func Foreigns() []Foreign { return []Foreign{Inventory, OtherRetrieval, S3Event, Handshake} }

// String returns the kind as a metric's label.
func (f Foreign) String() string {
	return [...]string{"inventory", "other-retrieval", "s3-event", "handshake"}[f]
}

// NotOurs is the error of a message that is certainly not for us. It can be dropped
// without a loss.
type NotOurs struct {
	Kind Foreign
	Err  error
}

// Error implements error.
func (e *NotOurs) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *NotOurs) Unwrap() error { return e.Err }

func notOurs(kind Foreign, format string, args ...any) error {
	return &NotOurs{kind, fmt.Errorf(format, args...)}
}

// notOurs returns an error if the notification certainly belongs to no retrieval of ours.
// Our retrievals name the job and our topic. A notification with one of the two may be
// ours.
func (c completion) notOurs(e events.RetrievalCompleted) error {
	switch {
	case c.Action == "InventoryRetrieval" || c.Action == "Select":
		return notOurs(Inventory, "field Action is %q, want ArchiveRetrieval", c.Action)
	case c.Action == "ArchiveRetrieval" && e.Foreign:
		if err := events.CheckID("JobDescription (the job_id)", e.JobID); err != nil {
			return notOurs(OtherRetrieval, "retrieval %q of archive %q: %w, and its topic is not ours", c.JobID, c.ArchiveID, err)
		}
	}
	return nil
}

// fromS3 returns an error if the body is a notification of S3; see
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html.
func fromS3(body string) error {
	var test struct{ Service, Event string }
	if events.UnmarshalObject([]byte(body), &test) == nil && test.Service == "Amazon S3" && test.Event == "s3:TestEvent" {
		return &NotOurs{S3Event, errors.New("s3:TestEvent: a bucket was told to notify this topic")}
	}
	var event struct {
		Records []struct {
			Source string `json:"eventSource"`
			Name   string `json:"eventName"`
		}
	}
	if events.UnmarshalObject([]byte(body), &event) == nil && len(event.Records) > 0 {
		for _, r := range event.Records {
			if r.Source != "aws:s3" {
				return nil
			}
		}
		return notOurs(S3Event, "%s: a bucket notifies this topic", event.Records[0].Name)
	}
	return nil
}
