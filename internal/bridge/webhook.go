package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/gas-restore/gas/internal/outage"
	"github.com/gas-restore/gas/internal/snsverify"
	"github.com/gas-restore/gas/pkg/events"
)

// Confirmer confirms a subscription by its token. The bridge never fetches the
// SubscribeURL of a message: the sender could write any address there.
type Confirmer interface {
	ConfirmSubscription(ctx context.Context, topic, token string) error
}

// Verifier decides whether a message is genuine; see [snsverify.Verifier].
type Verifier interface {
	Verify(ctx context.Context, typeHeader string, body []byte) (snsverify.Message, error)
}

// Webhook is the HTTP endpoint for SNS: POST /sns/<name of the source>. It answers 2xx
// only after the event is stored, 4xx for a message that is not genuine or not
// understood, and 5xx for trouble of ours, so that SNS tries again.
type Webhook struct {
	Verify  Verifier
	Confirm Confirmer
	Drains  []*Drain
	Log     *slog.Logger

	Tally WebhookTally

	mu      sync.Mutex // guards refused
	refused map[snsverify.Reason]int64

	publishing outage.Log
}

// WebhookTally counts the outcomes of posted messages: received = published + duplicate +
// failed + not understood + foreign + handshakes + all refused + in flight.
type WebhookTally struct {
	Received, Published, Duplicate atomic.Int64
	// Failed counts genuine messages that could not be stored or confirmed. SNS tries
	// again, and the queue has them too.
	Failed atomic.Int64
	// NotUnderstood counts genuine messages that are no events. The queue has them too,
	// and the drain makes the dead letters.
	NotUnderstood atomic.Int64
	// Foreign counts genuine messages that are certainly not for us. The queue has them
	// too, and the drain counts their kinds.
	Foreign atomic.Int64
	// Handshakes counts confirmed and ended subscriptions.
	Handshakes atomic.Int64
}

// Refused returns the numbers of refused messages by reason.
func (h *Webhook) Refused() map[snsverify.Reason]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[snsverify.Reason]int64, len(h.refused))
	for k, v := range h.refused {
		out[k] = v
	}
	return out
}

func (h *Webhook) refuse(w http.ResponseWriter, d *Drain, err error) {
	status := http.StatusForbidden
	if r, ok := errors.AsType[*snsverify.Refusal](err); ok {
		h.mu.Lock()
		if h.refused == nil {
			h.refused = map[snsverify.Reason]int64{}
		}
		h.refused[r.Reason]++
		h.mu.Unlock()
		switch {
		case r.Temporary():
			status = http.StatusServiceUnavailable
		case r.Reason == snsverify.Malformed:
			status = http.StatusBadRequest
		}
	}
	h.Log.Warn("webhook refused a message", "source", d.Source.Name, "status", status, "err", err)
	http.Error(w, err.Error(), status)
}

// ServeHTTP implements [http.Handler].
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var d *Drain
	for _, each := range h.Drains {
		if r.URL.Path == "/sns/"+each.Source.Name {
			d = each
		}
	}
	switch {
	case d == nil:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "SNS messages come by POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, snsverify.MaxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			http.Error(w, "the message is too large", http.StatusRequestEntityTooLarge)
		}
		return // else the sender is gone
	}
	h.Tally.Received.Add(1)
	if r.Header.Get("X-Amz-Sns-Rawdelivery") == "true" {
		h.refuse(w, d, &snsverify.Refusal{Reason: snsverify.Malformed, Err: errors.New("raw message delivery has no signature: turn it off for this subscription")})
		return
	}
	m, err := h.Verify.Verify(r.Context(), r.Header.Get("X-Amz-Sns-Message-Type"), body)
	if err != nil {
		h.refuse(w, d, err)
		return
	}
	if m.TopicARN != d.Source.Topic {
		h.refuse(w, d, &snsverify.Refusal{Reason: snsverify.Topic, Err: errors.New("the message belongs to the other topic")})
		return
	}
	switch m.Type {
	case snsverify.SubscriptionConfirmation:
		if err := h.Confirm.ConfirmSubscription(r.Context(), m.TopicARN, m.Token); err != nil {
			h.Tally.Failed.Add(1)
			h.Log.Error("subscription not confirmed", "source", d.Source.Name, "err", err)
			http.Error(w, "the subscription could not be confirmed", http.StatusBadGateway)
			return
		}
		h.Tally.Handshakes.Add(1)
		h.Log.Info("subscription confirmed", "source", d.Source.Name, "topic", m.TopicARN)
	case snsverify.UnsubscribeConfirmation:
		// The bridge does not confirm it again: perhaps an operator wanted this. Messages
		// still come through the queue.
		h.Tally.Handshakes.Add(1)
		h.Log.Warn("the webhook was unsubscribed from its topic", "source", d.Source.Name, "topic", m.TopicARN)
	default:
		h.notification(w, r, d, m, body)
	}
}

func (h *Webhook) notification(w http.ResponseWriter, r *http.Request, d *Drain, m snsverify.Message, body []byte) {
	// The queue has the same message, and the drain makes its dead letter.
	n := Notification{ID: m.ID, At: m.Timestamp, Body: m.Message, Via: events.ViaSNS}
	e, err := d.Source.Parse(n)
	d.Wake()
	if other, ok := errors.AsType[*NotOurs](err); ok {
		h.Tally.Foreign.Add(1)
		h.Log.Debug("webhook got a message that is not for us", "source", d.Source.Name, "message", m.ID, "what", other.Kind, "err", err)
		return
	}
	if err != nil {
		h.Tally.NotUnderstood.Add(1)
		h.Log.Warn("webhook got a message that is not understood", "source", d.Source.Name, "message", m.ID, "err", err)
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	var unsigned envelope
	if events.UnmarshalObject(body, &unsigned) == nil {
		n.Trace = traceOf(unsigned.MessageAttributes)
	}
	duplicates, errs := d.Publish.Publish(r.Context(), []events.Event{d.traced(n, e)})
	if errs[0] != nil {
		h.Tally.Failed.Add(1)
		h.publishing.Failed(h.Log, "webhook could not publish", "source", d.Source.Name, "message", m.ID, "err", errs[0])
		http.Error(w, "not stored, try again", http.StatusServiceUnavailable)
		return
	}
	if duplicates[0] {
		h.Tally.Duplicate.Add(1)
	} else {
		h.Tally.Published.Add(1)
	}
	h.Log.Debug("webhook published", "source", d.Source.Name, "message", m.ID)
}
