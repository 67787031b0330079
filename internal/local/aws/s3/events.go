package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Topics is where S3 publishes.
type Topics interface {
	// Publish publishes a message; to a topic that does not exist, or does not let S3
	// publish, it is lost.
	Publish(world.Notification) error
	// Accepts tells why a message would be lost.
	Accepts(world.Notification) error
}

// Queues is where S3 sends.
type Queues interface {
	// SendAs stores a message of a service about the source in the queue. An error means
	// that it can not be delivered, now or later.
	SendAs(service, source, queueARN, body string) error
	// Accepts tells why SendAs would return an error.
	Accepts(service, source, queueARN string) error
}

// nowhere is a world without topics and queues.
type nowhere struct{}

func (nowhere) Publish(n world.Notification) error { return nobody{}.Accepts("", "", n.Topic) }
func (nowhere) Accepts(n world.Notification) error { return nobody{}.Accepts("", "", n.Topic) }

type nobody struct{}

func (nobody) SendAs(_, _, arn, _ string) error {
	return fmt.Errorf("send to %s: it does not exist", arn)
}
func (nobody) Accepts(_, _, arn string) error {
	return fmt.Errorf("send to %s: it does not exist", arn)
}

// Event is one event on its way to one destination.
type Event struct {
	// Name is as in the event's record: ObjectRestore:Completed.
	Name        string
	Bucket, Key string
	Version     string // empty for the null version
	// Target is the ARN of the topic or the queue. It is empty for EventBridge.
	Target string
}

// outgoing is an event that is not sent yet, as it is stored.
type outgoing struct {
	Event
	Kind string // topicKind and so on
	Body string
}

const (
	topicKind  = "topic"
	queueKind  = "queue"
	bridgeKind = "eventbridge"
)

// fact is what happened to an object.
type fact struct {
	name        string // as in the record: ObjectRestore:Completed
	bucket, key string
	version     string
	size        int64
	etag        string
	sequencer   string // of what creates and deletes
	at          time.Time
	class       string // of a restored object
	expiry      int64  // of its temporary copy
	by          *request
}

// record is an event in the form that topics and queues get.
type record struct {
	EventVersion      string            `json:"eventVersion"`
	EventSource       string            `json:"eventSource"`
	Region            string            `json:"awsRegion"`
	Time              string            `json:"eventTime"`
	Name              string            `json:"eventName"`
	UserIdentity      identity          `json:"userIdentity"`
	RequestParameters map[string]string `json:"requestParameters"`
	ResponseElements  map[string]string `json:"responseElements"`
	S3                recordS3          `json:"s3"`
	Glacier           *glacierEvent     `json:"glacierEventData,omitempty"`
}

type identity struct {
	PrincipalID string `json:"principalId"`
}

type recordS3 struct {
	SchemaVersion   string `json:"s3SchemaVersion"`
	ConfigurationID string `json:"configurationId"`
	Bucket          struct {
		Name          string   `json:"name"`
		OwnerIdentity identity `json:"ownerIdentity"`
		ARN           string   `json:"arn"`
	} `json:"bucket"`
	Object struct {
		Key       string `json:"key"`
		Size      int64  `json:"size,omitempty"`
		ETag      string `json:"eTag,omitempty"`
		VersionID string `json:"versionId,omitempty"`
		Sequencer string `json:"sequencer,omitempty"`
	} `json:"object"`
}

type glacierEvent struct {
	Restore struct {
		Expiry string `json:"lifecycleRestorationExpiryTime"`
		Class  string `json:"lifecycleRestoreStorageClass"`
	} `json:"restoreEventData"`
}

// completed tells whether the fact is the end of a restore.
func (f fact) completed() bool { return f.name == "ObjectRestore:Completed" }

// requestID is that of the call that did it.
func (f fact) requestID() string {
	if f.by != nil {
		if id := f.by.w.Header().Get("X-Amz-Request-Id"); id != "" {
			return id
		}
	}
	return strings.ToUpper(world.ID(8))
}

// source is the address of who did it.
func (f fact) source() string {
	if f.by == nil {
		return principal
	}
	if host, _, err := net.SplitHostPort(f.by.RemoteAddr); err == nil {
		return host
	}
	return f.by.RemoteAddr
}

