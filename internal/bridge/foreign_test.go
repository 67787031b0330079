package bridge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// told returns Glacier's notification of a retrieval with some fields changed.
func told(changes ...string) string {
	body := strings.Replace(completion, `"StatusCode"`, `"SNSTopic":"`+topic+`","StatusCode"`, 1)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(body, changes[i]) {
			panic("nothing to change: " + changes[i])
		}
		body = strings.Replace(body, changes[i], changes[i+1], 1)
	}
	return body
}

const (
	ourTopic    = `"SNSTopic":"` + topic + `"`
	noTopic     = `"SNSTopic":null`
	otherTopic  = `"SNSTopic":"` + other + `"`
	description = `"JobDescription":"job"`
	s3Test      = `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-27T00:00:00.000Z","Bucket":"b","RequestId":"r","HostId":"h"}`
	s3Event     = `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{}}]}`
)

// A message of the restore queue ends as a kind of [bridge.Foreign], or as one of these.
const kept, dead = "kept", "dead"

var inventory = told(`"Action":"ArchiveRetrieval"`, `"Action":"InventoryRetrieval"`, `"ArchiveId":"a"`, `"ArchiveId":null`)

var notifications = []struct{ name, body, want, why string }{
	{"ours", told(), kept, ""},
	{"of the vault, with our job's id", told(ourTopic, noTopic), kept, ""}, // the catalog decides
	{"of another topic, with our job's id", told(ourTopic, otherTopic), kept, ""},
	{"an inventory", inventory, bridge.Inventory.String(), `field Action is "InventoryRetrieval", want ArchiveRetrieval`},
	{"an inventory over the vault's notification", strings.Replace(inventory, ourTopic, noTopic, 1), bridge.Inventory.String(), ""},
	{"a select", told("ArchiveRetrieval", "Select"), bridge.Inventory.String(), `field Action is "Select"`},
	{"an action that we do not know", told("ArchiveRetrieval", "ArchiveTeleportation"), dead, `field Action is "ArchiveTeleportation", want ArchiveRetrieval`},
	{"an unknown action without a description and over the vault's notification", told("ArchiveRetrieval", "ArchiveTeleportation", description, `"JobDescription":null`, ourTopic, noTopic), dead, "ArchiveTeleportation"},
	{"another tool's, without a description", told(description, `"JobDescription":null`, ourTopic, noTopic), bridge.OtherRetrieval.String(), `retrieval "r" of archive "a": JobDescription (the job_id) is empty, and its topic is not ours`},
	{"another tool's, with an empty description", told(description, `"JobDescription":""`, ourTopic, otherTopic), bridge.OtherRetrieval.String(), ""},
	{"another tool's, with a long description", told(description, `"JobDescription":"`+strings.Repeat("x", 600)+`"`, ourTopic, noTopic), bridge.OtherRetrieval.String(), ""},
	{"another tool's, with a strange topic", told(description, `"JobDescription":null`, ourTopic, `"SNSTopic":7`), bridge.OtherRetrieval.String(), ""},
	{"to our topic, without a description", told(description, `"JobDescription":null`), dead, "JobDescription (the job_id) is empty"},
	{"without a description and without saying which topic", told(description, `"JobDescription":null`, ourTopic+",", ""), dead, "JobDescription (the job_id) is empty"},
	{"S3's test", s3Test, bridge.S3Event.String(), "s3:TestEvent: a bucket was told to notify this topic"},
	{"S3's event", s3Event, bridge.S3Event.String(), "ObjectCreated:Put: a bucket notifies this topic"},
	{"S3's name and something else", strings.Replace(s3Test, "s3:TestEvent", "s3:Other", 1), dead, `field Action is "", want ArchiveRetrieval`},
	{"the event's name of another service", strings.Replace(s3Test, "Amazon S3", "Amazon", 1), dead, ""},
	{"the event's name alone", `{"Event":"s3:TestEvent"}`, dead, ""},
	{"records of another service", strings.Replace(s3Event, "aws:s3", "aws:sqs", 1), dead, ""},
	{"records of two services", strings.Replace(s3Event, `[{`, `[{"eventSource":"aws:s3"},{"eventSource":"aws:sqs"},{`, 1), dead, ""},
	{"no records", `{"Records":[]}`, dead, ""},
	// S3 counts the major number up if a field changes its meaning: the copy may be ours.
	{"S3's event of a copy in a version that cannot be read", `{"Records":[{"eventVersion":"3.0","eventSource":"aws:s3","eventName":"ObjectRestore:Completed","s3":{"object":{"key":"x/job/a","size":"7"}}}]}`, dead, ""},
	{"EventBridge's event of a copy in a version that cannot be read", `{"source":"aws.s3","detail-type":"Object Restore Completed","detail":7}`, dead, "event of EventBridge: detail is a JSON number"},
	{"rubbish", "rubbish", dead, "message is not a JSON object"},
	{"another type of a field", told(`"ArchiveSizeInBytes":7`, `"ArchiveSizeInBytes":"7"`), dead, "ArchiveSizeInBytes is a JSON string"},
}

