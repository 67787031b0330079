package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// principal is who S3 is to the policies of topics and queues.
const principal = "s3.amazonaws.com"

// notification is a bucket's notification configuration, as it is stored.
type notification struct {
	XMLName                    xml.Name      `xml:"NotificationConfiguration" json:"-"`
	TopicConfiguration         []destination `json:",omitempty"`
	QueueConfiguration         []destination `json:",omitempty"`
	CloudFunctionConfiguration []unknown     `json:"-"`
	EventBridgeConfiguration   *struct{}     `json:",omitempty"`
	Unknown                    []unknown     `xml:",any" json:"-"`
}

// destination is a topic or a queue with what it is told.
type destination struct {
	Id      string
	Topic   string     `xml:",omitempty" json:",omitempty"`
	Queue   string     `xml:",omitempty" json:",omitempty"`
	Event   []string   `json:",omitempty"`
	Filter  *keyFilter `json:",omitempty"`
	Unknown []unknown  `xml:",any" json:"-"`
}

type keyFilter struct {
	S3Key struct {
		FilterRule []filterRule
	}
	Unknown []unknown `xml:",any" json:"-"`
}

type filterRule struct{ Name, Value string }

// all returns all destinations.
func (n *notification) all() []destination {
	return slices.Concat(n.TopicConfiguration, n.QueueConfiguration)
}

// affix returns the prefix or the suffix that a key must have.
func (d destination) affix(name string) string {
	if d.Filter != nil {
		for _, rule := range d.Filter.S3Key.FilterRule {
			if strings.EqualFold(rule.Name, name) {
				return rule.Value
			}
		}
	}
	return ""
}

// wants tells whether the destination is told of the event.
func (d destination) wants(event, key string) bool {
	return strings.HasPrefix(key, d.affix("prefix")) && strings.HasSuffix(key, d.affix("suffix")) &&
		slices.ContainsFunc(d.Event, func(pattern string) bool { return covers(pattern, "s3:"+event) })
}

// covers tells whether an event type, which may end in *, covers an event.
func covers(pattern, event string) bool {
	family, wild := strings.CutSuffix(pattern, "*")
	return pattern == event || wild && strings.HasPrefix(event, family)
}

// eventTypes are those that the stand-in sends. Nothing is posted by a form, so
// s3:ObjectCreated:Post never happens.
var eventTypes = []string{
	"s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload",
	"s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated",
	"s3:ObjectRestore:*", "s3:ObjectRestore:Post", "s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete",
}

// otherEventTypes are those that S3 has beside.
var otherEventTypes = []string{
	"s3:ReducedRedundancyLostObject", "s3:LifecycleTransition", "s3:IntelligentTiering", "s3:ObjectAcl:Put",
	"s3:LifecycleExpiration:*", "s3:LifecycleExpiration:Delete", "s3:LifecycleExpiration:DeleteMarkerCreated",
	"s3:Replication:*", "s3:Replication:OperationFailedReplication", "s3:Replication:OperationNotTracked",
	"s3:Replication:OperationMissedThreshold", "s3:Replication:OperationReplicatedAfterThreshold",
	"s3:ObjectTagging:*", "s3:ObjectTagging:Put", "s3:ObjectTagging:Delete",
}

// check refuses what S3 refuses, and events that the stand-in does not send.
func (n *notification) check() *world.Error {
	if len(n.CloudFunctionConfiguration) > 0 {
		return missing("notifications of Lambda functions")
	}
	if len(n.Unknown) > 0 {
		return malformedXML()
	}
	ids := map[string]bool{}
	for _, d := range n.all() {
		if err := d.check(); err != nil {
			return err
		}
		if d.Id != "" && ids[d.Id] {
			return badArgument("Same ID used for multiple configurations. IDs must be unique")
		}
		ids[d.Id] = true
	}
	all := n.all()
	for i, d := range all {
		for _, other := range all[:i] {
			if d.overlaps(other) {
				return badArgument("Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type.")
			}
		}
	}
	return nil
}