// recordOf returns the message for topics and queues.
func (s *Service) recordOf(f fact, configuration string) string {
	r := record{
		EventVersion: "2.6", EventSource: "aws:s3", Region: s.world.Region, Time: timestamp(f.at), Name: f.name,
		UserIdentity:      identity{"AWS:" + s.world.Account},
		RequestParameters: map[string]string{"sourceIPAddress": f.source()},
		ResponseElements:  map[string]string{"x-amz-request-id": f.requestID(), "x-amz-id-2": world.ID(16)},
	}
	r.S3.SchemaVersion, r.S3.ConfigurationID = "1.0", configuration
	r.S3.Bucket.Name, r.S3.Bucket.OwnerIdentity, r.S3.Bucket.ARN = f.bucket, identity{s.world.Account}, bucketARN(f.bucket)
	o := &r.S3.Object
	o.Key, o.Size, o.ETag, o.VersionID, o.Sequencer = formKey(f.key), f.size, f.etag, f.version, f.sequencer
	if f.completed() {
		r.Glacier = &glacierEvent{}
		r.Glacier.Restore.Expiry, r.Glacier.Restore.Class = timestamp(time.UnixMilli(f.expiry)), f.class
	}
	return asJSON(map[string]any{"Records": []record{r}})
}

// formKey encodes a key as forms do; S3 leaves slashes.
func formKey(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") }

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("s3: event is not JSON: " + err.Error()) // a programmer's mistake
	}
	return string(b)
}

// bridgeForms are what EventBridge calls the events, and the reason that it gives.
var bridgeForms = map[string]struct{ detailType, reason, deletion string }{
	"ObjectCreated:Put":                     {"Object Created", "PutObject", ""},
	"ObjectCreated:Copy":                    {"Object Created", "CopyObject", ""},
	"ObjectCreated:CompleteMultipartUpload": {"Object Created", "CompleteMultipartUpload", ""},
	"ObjectRemoved:Delete":                  {"Object Deleted", "DeleteObject", "Permanently Deleted"},
	"ObjectRemoved:DeleteMarkerCreated":     {"Object Deleted", "DeleteObject", "Delete Marker Created"},
	"ObjectRestore:Post":                    {"Object Restore Initiated", "", ""},
	"ObjectRestore:Completed":               {"Object Restore Completed", "", ""},
	"ObjectRestore:Delete":                  {"Object Restore Expired", "", ""},
}

// bridgeEvent is an event in the form that EventBridge gets.
type bridgeEvent struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     struct {
		Version string            `json:"version"`
		Bucket  map[string]string `json:"bucket"`
		Object  struct {
			Key       string `json:"key"`
			Size      int64  `json:"size,omitempty"`
			ETag      string `json:"etag,omitempty"`
			VersionID string `json:"version-id,omitempty"`
			Sequencer string `json:"sequencer,omitempty"`
		} `json:"object"`
		RequestID string `json:"request-id"`
		Requester string `json:"requester"`
		SourceIP  string `json:"source-ip-address,omitempty"`
		Reason    string `json:"reason,omitempty"`
		Deletion  string `json:"deletion-type,omitempty"`
		Expiry    string `json:"restore-expiry-time,omitempty"`
		Class     string `json:"source-storage-class,omitempty"`
	} `json:"detail"`
}

// bridgeForm returns the message for EventBridge.
func (s *Service) bridgeForm(f fact) string {
	form := bridgeForms[f.name]
	const seconds = "2006-01-02T15:04:05Z"
	e := bridgeEvent{
		Version: "0", ID: world.UUID(), DetailType: form.detailType, Source: "aws.s3", Account: s.world.Account,
		Time: f.at.UTC().Format(seconds), Region: s.world.Region, Resources: []string{bucketARN(f.bucket)},
	}
	d := &e.Detail
	d.Version, d.Bucket, d.RequestID, d.Reason, d.Deletion = "0", map[string]string{"name": f.bucket}, f.requestID(), form.reason, form.deletion
	d.Object.Key, d.Object.Size, d.Object.ETag, d.Object.VersionID, d.Object.Sequencer = f.key, f.size, f.etag, f.version, f.sequencer
	d.Requester = principal
	if f.by != nil {
		d.Requester, d.SourceIP = s.world.Account, f.source()
	}
	d.Class = f.class
	if f.completed() {
		d.Expiry = time.UnixMilli(f.expiry).UTC().Format(seconds)
	}
	return asJSON(e)
}

// tell stores the fact for all who want it. The caller holds s.mu.
func (s *Service) tell(f fact) {
	b, _ := s.buckets.Get(f.bucket)
	if b.Notification == nil {
		return
	}
	event := Event{Name: f.name, Bucket: f.bucket, Key: f.key, Version: f.version}
	for _, d := range b.Notification.all() {
		if d.wants(f.name, f.key) {
			event.Target = d.target()
			s.queue(outgoing{event, d.kind(), s.recordOf(f, d.Id)})
		}
	}
	if event.Target = ""; b.Notification.EventBridgeConfiguration != nil {
		s.queue(outgoing{event, bridgeKind, s.bridgeForm(f)})
	}
}

