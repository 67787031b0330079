package bridge

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

// enveloped returns a message in SNS's envelope, with one change.
func enveloped(old, new string) string {
	const whole = `{"Type":"Notification","TopicArn":"topic","MessageId":"id","Message":"{}","Timestamp":"2026-11-27T10:00:00.000Z"}`
	if !strings.Contains(whole, old) {
		panic("nothing to change: " + old)
	}
	return strings.Replace(whole, old, new, 1)
}

func TestAnEnvelopeSaysWhatIsWrongWithIt(t *testing.T) {
	for name, c := range map[string]struct {
		body, says string
		handshake  bool
	}{
		"rubbish":                   {"rubbish", "message is not a JSON object", false},
		"another type of a field":   {enveloped(`"id"`, `7`), "SNS envelope: MessageId is a JSON number", false},
		"a topic that is no text":   {enveloped(`"topic"`, `7`), "SNS envelope: TopicArn is a JSON number", false},
		"a type that nobody knows":  {enveloped(`"Notification"`, `"Greeting"`), `SNS envelope: Type is "Greeting", want Notification`, false},
		"another topic":             {enveloped(`"topic"`, `"other"`), `SNS envelope: TopicArn is "other", want "topic"`, false},
		"no message":                {enveloped(`"Message":"{}",`, ``), "SNS envelope: Message is missing", false},
		"no time":                   {enveloped(`"Timestamp":"2026-11-27T10:00:00.000Z"`, `"Timestamp":"today"`), `SNS envelope: Timestamp is "today", want RFC 3339`, false},
		"no id":                     {enveloped(`"id"`, `""`), "SNS envelope: MessageId is empty", false},
		"a handshake":               {enveloped(`"Notification"`, `"SubscriptionConfirmation"`), "a SubscriptionConfirmation: a queue", true},
		"the end of a subscription": {enveloped(`"Notification"`, `"UnsubscribeConfirmation"`), "a UnsubscribeConfirmation: a queue", true},
		"another topic's handshake": {strings.Replace(enveloped(`"Notification"`, `"SubscriptionConfirmation"`), `"topic"`, `"other"`, 1), `Type is "SubscriptionConfirmation", want Notification`, false},
		"more than SQS takes":       {strings.Repeat("x", maxMessage+1), "message of 1048577 bytes", false},
	} {
		n, err := unwrap(queue.Message{ID: "m", Body: c.body}, "topic")
		other, dropped := errors.AsType[*NotOurs](err)
		if n != (Notification{}) || err == nil || !strings.Contains(err.Error(), c.says) || dropped != c.handshake || dropped && other.Kind != Handshake {
			t.Errorf("%s: got %+v, %v, dropped %t; want an error with %q, dropped %t", name, n, err, dropped, c.says, c.handshake)
		}
	}
}

func TestANotificationIsTakenOutOfItsEnvelope(t *testing.T) {
	at := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	const step = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	attributes := func(s string) string { return enveloped(`"Message":`, `"MessageAttributes":`+s+`,"Message":`) }
	for name, c := range map[string]struct {
		body string
		want Notification
	}{
		"an envelope":            {enveloped("", ""), Notification{ID: "id", At: at, Body: "{}", Via: events.ViaSNS}},
		"a raw body":             {`{"user_id":"u"}`, Notification{ID: "m", At: at.Add(time.Hour), Body: `{"user_id":"u"}`, Via: events.ViaSQSRaw}},
		"a raw body with a Type": {`{"Type":"Notification"}`, Notification{ID: "m", At: at.Add(time.Hour), Body: `{"Type":"Notification"}`, Via: events.ViaSQSRaw}},
		"a step":                 {attributes(`{"traceparent":{"Type":"String","Value":"` + step + `"}}`), Notification{ID: "id", At: at, Body: "{}", Via: events.ViaSNS, Trace: step}},
		"another attribute":      {attributes(`{"other":{"Type":"String","Value":"x"}}`), Notification{ID: "id", At: at, Body: "{}", Via: events.ViaSNS}},
		"strange attributes":     {attributes(`{"other":7,"traceparent":{"Type":"String","Value":"` + step + `"}}`), Notification{ID: "id", At: at, Body: "{}", Via: events.ViaSNS}},
	} {
		if got, err := unwrap(queue.Message{ID: "m", Body: c.body, SentAt: at.Add(time.Hour)}, "topic"); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

// TestAnEventIsAPartOfTheSendersStep: the bridge adds a step of its own, which ends.
func TestAnEventIsAPartOfTheSendersStep(t *testing.T) {
	ended := tracetest.NewSpanRecorder()
	provider, before := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ended)), otel.GetTracerProvider()
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	defer provider.Shutdown(context.Background()) // else the other tests would have steps too
	d := &Drain{Source: PremiumSource("topic")}
	e := events.UserUpgraded{ID: "id"}
	got, ok := d.traced(Notification{Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, e).(events.Traced)
	if !ok || got.Event != events.Event(e) || !strings.HasPrefix(got.TraceParent, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(got.TraceParent, "b7ad6b7169203331") {
		t.Errorf("got %+v, want the event with a step of the same trace", got)
	}
	if spans := ended.Ended(); len(spans) != 1 || spans[0].Name() != "take premium message" || spans[0].Parent().SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("the steps that ended are %v, want the bridge's, below the sender's", spans)
	}
}

func TestWithoutAStepAnEventIsAsItIs(t *testing.T) {
	e := events.UserUpgraded{ID: "id"}
	if got := (&Drain{}).traced(Notification{}, e); got != events.Event(e) {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

// TestARetrievalsEventHasTheSameIDInEachRelease: otherwise a message that comes before and after an
// update would be two events.
func TestARetrievalsEventHasTheSameIDInEachRelease(t *testing.T) {
	e := events.RetrievalCompleted{RetrievalID: "r", JobID: "job", ArchiveID: "a", Status: events.RetrievalSucceeded, Size: 1234567, TreeHash: "00"}
	const want = "8d291b12cc5bb5502b9ef7fa61e9ad51"
	if got := sameMessage(e); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