func TestEachKindOfNotificationIsRecognized(t *testing.T) {
	for _, c := range notifications {
		e, err := bridge.RestoreSource(topic).Parse(bridge.Notification{ID: msgID, Body: c.body})
		got := dead
		if other, ok := errors.AsType[*bridge.NotOurs](err); ok {
			got = other.Kind.String()
			if errors.Unwrap(err) == nil || errors.Unwrap(err).Error() != err.Error() {
				t.Errorf("%s: the reason %v is not in the error %v", c.name, errors.Unwrap(err), err)
			}
		} else if err == nil {
			got = kept
		}
		if got != c.want || (err == nil) != (e != nil) || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %s, %v, %v; want %s because of %q", c.name, got, e, err, c.want, c.why)
		}
	}
}

func TestOnlyARetrievalThatNamesAnotherTopicMayBeSomebodyElses(t *testing.T) {
	for snsTopic, want := range map[string]bool{ourTopic: false, "": false, noTopic: true, otherTopic: true, `"SNSTopic":7`: true, `"SNSTopic":[]`: true} {
		body := told(ourTopic, snsTopic)
		if snsTopic == "" {
			body = told(ourTopic+",", "")
		}
		e, err := bridge.RestoreSource(topic).Parse(bridge.Notification{ID: msgID, Body: body})
		if err != nil {
			t.Errorf("%s: %v", snsTopic, err)
		} else if got := e.(events.RetrievalCompleted).Foreign; got != want {
			t.Errorf("%s: foreign is %t, want %t", snsTopic, got, want)
		}
	}
}

// TestAnEventOfS3IsNotForThePremiumTopic: a bucket may notify the premium topic.
func TestAnEventOfS3IsNotForThePremiumTopic(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		dropped bool
		says    string
	}{
		"the test":                   {s3Test, true, "s3:TestEvent: a bucket was told to notify this topic"},
		"an event":                   {s3Event, true, "ObjectCreated:Put: a bucket notifies this topic"},
		"the name and no test":       {strings.Replace(s3Test, "s3:TestEvent", "s3:Other", 1), false, "user_id is missing"},
		"the test of no service":     {`{"Event":"s3:TestEvent"}`, false, "user_id is missing"},
		"no records":                 {`{"Records":[]}`, false, "user_id is missing"},
		"records of two services":    {strings.Replace(s3Event, `[{`, `[{"eventSource":"aws:s3"},{"eventSource":"aws:sqs"},{`, 1), false, "user_id is missing"},
		"records that are none":      {`{"Records":7}`, false, "user_id is missing"},
		"rubbish":                    {"rubbish", false, "message is not a JSON object"},
		"an upgrade that is strange": {`{"user_id":7,"Service":"Amazon S3","Event":"s3:TestEvent"}`, false, "user_id is a JSON number"},
	} {
		e, err := bridge.PremiumSource(topic).Parse(bridge.Notification{ID: msgID, Body: c.body})
		other, dropped := errors.AsType[*bridge.NotOurs](err)
		if err == nil || e != nil || dropped != c.dropped || dropped && other.Kind != bridge.S3Event || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v, dropped %t; want dropped %t because of %q", name, e, err, dropped, c.dropped, c.says)
		}
	}
}