func (d destination) kind() string {
	if d.Topic != "" {
		return topicKind
	}
	return queueKind
}

// created tells of a new object. The caller holds s.mu.
func (s *Service) created(r *request, how string, o *object) {
	s.tell(fact{
		name: "ObjectCreated:" + how, bucket: r.bucket, key: r.key, version: o.Version, size: o.Size, etag: o.ETag,
		sequencer: s.sequencer(), at: o.Modified, by: r,
	})
}

// removed tells of a deleted object. The caller holds s.mu.
func (s *Service) removed(r *request, key, how, version string) {
	s.tell(fact{
		name: "ObjectRemoved:" + how, bucket: r.bucket, key: key, version: version,
		sequencer: s.sequencer(), at: s.world.Clock.Now(), by: r,
	})
}

// restoreTold tells of a restore. The caller holds s.mu.
func (s *Service) restoreTold(r restore, how string, at int64, by *request) {
	f := fact{
		name: "ObjectRestore:" + how, bucket: r.Bucket, key: r.Key, version: r.Version, size: r.Size, etag: r.ETag,
		at: time.UnixMilli(at).UTC(), class: r.Class, expiry: r.Expiry, by: by,
	}
	if how == "Delete" {
		f.class = ""
	}
	s.tell(f)
}

// queueTest stores the test event that a destination gets when it is configured. The caller
// holds s.mu.
func (s *Service) queueTest(r *request, d destination) {
	s.queue(outgoing{Event{Name: testEvent, Bucket: r.bucket, Target: d.target()}, d.kind(), asJSON(map[string]string{
		"Service": "Amazon S3", "Event": testEvent, "Time": timestamp(s.world.Clock.Now()), "Bucket": r.bucket,
		"RequestId": fact{by: r}.requestID(), "HostId": world.ID(16),
	})})
}

const testEvent = "s3:TestEvent"

// sequence returns a number larger than all before it. The caller holds s.mu.
func (s *Service) sequence() int64 {
	s.last = max(s.last+1, s.world.Clock.Now().UnixNano())
	return s.last
}

func (s *Service) sequencer() string { return fmt.Sprintf("%018X", s.sequence()) }

// queue stores an event that must be sent. The caller holds s.mu.
func (s *Service) queue(o outgoing) {
	s.outbox.Put(fmt.Sprintf("%016x", s.sequence()), o)
	s.awake()
}

// awake tells the sender that something may be due earlier than it thinks.
func (s *Service) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sendEvents sends the stored events, and those of restores when they are due, until ctx ends.
func (s *Service) sendEvents(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		s.settle()
		var key string
		var o outgoing
		s.outbox.Ascend("", func(k string, v outgoing) bool {
			key, o = k, v
			return false
		})
		at, waits := s.nextDue()
		s.mu.Unlock()
		if key != "" {
			// The event is forgotten after it was sent: a crash in between sends it twice.
			s.sendCopies(o)
			s.outbox.Delete(key)
			continue
		}
		var timer interface{ Stop() bool }
		if waits {
			timer = s.world.Clock.At(at, s.awake)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// sendCopies sends an event as often and as late as the control says.
func (s *Service) sendCopies(o outgoing) {
	for _, after := range s.copiesOf(o.Event) {
		if after <= 0 {
			s.sendOne(o)
		} else {
			s.world.Clock.AfterFunc(after, func() { s.sendOne(o) })
		}
	}
}

// sendOne sends an event to its destination. If that takes no message, the event is lost,
// as at AWS.
func (s *Service) sendOne(o outgoing) {
	var err error
	switch o.Kind {
	case topicKind:
		n := world.Notification{Service: principal, Source: bucketARN(o.Bucket), Topic: o.Target, Subject: "Amazon S3 Notification", Message: o.Body}
		if err = s.cfg.Topics.Accepts(n); err == nil {
			err = s.cfg.Topics.Publish(n)
		}
	case queueKind:
		err = s.cfg.Queues.SendAs(principal, bucketARN(o.Bucket), o.Target, o.Body)
	case bridgeKind:
		s.mu.Lock()
		queue := s.control.bridges[o.Bucket]
		s.mu.Unlock()
		if queue == "" {
			return // no rule of EventBridge wants it
		}
		err = s.cfg.Queues.SendAs("events.amazonaws.com", s.world.ARN("events", "rule/stand-in"), queue, o.Body)
	}
	if err != nil {
		s.lost.Add(1)
	}
}