func (d destination) check() *world.Error {
	if len(d.Event) == 0 || len(d.Unknown) > 0 || (d.Topic == "") == (d.Queue == "") {
		return malformedXML()
	}
	if len(d.Id) > 255 {
		return badArgument("ID length should not exceed allowed limit of 255")
	}
	for _, e := range d.Event {
		switch {
		case slices.Contains(otherEventTypes, e):
			return missing("the event " + e)
		case !slices.Contains(eventTypes, e):
			return badArgument("A specified event is not supported for notifications.")
		}
	}
	if d.Filter == nil {
		return nil
	}
	if len(d.Filter.Unknown) > 0 {
		return malformedXML()
	}
	seen := map[string]bool{}
	for _, rule := range d.Filter.S3Key.FilterRule {
		name := strings.ToLower(rule.Name)
		switch {
		case name != "prefix" && name != "suffix":
			return badArgument("filter rule name must be either prefix or suffix")
		case seen[name]:
			return badArgument("Cannot specify more than one %s rule in a filter.", name)
		case len(rule.Value) > maxKey:
			return badArgument("Size of filter rule value cannot exceed %d bytes in UTF-8 representation", maxKey)
		}
		seen[name] = true
	}
	return nil
}

// overlaps tells whether an event of one key could be meant for both destinations.
func (d destination) overlaps(other destination) bool {
	a, b := d.affix("prefix"), other.affix("prefix")
	x, y := d.affix("suffix"), other.affix("suffix")
	if !strings.HasPrefix(a, b) && !strings.HasPrefix(b, a) || !strings.HasSuffix(x, y) && !strings.HasSuffix(y, x) {
		return false
	}
	return slices.ContainsFunc(d.Event, func(e string) bool {
		return slices.ContainsFunc(other.Event, func(o string) bool { return covers(e, o) || covers(o, e) })
	})
}

func bucketARN(name string) string { return "arn:aws:s3:::" + name }

// reaches refuses a destination that is not there or does not let the bucket send to it.
func (s *Service) reaches(d destination, bucket string) *world.Error {
	var err error
	if d.Topic != "" {
		err = s.cfg.Topics.Accepts(world.Notification{Service: principal, Source: bucketARN(bucket), Topic: d.Topic})
	} else {
		err = s.cfg.Queues.Accepts(principal, bucketARN(bucket), d.Queue)
	}
	if err == nil {
		return nil
	}
	e := badArgument("Unable to validate the following destination configurations")
	e.Fields = map[string]any{"ArgumentName": d.target(), "ArgumentValue": err.Error()}
	return e
}

func (d destination) target() string {
	if d.Topic != "" {
		return d.Topic
	}
	return d.Queue
}

func (s *Service) putNotification(r *request) *world.Error {
	body, _, err := document(r.Request, 1<<20)
	if err != nil {
		return err
	}
	var in notification
	if err := parseXML(body, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	for _, list := range [][]destination{in.TopicConfiguration, in.QueueConfiguration} {
		for i := range list {
			if list[i].Id == "" {
				list[i].Id = world.UUID()
			}
		}
	}
	validate := !strings.EqualFold(r.Header.Get("X-Amz-Skip-Destination-Validation"), "true")
	if validate {
		for _, d := range in.all() {
			if err := s.reaches(d, r.bucket); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets.Get(r.bucket)
	if !ok {
		return noBucket(r.bucket)
	}
	b.Notification = &in
	s.buckets.Put(r.bucket, b)
	if validate {
		for _, d := range in.all() {
			s.queueTest(r, d)
		}
	}
	r.w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) getNotification(r *request) *world.Error {
	b, _ := s.buckets.Get(r.bucket)
	var out notification
	if b.Notification != nil {
		out = *b.Notification
	}
	out.XMLName = xml.Name{Space: namespace, Local: "NotificationConfiguration"}
	return r.answer(out)
}
