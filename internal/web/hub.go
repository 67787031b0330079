package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/outage"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// backlog is how many changes may wait for a reader. The hub drops a slower reader: its
// browser comes back and says which change it saw last.
const backlog = 64

// hub follows the stream of changes once for the whole process, and hands each change to
// the readers of its user. Make one with newHub, and run it.
type hub struct {
	statuses Statuses
	log      *slog.Logger
	meter    Meter
	trouble  outage.Log
	tiers    archive.Tiers
	// moved is called with the user of each change.
	moved func(events.UserID)
	// ready is closed when last is known.
	ready chan struct{}

	// mu guards the fields below.
	mu sync.Mutex
	// last is the position of the last change that was handed out.
	last      events.Position
	listeners map[events.UserID]map[*listener]struct{}
	dropped   int
}

// listener is a reader of one user's changes.
type listener struct {
	user events.UserID
	// from is a position. Every later change of its stream comes over changes.
	from events.Position
	// changes is closed when the reader was too slow, and when the stream was made anew.
	changes chan *delivery
	// cut ends the reader's connection without waiting.
	cut func()
}

// delivery is a change in the form that all its readers get.
type delivery struct {
	at   events.Position
	user events.UserID
	data string
}

func newHub(statuses Statuses, cfg Config, moved func(events.UserID)) *hub {
	return &hub{statuses: statuses, log: cfg.Logger, meter: meterOf(cfg.Meter), tiers: cfg.Tiers, moved: moved, ready: make(chan struct{}), listeners: map[events.UserID]map[*listener]struct{}{}}
}

// hubPause is how long the hub waits after trouble.
const hubPause = time.Second

// run hands out changes until ctx ends.
func (h *hub) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		h.trouble.Failed(h.log, "live updates are interrupted", "err", fmt.Sprint(err))
		wait.For(ctx, hubPause)
	}
}

func (h *hub) follow(ctx context.Context) error {
	at, err := h.statuses.Position(ctx)
	if err != nil {
		return err
	}
	h.trouble.Over(h.log, "live updates go on")
	for st, err := range h.statuses.Follow(ctx, h.resume(at)) {
		if err != nil {
			return err
		}
		h.moved(st.UserID)
		h.publish(st)
	}
	return nil
}

// resume returns the position after which the hub goes on. at is the end of the stream.
// After an interruption the hub goes on where it was. If the stream was made anew, or lost
// its end, it has other changes under the old numbers. Then nobody knows what a reader
// missed: the hub cuts all readers, and their browsers come back with a position that says
// so.
func (h *hub) resume(at events.Position) events.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ready:
	default:
		h.last = at
		close(h.ready)
	}
	switch {
	case at.Incarnation != h.last.Incarnation:
		h.log.Warn("the stream of changes was made anew: pages reload", "was", h.last.String(), "is", at.String())
		h.last = events.Position{Incarnation: at.Incarnation}
	case at.Seq < h.last.Seq:
		h.log.Warn("the stream of changes is behind: pages come back", "was", h.last.String(), "is", at.String())
		h.last = at
	default:
		return h.last
	}
	for _, readers := range h.listeners {
		for l := range readers {
			h.end(l, cutAnew)
		}
	}
	return h.last
}

// publish hands a change to its user's readers. It waits for none of them.
func (h *hub) publish(st Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = st.Position
	readers := h.listeners[st.UserID]
	if len(readers) == 0 {
		return
	}
	d := h.deliveryOf(st)
	for l := range readers {
		select {
		case l.changes <- d:
		default:
			h.dropped++
			h.end(l, cutSlow)
		}
	}
}

func (h *hub) deliveryOf(st Status) *delivery {
	// A change consists of texts, numbers and times, so it has a JSON form.
	data, _ := json.Marshal(changeOf(st.StatusChanged, h.tiers))
	return &delivery{at: st.Position, user: st.UserID, data: string(data)}
}

// listen adds a reader as soon as the hub knows the position of the stream. The error is
// ctx's.
func (h *hub) listen(ctx context.Context, user events.UserID, cut func()) (*listener, error) {
	select {
	case <-h.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l := &listener{user: user, changes: make(chan *delivery, backlog), cut: cut}
	h.mu.Lock()
	defer h.mu.Unlock()
	l.from = h.last
	if h.listeners[user] == nil {
		h.listeners[user] = map[*listener]struct{}{}
	}
	h.listeners[user][l] = struct{}{}
	return l, nil
}

// end cuts a reader. Its browser comes back.
func (h *hub) end(l *listener, why string) {
	h.meter.Cut(why)
	h.remove(l)
	close(l.changes)
	l.cut()
}

// leave removes a reader, which may be gone already.
func (h *hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(l)
}

func (h *hub) remove(l *listener) {
	delete(h.listeners[l.user], l)
	if len(h.listeners[l.user]) == 0 {
		delete(h.listeners, l.user)
	}
}

// position returns the position of the last change that was handed out. ok is false until
// the hub knows it.
func (h *hub) position() (at events.Position, ok bool) {
	select {
	case <-h.ready:
	default:
		return events.Position{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, true
}
