package sqs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxInFlight is how many messages of a standard queue may be received and not
// deleted.
const maxInFlight = 120_000

// maxVisibility is the longest that a message stays with one receiver.
const maxVisibility = 12 * time.Hour

// queueRow is a queue as it is stored.
type queueRow struct {
	Name string `json:"name"`
	ID   uint64 `json:"id"`
	// Generation prefixes the keys of the queue's messages. A purge gives
	// another: rows of no queue's generation are rubbish.
	Generation string `json:"generation"`
	// Epoch counts the starts of the stand-in, so that no sequence number is
	// ever used again, and no old receipt handle fits a new message.
	Epoch      uint64            `json:"epoch"`
	Attributes map[string]string `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	Created    int64             `json:"created"`  // seconds
	Modified   int64             `json:"modified"` // seconds
}

// place says where an entry is.
type place uint8

const (
	ready place = iota
	delayed
	inFlight
)

// entry is a message in a queue.
type entry struct {
	seq   uint64
	m     *message
	count uint32
	first int64 // milliseconds: when it was first received here
	since int64 // milliseconds: when it was last received
	until int64 // milliseconds: when it becomes visible, unless it is ready
	place place

	timerIndex, expiryIndex int32
	prev, next              *entry // in the ready list
}

// queue is a queue with its messages.
type queue struct {
	s        *Service
	name     string
	id       uint64
	settings atomic.Pointer[settings]

	mu         sync.Mutex // guards what follows
	row        queueRow
	gone       bool
	lastPurge  int64
	seq        uint64
	entries    map[uint64]*entry
	head, tail *entry // ready list, oldest first
	nReady     int
	nInFlight  int
	timers     timeHeap // delayed and in flight, by when they become visible
	expiry     timeHeap // all, by when they were sent
	arrival    chan struct{}
}

func newQueue(s *Service, row queueRow, set *settings) *queue {
	q := &queue{s: s, name: row.Name, id: row.ID, row: row, seq: row.Epoch << 40}
	q.settings.Store(set)
	q.reset()
	return q
}

func (q *queue) reset() {
	q.entries = map[uint64]*entry{}
	q.head, q.tail, q.nReady, q.nInFlight = nil, nil, 0, 0
	q.timers = timeHeap{time: func(e *entry) int64 { return e.until }, index: func(e *entry) *int32 { return &e.timerIndex }}
	q.expiry = timeHeap{time: func(e *entry) int64 { return e.m.Sent }, index: func(e *entry) *int32 { return &e.expiryIndex }}
}

// load makes the queues of the stored rows and drops the rows of none.
func (s *Service) load() error {
	byGeneration := map[string]*queue{}
	var rows []queueRow
	s.queueRows.Ascend("", func(_ string, row queueRow) bool {
		rows = append(rows, row)
		return true
	})
	for _, row := range rows {
		set, e := parseSettings(row.Attributes)
		if e != nil {
			return fmt.Errorf("queue %s: %w", row.Name, e)
		}
		row.Epoch++
		s.queueRows.Put(row.Name, row)
		q := newQueue(s, row, set)
		s.queues[row.Name] = q
		byGeneration[row.Generation] = q
	}
	var rubbish []string
	now := s.now()
	s.messages.Ascend("", func(key string, m *message) bool {
		generation, rest, _ := strings.Cut(key, "/")
		q := byGeneration[generation]
		seq, err := strconv.ParseUint(rest, 16, 64)
		if q == nil || err != nil {
			rubbish = append(rubbish, key)
			return true
		}
		r, _ := s.receives.Get(key)
		q.insert(&entry{seq: seq, m: m, count: r.Count, first: r.First, since: min(now, r.Until), until: max(r.Until, m.Visible)}, now)
		return true
	})
	for _, key := range rubbish {
		s.messages.Delete(key)
	}
	rubbish = nil
	s.receives.Ascend("", func(key string, _ receipt) bool {
		if _, ok := s.messages.Get(key); !ok {
			rubbish = append(rubbish, key)
		}
		return true
	})
	for _, key := range rubbish {
		s.receives.Delete(key)
	}
	s.resumeTasks()
	return nil
}

func (s *Service) now() int64 { return s.w.Clock.Now().UnixMilli() }

func key(generation string, seq uint64) string { return fmt.Sprintf("%s/%016x", generation, seq) }

// add stores messages and makes them receivable, or tells that the queue is
// gone.
func (q *queue) add(messages ...*message) bool {
	now := q.s.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return false
	}
	for _, m := range messages {
		q.seq++
		q.s.messages.Put(key(q.row.Generation, q.seq), m)
		q.insert(&entry{seq: q.seq, m: m, until: m.Visible}, now)
	}
	return true
}

// insert puts an entry where its times say.
func (q *queue) insert(e *entry, now int64) {
	q.entries[e.seq] = e
	e.timerIndex, e.expiryIndex = -1, -1
	q.expiry.push(e)
	switch {
	case e.until <= now:
		q.makeReady(e)
	case e.count > 0:
		e.place = inFlight
		q.nInFlight++
		q.timers.push(e)
	default:
		e.place = delayed
		q.timers.push(e)
		q.wake() // a waiting receiver may now have to wait less long
	}
}

// makeReady puts e, which is in no place, at the end of the ready list.
func (q *queue) makeReady(e *entry) {
	e.place, e.prev, e.next = ready, q.tail, nil
	if q.tail == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
	q.nReady++
	q.wake()
}

// displace takes e out of its place.
func (q *queue) displace(e *entry) {
	if e.place != ready {
		q.timers.remove(e)
		if e.place == inFlight {
			if q.nInFlight == maxInFlight {
				q.wake()
			}
			q.nInFlight--
		}
		return
	}
	if e.prev == nil {
		q.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	q.nReady--
}

// forget takes e out of the queue; its rows are the caller's.
func (q *queue) forget(e *entry) {
	q.displace(e)
	q.expiry.remove(e)
	delete(q.entries, e.seq)
}

// drop takes e out of the queue for good.
func (q *queue) drop(e *entry) {
	q.forget(e)
	q.deleteRows(q.row.Generation, e)
}

func (q *queue) deleteRows(generation string, e *entry) {
	k := key(generation, e.seq)
	q.s.messages.Delete(k)
	if e.count > 0 {
		q.s.receives.Delete(k)
	}
}

// wake tells the waiting receivers to look again.
func (q *queue) wake() {
	if q.arrival != nil {
		close(q.arrival)
		q.arrival = nil
	}
}

// arrived returns a channel that is closed when something becomes visible, or
// will earlier than it seemed.
func (q *queue) arrived() <-chan struct{} {
	if q.arrival == nil {
		q.arrival = make(chan struct{})
	}
	return q.arrival
}

// advance does what the time has brought: what was hidden becomes visible, what
// is too old goes.
func (q *queue) advance(now int64) {
	for e := q.timers.first(); e != nil && e.until <= now; e = q.timers.first() {
		q.displace(e)
		q.makeReady(e)
	}
	oldest := now - int64(q.settings.Load().retention)*1000
	for e := q.expiry.first(); e != nil && e.m.Sent <= oldest; e = q.expiry.first() {
		q.drop(e)
	}
}

// delivery is a message on its way to a receiver.
type delivery struct {
	m      *message
	handle handle
	count  uint32
	first  int64
}

// dead is a message that its queue has given up on.
type dead struct {
	e          *entry
	generation string
}

// take receives up to n messages for visibility milliseconds. If maxReceives
// is not 0, messages that were received so often are not received again but
// handed over as dead. overLimit tells that too many are in flight.
func (q *queue) take(now int64, n int, visibility int64, maxReceives uint32) (out []delivery, over []dead, overLimit bool) {
	q.advance(now)
	for e := q.head; e != nil && len(out) < n; e = q.head {
		if maxReceives > 0 && e.count >= maxReceives {
			q.forget(e)
			over = append(over, dead{e, q.row.Generation})
			continue
		}
		if q.nInFlight >= maxInFlight {
			return out, over, true
		}
		q.displace(e)
		e.count++
		if e.first == 0 {
			e.first = now
		}
		e.since, e.until, e.place = now, now+visibility, inFlight
		q.nInFlight++
		q.timers.push(e)
		q.s.receives.Put(key(q.row.Generation, e.seq), receipt{e.count, e.first, e.until})
		d := delivery{m: e.m, handle: handle{q.id, e.seq, e.count}, count: e.m.Receives + e.count, first: e.first}
		if e.m.First != 0 {
			d.first = e.m.First
		}
		out = append(out, d)
	}
	return out, over, false
}

// moveDead moves dead messages to the queue called to, or puts them back if that queue is
// gone. It stores a message there before it deletes the message here: a crash in between
// leaves two.
func (q *queue) moveDead(over []dead, to string) {
	for _, d := range over {
		m := *d.e.m
		m.Visible = 0
		m.Source = q.s.QueueARN(q.name)
		m.Receives += d.e.count
		if m.First == 0 {
			m.First = d.e.first
		}
		if dlq := q.s.queue(to); dlq != nil && dlq.add(&m) {
			q.deleteRows(d.generation, d.e)
			continue
		}
		q.mu.Lock()
		if d.generation == q.row.Generation && !q.gone {
			d.e.until = 0
			q.insert(d.e, q.s.now())
		}
		q.mu.Unlock()
	}
}

// remove deletes the message of a receive. A handle that is no longer the
// message's latest deletes nothing, as AWS says that it may.
func (q *queue) remove(text string) *world.Error {
	h, ok := parseHandle(text)
	q.mu.Lock()
	defer q.mu.Unlock()
	if !ok || h.queue != q.id {
		return bad("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	}
	if e := q.entries[h.seq]; e != nil && e.count == h.count {
		q.drop(e)
	}
	return nil
}

// hide makes the message of a receive visible in d from now.
func (q *queue) hide(text string, d time.Duration) *world.Error {
	h, ok := parseHandle(text)
	now := q.s.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !ok || h.queue != q.id {
		return bad("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	}
	q.advance(now)
	e := q.entries[h.seq]
	if e == nil || e.count != h.count {
		return invalid(text, "ReceiptHandle", "Message does not exist or is not available for visibility timeout change.")
	}
	if e.place != inFlight {
		return bad("MessageNotInflight", "The message referred to isn't in flight.")
	}
	until := now + d.Milliseconds()
	if until > e.since+maxVisibility.Milliseconds() {
		return invalid(int(d.Seconds()), "VisibilityTimeout", "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	}
	q.displace(e)
	e.until = until
	q.s.receives.Put(key(q.row.Generation, e.seq), receipt{e.count, e.first, e.until})
	if until <= now {
		q.makeReady(e)
		return nil
	}
	e.place = inFlight
	q.nInFlight++
	q.timers.push(e)
	q.wake()
	return nil
}

// counts returns how many messages are visible, in flight and delayed.
func (q *queue) counts() (visible, flying, later int) {
	now := q.s.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.advance(now)
	return q.nReady, q.nInFlight, q.timers.len() - q.nInFlight
}

// empty drops all messages, the rows in the background.
func (q *queue) empty() {
	old := q.row.Generation
	q.row.Generation = world.ID(8)
	q.reset()
	q.s.w.Go(func(context.Context) { q.s.sweep(old) })
}

// sweep deletes the rows of a generation.
func (s *Service) sweep(generation string) {
	var keys []string
	s.messages.Ascend(generation+"/", func(key string, _ *message) bool {
		if !strings.HasPrefix(key, generation+"/") {
			return false
		}
		keys = append(keys, key)
		return true
	})
	for _, k := range keys {
		if s.w.Context().Err() != nil {
			return // the next start sweeps the rest
		}
		s.messages.Delete(k)
		s.receives.Delete(k)
	}
}

// queue returns the queue called name, or nil.
func (s *Service) queue(name string) *queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.queues[name]
}

// queueByARN returns the queue that arn names, or nil.
func (s *Service) queueByARN(arn string) *queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.queueByARNLocked(arn)
}

// queueByARNLocked is queueByARN for who holds s.mu.
func (s *Service) queueByARNLocked(arn string) *queue {
	name, ok := strings.CutPrefix(arn, s.QueueARN(""))
	if !ok {
		return nil
	}
	return s.queues[name]
}
