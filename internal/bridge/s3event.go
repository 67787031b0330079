package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// S3 tells the restore queue about temporary copies of archives in three forms: its own
// records, inside of SNS's envelope or straight from S3 to SQS, and EventBridge's events. See
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
// and https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html.
//
// A record says nothing about who requested the copy, and names no request. S3 tells nobody if
// a request fails.

// record is one record of S3's notification. The major number of the version changes when a
// field changes its meaning; fields are added without notice.
type record struct {
	EventVersion string `json:"eventVersion"`
	EventSource  string `json:"eventSource"`
	EventTime    string `json:"eventTime"`
	EventName    string `json:"eventName"`
	S3           struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"` // form-encoded: a space is a +
			Size      int64  `json:"size"`
			VersionID string `json:"versionId"`
		} `json:"object"`
	} `json:"s3"`
	Glacier struct {
		Restore struct {
			Expiry string `json:"lifecycleRestorationExpiryTime"`
		} `json:"restoreEventData"`
	} `json:"glacierEventData"`
}

// bridgeEvent is an event of EventBridge. Its keys are not encoded.
type bridgeEvent struct {
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Time       string `json:"time"`
	Detail     struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			Size      int64  `json:"size"`
			VersionID string `json:"version-id"`
		} `json:"object"`
		Expiry string `json:"restore-expiry-time"`
	} `json:"detail"`
}

// The endings of S3's event names: somebody requested a copy, the copy is there, it expired.
const (
	copyRequested = "Post"
	copyCompleted = "Completed"
	copyExpired   = "Delete"
)

// names of EventBridge for the same.
var detailTypes = map[string]string{
	"Object Restore Initiated": copyRequested, "Object Restore Completed": copyCompleted, "Object Restore Expired": copyExpired,
}

// told is an event of S3 about a temporary copy, in whichever form it came.
type told struct {
	what, bucket, key, version string
	at, expires                string
	size                       int64
}

// parseS3 returns the event of S3's message about a temporary copy. is is false if the body is
// no message of S3. The error is a [*NotOurs] if the message is about something else than an
// archive that came or went.
func parseS3(n Notification) (e events.Event, is bool, err error) {
	body := []byte(n.Body)
	var outer struct {
		Records    []record
		Source     string `json:"source"`
		DetailType string `json:"detail-type"`
	}
	if events.UnmarshalObject(body, &outer) != nil {
		return nil, false, nil
	}
	var t told
	switch {
	case len(outer.Records) > 0:
		for _, r := range outer.Records {
			if r.EventSource != "aws:s3" {
				return nil, false, nil
			}
		}
		t, err = outer.Records[0].told(len(outer.Records))
	case outer.Source == "aws.s3":
		t, err = toldByEventBridge(body)
	default:
		err := fromS3(n.Body)
		return nil, err != nil, err
	}
	if err != nil {
		return nil, true, err
	}
	e, err = t.event(n)
	return e, true, err
}

func (r record) told(records int) (told, error) {
	what, about := strings.CutPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectRestore:")
	major, _, _ := strings.Cut(r.EventVersion, ".")
	switch {
	case !about:
		return told{}, notOurs(S3Event, "%s: a bucket notifies this topic", r.EventName)
	case records > 1:
		return told{}, fmt.Errorf("S3's message has %d records, want 1", records)
	case major != "2":
		return told{}, fmt.Errorf("eventVersion is %q, want 2 and any minor number", r.EventVersion)
	}
	key, err := url.QueryUnescape(r.S3.Object.Key)
	if err != nil {
		return told{}, fmt.Errorf("key %q is not form-encoded: %w", r.S3.Object.Key, err)
	}
	return told{
		what: what, bucket: r.S3.Bucket.Name, key: key, version: r.S3.Object.VersionID,
		at: r.EventTime, expires: r.Glacier.Restore.Expiry, size: r.S3.Object.Size,
	}, nil
}

func toldByEventBridge(body []byte) (told, error) {
	var b bridgeEvent
	if err := events.UnmarshalObject(body, &b); err != nil {
		return told{}, fmt.Errorf("event of EventBridge: %w", err)
	}
	what, about := detailTypes[b.DetailType]
	if !about {
		return told{}, notOurs(S3Event, "%s: EventBridge sends it to this queue", b.DetailType)
	}
	o := b.Detail.Object
	return told{what: what, bucket: b.Detail.Bucket.Name, key: o.Key, version: o.VersionID, at: b.Time, expires: b.Detail.Expiry, size: o.Size}, nil
}

// event returns the event of what S3 told.
func (t told) event(n Notification) (events.Event, error) {
	job, named := archive.JobOfKey(t.key)
	switch {
	case t.bucket == "" || t.key == "":
		return nil, errors.New("S3's event names no bucket or no key")
	case !named:
		return nil, notOurs(S3Event, "s3://%s/%s is no key of an archive: its last two parts are not a job's id and a name", t.bucket, t.key)
	case t.what == copyRequested:
		return nil, notOurs(S3Event, "a temporary copy of s3://%s/%s was requested", t.bucket, t.key)
	case t.size < 0:
		return nil, fmt.Errorf("the object's size is %d", t.size)
	}
	e := events.RetrievalCompleted{
		Notification: n.ID, Foreign: true, JobID: job, Size: t.size,
		Object: &events.ObjectRef{Bucket: t.bucket, Key: t.key, Version: t.version},
	}
	if err := events.CheckID("the job's id in the key", e.JobID); err != nil {
		return nil, err
	}
	at, err := time.Parse(time.RFC3339, t.at)
	if err != nil {
		return nil, fmt.Errorf("the event's time is %q, want RFC 3339", t.at)
	}
	switch t.what {
	case copyCompleted:
		e.Status, e.CompletedAt = events.RetrievalSucceeded, at.UTC()
		if t.expires != "" {
			until, err := time.Parse(time.RFC3339, t.expires)
			if err != nil {
				return nil, fmt.Errorf("the copy's expiry is %q, want RFC 3339", t.expires)
			}
			e.ExpiresAt = until.UTC()
		}
	case copyExpired:
		e.Status, e.Reason = events.RetrievalFailed, "S3 says that the temporary copy expired"
	default:
		return nil, notOurs(S3Event, "ObjectRestore:%s: this release does not know it", t.what)
	}
	// S3 sends an event once or more, and each time with another id.
	h := sha256.New()
	for _, part := range []string{t.what, t.bucket, t.key, t.version, t.at} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	e.ID = "s3-" + hex.EncodeToString(h.Sum(nil)[:16])
	return e, nil
}