func TestWhatIsCertainlyNotOursIsCountedAndDropped(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		b.Source = bridge.RestoreSource(topic)
		want := map[string]int64{}
		for _, c := range notifications {
			b.send(c.body, b.envelope(sns.Message{Message: c.body}))
			want[c.want] += 2
		}
		stop := b.start()
		b.await(b.queue.deleted, 2*len(notifications))
		stop()
		got := map[string]int64{kept: b.Tally.Published.Load() + b.Tally.Duplicate.Load(), dead: b.Tally.Quarantined.Load()}
		for _, kind := range bridge.Foreigns()[:bridge.Handshake] { // another test has handshakes
			got[kind.String()] = b.Tally.Foreign[kind].Load()
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		b.left(0)
		if n := b.Tally.InHand(); n != 0 {
			t.Errorf("%d messages are in no account", n)
		}
		if n, m := len(b.stored(events.StreamDead)), got[dead]; int64(n) != m {
			t.Errorf("%d dead letters, want %d", n, m)
		}
	})
}

func TestTheHandshakesOfAQueueAreDroppedIfTheyAreOfItsTopic(t *testing.T) {
	for _, typ := range []string{sns.TypeSubscriptionConfirmation, sns.TypeUnsubscribeConfirmation} {
		t.Run(typ, func(t *testing.T) {
			testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
				b := newFixture(t, ns)
				b.send(b.envelope(sns.Message{Type: typ, Token: token, Message: "x"}), b.envelope(sns.Message{Type: typ, TopicARN: other, Token: token, Message: "x"}))
				stop := b.start()
				b.await(b.queue.deleted, 2)
				stop()
				if f, q := b.Tally.Foreign[bridge.Handshake].Load(), b.Tally.Quarantined.Load(); f != 1 || q != 1 {
					t.Errorf("%d dropped, %d dead letters, want 1 each", f, q)
				}
			})
		})
	}
}

func TestTheWebhookAcceptsWhatIsNotOurs(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		b.Source.Parse = bridge.RestoreSource(topic).Parse
		h, _ := b.webhook()
		for body, want := range map[string]int{s3Test: 200, "rubbish": 422} {
			if got := post(h, "Notification", b.envelope(sns.Message{Message: body})); got != want {
				t.Errorf("%s: answered %d, want %d", body, got, want)
			}
		}
		if n := h.Tally.Foreign.Load(); n != 1 {
			t.Errorf("%d foreign, want 1", n)
		}
		balance(t, h)
	})
}

// TestTwoNotificationsOfARetrievalAreOneEvent: the retrieval's topic gets a notification, and
// the vault's topic may get one too.
func TestTwoNotificationsOfARetrievalAreOneEvent(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		b := newFixture(t, ns)
		b.Source = bridge.RestoreSource(topic)
		b.send(b.envelope(sns.Message{Message: told()}), b.envelope(sns.Message{Message: told(ourTopic, noTopic)}), told(),
			told(`"JobId":"r"`, `"JobId":"r2"`), told(`"JobDescription":"job"`, `"JobDescription":"other"`), told(`"ArchiveId":"a"`, `"ArchiveId":"b"`),
			told(`"StatusCode":"Succeeded"`, `"StatusCode":"Failed"`))
		stop := b.start()
		b.await(b.queue.deleted, 7)
		stop()
		b.tally(7, 5, 2, 0, 0)
		if n := len(b.stored(events.StreamRestore)); n != 5 {
			t.Errorf("%d events, want one of what is the same, and four of what is not", n)
		}
	})
}
