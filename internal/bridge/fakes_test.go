package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// call is a call of a port.
type call struct {
	at       time.Duration // since the test began
	receipts []string
	d        time.Duration // the wait of a receive, the delay of a return, the length of an extension
	ctx      context.Context
}

// calls remembers the calls of one method, and how many were in flight.
type calls struct {
	mu       sync.Mutex // guards the fields below
	all      []call
	inFlight int
	most     int
}

func (c *calls) begin(began time.Time, ctx context.Context, receipts []string, d time.Duration) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call{time.Since(began), slices.Clone(receipts), d, ctx})
	c.inFlight++
	c.most = max(c.most, c.inFlight)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inFlight--
	}
}

func (c *calls) list() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

func (c *calls) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight
}

// mostAtATime is the greatest number of calls in flight.
func (c *calls) mostAtATime() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// String has the time, the receipts and the duration of each call.
func (c *calls) String() string {
	var lines []string
	for _, each := range c.list() {
		slices.Sort(each.receipts)
		lines = append(lines, fmt.Sprintf("%s %s %s", each.at, strings.Join(each.receipts, ","), each.d))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// times are the times at which the calls began.
func (c *calls) times() (at []time.Duration) {
	for _, each := range c.list() {
		at = append(at, each.at)
	}
	return at
}

// fakeQueue gives its backlog out, and does what it is told, unless the test has another answer.
type fakeQueue struct {
	began                     time.Time
	mu                        sync.Mutex // guards the next three lines while the drain runs
	backlog                   []queue.Message
	lend                      func(ctx context.Context) ([]queue.Message, error) // nil for the backlog
	remove, giveBack, prolong func(ctx context.Context, receipts []string) []error

	receives, deletes, returns calls
	extensions                 calls
	leases                     calls // of the receives
}

// then changes the answers.
func (q *fakeQueue) then(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func (q *fakeQueue) Name() string { return "fake" }

func (q *fakeQueue) Receive(ctx context.Context, longest, lease time.Duration) ([]queue.Message, error) {
	defer q.receives.begin(q.began, ctx, nil, longest)()
	defer q.leases.begin(q.began, ctx, nil, lease)()
	q.mu.Lock()
	if lend := q.lend; lend != nil {
		q.mu.Unlock()
		return lend(ctx)
	}
	n := min(len(q.backlog), queue.BatchSize)
	batch := slices.Clone(q.backlog[:n]) // it belongs to the drain
	q.backlog = q.backlog[n:]
	q.mu.Unlock()
	if n > 0 {
		return batch, nil
	}
	return nil, wait.For(ctx, longest)
}

func (q *fakeQueue) Delete(ctx context.Context, receipts []string) []error {
	defer q.deletes.begin(q.began, ctx, receipts, 0)()
	return answer(ctx, receipts, q.remove)
}

func (q *fakeQueue) Return(ctx context.Context, receipts []string, after time.Duration) []error {
	defer q.returns.begin(q.began, ctx, receipts, after)()
	return answer(ctx, receipts, q.giveBack)
}

func (q *fakeQueue) Extend(ctx context.Context, receipts []string, lease time.Duration) []error {
	defer q.extensions.begin(q.began, ctx, receipts, lease)()
	return answer(ctx, receipts, q.prolong)
}

func answer(ctx context.Context, receipts []string, as func(context.Context, []string) []error) []error {
	if as == nil {
		return make([]error, len(receipts))
	}
	return as(ctx, receipts)
}

// fakePublisher stores everything, unless the test has another answer.
type fakePublisher struct {
	began time.Time
	mu    sync.Mutex // guards what follows until the empty line, while the drain runs
	told  [][]events.Event
	store func(ctx context.Context, e events.Event) error // nil for success
	known bool                                            // every event is a duplicate
	look  func() error

	publications calls
	looks        calls
}

// then changes the answers.
func (p *fakePublisher) then(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *fakePublisher) Look(ctx context.Context) error {
	defer p.looks.begin(p.began, ctx, nil, 0)()
	p.mu.Lock()
	look := p.look
	p.mu.Unlock()
	if look == nil {
		return nil
	}
	return look()
}

func (p *fakePublisher) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	defer p.publications.begin(p.began, ctx, nil, 0)()
	p.mu.Lock()
	p.told = append(p.told, slices.Clone(es))
	store, known := p.store, p.known
	p.mu.Unlock()
	errs := make([]error, len(es))
	for i, e := range es {
		if store != nil {
			errs[i] = store(ctx, e)
		}
	}
	return slices.Repeat([]bool{known}, len(es)), errs
}

func (p *fakePublisher) all() [][]events.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

// written is a log that a test can read.
type written struct{ testlog.Lines }

func (w *written) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// fakes is a drain in a bubble, between a queue and a publisher that answer as a test says.
type fakes struct {
	*Drain
	t       *testing.T
	queue   *fakeQueue
	publish *fakePublisher
	log     *written
	closed  chan struct{} // nil before the start
	done    chan struct{}
}

// withFakes runs f in a bubble, and then stops the drain.
func withFakes(t *testing.T, f func(*testing.T, *fakes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		b := &fakes{t: t, queue: &fakeQueue{began: now}, publish: &fakePublisher{began: now}, log: &written{}}
		b.Drain = &Drain{Source: PremiumSource("topic"), Queue: b.queue, Publish: b.publish, Now: time.Now, Log: b.log.logger()}
		f(t, b)
		if b.closed != nil {
			b.stop()
		}
	})
}

func (b *fakes) start() {
	b.closed, b.done = make(chan struct{}), make(chan struct{})
	go func() { defer close(b.done); b.Run(b.t.Context(), b.closed) }()
}

// stop stops the drain, and returns how long that took. It checks that Run leaves nothing behind.
func (b *fakes) stop() time.Duration {
	b.t.Helper()
	asked := time.Now()
	close(b.closed)
	<-b.done
	b.closed = nil
	took := time.Since(asked)
	for name, of := range map[string]*calls{
		"receive": &b.queue.receives, "delete": &b.queue.deletes, "return": &b.queue.returns, "extend": &b.queue.extensions,
		"publish": &b.publish.publications, "look": &b.publish.looks,
	} {
		if n := of.now(); n != 0 {
			b.t.Errorf("%s: %d calls go on after the end of Run", name, n)
		}
		for _, c := range of.list() {
			if c.ctx.Err() == nil {
				b.t.Errorf("%s after %s: its context lives on after the end of Run", name, c.at)
				break
			}
		}
	}
	return took
}

// after lets time pass, and then lets everything happen that happens at that time.
func (b *fakes) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// holds puts n upgrades into the queue: m0 of user u0 with receipt r0, and so on.
func (b *fakes) holds(n int) {
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	for i := range n {
		b.queue.backlog = append(b.queue.backlog, upgrade(i))
	}
}

func upgrade(i int) queue.Message {
	return queue.Message{ID: fmt.Sprintf("m%d", i), Receipt: fmt.Sprintf("r%d", i), Body: fmt.Sprintf(`{"user_id":"u%d"}`, i), SentAt: time.Now(), Receives: 1}
}

// tally compares the counters that a message ends in with want, and checks that they balance.
func (b *fakes) tally(want string) {
	b.t.Helper()
	t := &b.Tally
	got := fmt.Sprintf("%d published, %d duplicate, %d quarantined, %d returned, %d undeleted",
		t.Published.Load(), t.Duplicate.Load(), t.Quarantined.Load(), t.Returned.Load(), t.Undeleted.Load())
	if got != want {
		b.t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := t.InHand(); n != 0 {
		b.t.Errorf("%d messages are in no account", n)
	}
}

// logged checks that the log has each of the lines so many times.
func (b *fakes) logged(times int, lines ...string) {
	b.t.Helper()
	for _, line := range lines {
		if n := strings.Count(b.log.String(), line); n != times {
			b.t.Errorf("%d lines of the log have %q, want %d; the log:\n%s", n, line, times, b.log)
		}
	}
}

// is compares two things by how they are printed.
func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}

// each returns err for every receipt.
func each(err error) func(context.Context, []string) []error {
	return func(_ context.Context, receipts []string) []error { return slices.Repeat([]error{err}, len(receipts)) }
}

var (
	errAway    = fault.New(fault.Transient, errors.New("away"))
	errFull    = fault.New(fault.Throttled, errors.New("no room"))
	errInvalid = fault.New(fault.Invalid, errors.New("too large"))
	errGone    = fault.New(fault.NotFound, errors.New("the lease has ended"))
)
