package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// backlog is how many changes may wait for a reader. One that is slower is
// dropped: its browser comes back and says what it saw last.
const backlog = 64

// hub follows the stream of changes once for the whole process and hands each
// change to who watches. Make one with newHub, and run it.
type hub struct {
	statuses Statuses
	log      *slog.Logger
	tiers    archive.Tiers
	// moved is told of whom there is a change.
	moved func(events.UserID)
	// ready is closed when last is known.
	ready chan struct{}

	// mu guards the fields below.
	mu sync.Mutex
	// last is the sequence up to which changes were handed out.
	last      uint64
	listeners map[events.UserID]map[*listener]struct{}
	dropped   int
}

// listener is a reader of one user's changes.
type listener struct {
	user events.UserID
	// from is the sequence after which every change comes over changes.
	from uint64
	// changes is closed when the reader was too slow.
	changes chan *delivery
	// cut ends the reader's connection without waiting.
	cut func()
}

// delivery is a change in the form in which all its readers get it.
type delivery struct {
	seq  uint64
	user events.UserID
	data string
}

func newHub(statuses Statuses, cfg Config, moved func(events.UserID)) *hub {
	return &hub{statuses: statuses, log: cfg.Logger, tiers: cfg.Tiers, moved: moved, ready: make(chan struct{}), listeners: map[events.UserID]map[*listener]struct{}{}}
}

// hubPause is how long the hub waits after trouble.
const hubPause = time.Second

// run hands out changes until ctx ends.
func (h *hub) run(ctx context.Context) {
	begun := false
	for ctx.Err() == nil {
		err := h.follow(ctx, &begun)
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("live updates are interrupted", "error", fmt.Sprint(err))
		pause := time.NewTimer(hubPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

func (h *hub) follow(ctx context.Context, begun *bool) error {
	if !*begun {
		at, err := h.statuses.Position(ctx)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.last = at
		h.mu.Unlock()
		*begun = true
		close(h.ready)
	}
	// After an interruption it goes on where it was, not where the stream is.
	h.mu.Lock()
	after := h.last
	h.mu.Unlock()
	for st, err := range h.statuses.Follow(ctx, after) {
		if err != nil {
			return err
		}
		h.moved(st.UserID)
		h.publish(st)
	}
	return nil
}

// publish hands a change to its user's readers and waits for none.
func (h *hub) publish(st Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = st.Seq
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
			h.remove(l)
			close(l.changes)
			l.cut()
		}
	}
}

func (h *hub) deliveryOf(st Status) *delivery {
	// A change is text, numbers and times: it has a JSON form.
	data, _ := json.Marshal(changeOf(st.StatusChanged, h.tiers))
	return &delivery{seq: st.Seq, user: st.UserID, data: string(data)}
}

// listen adds a reader once the hub knows where the stream is, or returns ctx's
// error.
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

// leave removes a reader; it may be gone already.
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

// position returns up to where changes were handed out; ok is false as long as
// the hub does not know.
func (h *hub) position() (at uint64, ok bool) {
	select {
	case <-h.ready:
	default:
		return 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, true
}
