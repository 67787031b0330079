package bridge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/internal/snsverify"
	"github.com/gas-restore/gas/pkg/events"
)

// verified is a verifier that has the same answer for each message.
type verified struct {
	message snsverify.Message
	err     error
}

func (v verified) Verify(context.Context, string, []byte) (snsverify.Message, error) {
	return v.message, v.err
}

func (b *fakes) webhook(v verified) *Webhook {
	return &Webhook{Verify: v, Drains: []*Drain{b.Drain}, Log: b.log.logger()}
}

func (b *fakes) post(h *Webhook, method, body string) *http.Response {
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel() // as a server does
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, "/sns/premium", strings.NewReader(body)))
	return w.Result()
}

var genuine = verified{message: snsverify.Message{Type: "Notification", ID: "id", TopicARN: "topic", Message: `{"user_id":"u"}`}}

func TestTheAnswerToARefusedMessageSaysWhetherToTryAgain(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		for _, c := range []struct {
			err  error
			want int
		}{
			{&snsverify.Refusal{Reason: snsverify.CertFetch, Err: errors.New("not reached")}, 503},
			{&snsverify.Refusal{Reason: snsverify.Malformed, Err: errors.New("no JSON")}, 400},
			{&snsverify.Refusal{Reason: snsverify.Signature, Err: errors.New("wrong")}, 403},
			{errors.New("something else"), 403},
		} {
			if got := b.post(b.webhook(verified{err: c.err}), "POST", "{}").StatusCode; got != c.want {
				t.Errorf("%v: answered %d, want %d", c.err, got, c.want)
			}
		}
	})
}

func TestAnotherMethodThanPOSTIsToldSo(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		r := b.post(b.webhook(genuine), "GET", "")
		if got := r.Header.Get("Allow"); r.StatusCode != 405 || got != "POST" {
			t.Errorf("answered %d, Allow %q, want 405 and POST", r.StatusCode, got)
		}
	})
}

func TestTheWebhookCountsWhatItPublished(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		h := b.webhook(genuine)
		counts := func(want ...int64) {
			t.Helper()
			is(t, "received, published, duplicate, failed", []int64{h.Tally.Received.Load(), h.Tally.Published.Load(), h.Tally.Duplicate.Load(), h.Tally.Failed.Load()}, want)
		}
		is(t, "the answer", b.post(h, "POST", "{}").StatusCode, 200)
		counts(1, 1, 0, 0)
		b.logged(1, `level=DEBUG msg="webhook published" source=premium message=id`)
		b.publish.known = true
		is(t, "the answer to a duplicate", b.post(h, "POST", "{}").StatusCode, 200)
		counts(2, 1, 1, 0)
		b.publish.store = func(context.Context, events.Event) error { return errAway }
		is(t, "the answer while JetStream is away", b.post(h, "POST", "{}").StatusCode, 503)
		counts(3, 1, 1, 1)
		b.logged(1, `level=WARN msg="webhook could not publish" source=premium message=id err=away`)
	})
}

func TestADuplicateIsCountedAsOneAndDeleted(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.publish.known = true
		b.holds(2)
		b.queue.backlog[1].Body = "rubbish"
		b.start()
		b.after(0)
		b.tally("0 published, 1 duplicate, 1 quarantined, 0 returned, 0 undeleted")
		is(t, "deletions", &b.queue.deletes, "0s r0,r1 0s")
	})
}

// TestAPostedMessageWakesTheDrain: the queue has the same message. The drain pauses for 6.4 s after
// seven failures.
func TestAPostedMessageWakesTheDrain(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		b.queue.lend = func(context.Context) ([]queue.Message, error) { return nil, errAway }
		b.start()
		b.after(7 * time.Second)
		is(t, "receives", len(b.queue.receives.list()), 7)
		b.post(b.webhook(genuine), "POST", "{}")
		b.after(0)
		is(t, "receives after a message", len(b.queue.receives.list()), 8)
	})
}

func TestAPostedEventIsAPartOfTheSendersStep(t *testing.T) {
	withFakes(t, func(t *testing.T, b *fakes) {
		const step = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		b.post(b.webhook(genuine), "POST", `{"MessageAttributes":{"traceparent":{"Type":"String","Value":"`+step+`"}}}`)
		b.post(b.webhook(genuine), "POST", `[]`)
		told := b.publish.all()
		if e, ok := told[0][0].(events.Traced); !ok || e.TraceParent != step {
			t.Errorf("published %+v, want a part of %s", told[0][0], step)
		}
		if e, ok := told[1][0].(events.UserUpgraded); !ok || e.UserID != "u" {
			t.Errorf("published %+v, want u's upgrade without a step", told[1][0])
		}
	})
}
