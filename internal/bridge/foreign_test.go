package bridge_test

import (
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

func TestWhatIsCertainlyNotOursIsCountedAndDropped(t *testing.T) {
	inventory := told(`"Action":"ArchiveRetrieval"`, `"Action":"InventoryRetrieval"`, `"ArchiveId":"a"`, `"ArchiveId":null`)
	const kept, dead = "kept", "dead"
	for _, c := range []struct{ name, body, want string }{
		{"ours", told(), kept},
		{"of the vault, with our job's id", told(ourTopic, noTopic), kept}, // the catalog decides
		{"of another topic, with our job's id", told(ourTopic, otherTopic), kept},
		{"an inventory", inventory, bridge.Inventory.String()},
		{"an inventory over the vault's notification", strings.Replace(inventory, ourTopic, noTopic, 1), bridge.Inventory.String()},
		{"a select", told("ArchiveRetrieval", "Select"), bridge.Inventory.String()},
		{"an action that we do not know", told("ArchiveRetrieval", "ArchiveTeleportation"), dead},
		{"another tool's, without a description", told(description, `"JobDescription":null`, ourTopic, noTopic), bridge.OtherRetrieval.String()},
		{"another tool's, with an empty description", told(description, `"JobDescription":""`, ourTopic, otherTopic), bridge.OtherRetrieval.String()},
		{"another tool's, with a long description", told(description, `"JobDescription":"`+strings.Repeat("x", 600)+`"`, ourTopic, noTopic), bridge.OtherRetrieval.String()},
		{"to our topic, without a description", told(description, `"JobDescription":null`), dead},
		{"without a description and without saying which topic", told(description, `"JobDescription":null`, ourTopic+",", ""), dead},
		{"S3's test", s3Test, bridge.S3Event.String()},
		{"S3's event", s3Event, bridge.S3Event.String()},
		{"S3's name and something else", strings.Replace(s3Test, "s3:TestEvent", "s3:Other", 1), dead},
		{"records of another service", strings.Replace(s3Event, "aws:s3", "aws:sqs", 1), dead},
		{"rubbish", "rubbish", dead},
	} {
		t.Run(c.name, func(t *testing.T) {
			testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
				b := newFixture(t, ns)
				b.Source = bridge.RestoreSource(topic)
				b.send(c.body, b.envelope(sns.Message{Message: c.body}))
				stop := b.start()
				b.await(b.queue.deleted, 2)
				stop()
				got := map[string]int64{kept: b.Tally.Published.Load() + b.Tally.Duplicate.Load(), dead: b.Tally.Quarantined.Load()}
				for _, kind := range bridge.Foreigns() {
					got[kind.String()] = b.Tally.Foreign[kind].Load()
				}
				for what, n := range got {
					if want := map[bool]int64{true: 2}[what == c.want]; n != want {
						t.Errorf("%s: %d, want %d", what, n, want)
					}
				}
				b.left(0)
				if n := b.Tally.InHand(); n != 0 {
					t.Errorf("%d messages are in no account", n)
				}
				if n, m := len(b.stored(events.StreamDead)), got[dead]; int64(n) != m {
					t.Errorf("%d dead letters, want %d", n, m)
				}
			})
		})
	}
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
