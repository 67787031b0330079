package sns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// tryTime is how long an endpoint has to answer, as AWS says.
const tryTime = 15 * time.Second

// delivery is a message on its way to an HTTP endpoint, as it is stored.
type delivery struct {
	Key          string `json:"key"`
	Type         string `json:"type"`
	MessageID    string `json:"message"`
	Topic        string `json:"topic"`
	Subscription string `json:"subscription"`
	Endpoint     string `json:"endpoint"`
	Body         string `json:"body"`
	Raw          bool   `json:"raw,omitempty"`
	DeadLetters  string `json:"deadLetters,omitempty"` // ARN of a queue
	Tries        int    `json:"tries,omitempty"`
	Next         int64  `json:"next"` // milliseconds: not before
}

// dispatcher makes the stored deliveries, some at a time for each endpoint.
type dispatcher struct {
	s      *Service
	signal chan struct{}

	mu    sync.Mutex // guards what follows
	seq   int
	lanes map[string]*lane
}

// lane is what goes to one endpoint.
type lane struct {
	due     []delivery
	running int
}

func newDispatcher(s *Service) *dispatcher {
	d := &dispatcher{s: s, signal: make(chan struct{}, 1), lanes: map[string]*lane{}}
	for _, row := range s.deliveries.Prefix("") {
		d.schedule(row)
	}
	return d
}

// add stores a confirmation for its endpoint.
func (d *dispatcher) add(sub subscription, m Message) {
	sub.Raw, sub.Redrive = false, ""
	d.addBody(sub, m, string(d.s.Envelope(m)))
}

// addBody stores a message for its endpoint. After it returns, the message will be
// delivered, or tried as often as the settings say.
func (d *dispatcher) addBody(sub subscription, m Message, body string) {
	now := d.s.w.Clock.Now()
	d.mu.Lock()
	d.seq++
	key := fmt.Sprintf("%020d-%08x-%s", now.UnixNano(), d.seq, world.ID(4))
	d.mu.Unlock()
	row := delivery{
		Key: key, Type: m.Type, MessageID: m.MessageID, Topic: m.TopicARN,
		Subscription: sub.ARN, Endpoint: sub.Endpoint, Body: body, Raw: sub.Raw, DeadLetters: sub.deadLetters(),
		Next: now.UnixMilli(),
	}
	d.s.deliveries.Put(key, row)
	d.schedule(row)
}

// schedule makes row due when its time has come.
func (d *dispatcher) schedule(row delivery) {
	ready := func() {
		d.mu.Lock()
		l := d.lanes[row.Endpoint]
		if l == nil {
			l = &lane{}
			d.lanes[row.Endpoint] = l
		}
		l.due = append(l.due, row)
		d.mu.Unlock()
		select {
		case d.signal <- struct{}{}:
		default:
		}
	}
	if next := time.UnixMilli(row.Next); next.After(d.s.w.Clock.Now()) {
		d.s.w.Clock.At(next, ready)
		return
	}
	ready()
}

// run starts the deliveries that are due, until ctx ends, and waits for them.
func (d *dispatcher) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		d.mu.Lock()
		for _, l := range d.lanes {
			for range min(len(l.due), d.s.cfg.HTTPConcurrency-l.running) {
				l.running++
				workers.Go(func() { d.work(ctx, l) })
			}
		}
		d.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-d.signal:
		}
	}
}

// work makes the deliveries of a lane until none is due.
func (d *dispatcher) work(ctx context.Context, l *lane) {
	for {
		d.mu.Lock()
		if len(l.due) == 0 || ctx.Err() != nil {
			l.running--
			d.mu.Unlock()
			return
		}
		row := l.due[0]
		l.due = l.due[1:]
		d.mu.Unlock()
		d.deliver(ctx, row)
	}
}

// errPermanent is in the error of a try that no other will better.
var errPermanent = errors.New("permanent failure")

func (d *dispatcher) deliver(ctx context.Context, row delivery) {
	err := d.try(ctx, row)
	if ctx.Err() != nil && err != nil {
		return // the next start tries again
	}
	row.Tries++
	if err != nil && !errors.Is(err, errPermanent) && row.Tries <= d.s.cfg.HTTPRetries {
		row.Next = d.s.w.Clock.Now().Add(d.s.cfg.HTTPRetryDelay).UnixMilli()
		d.s.deliveries.Put(row.Key, row)
		d.schedule(row)
		return
	}
	if err != nil && row.Type == TypeNotification {
		d.s.giveUp(row.DeadLetters, row.Topic, row.Body, nil)
	}
	d.s.deliveries.Delete(row.Key)
}

func (d *dispatcher) try(ctx context.Context, row delivery) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, row.Endpoint, strings.NewReader(row.Body))
	if err != nil {
		return fmt.Errorf("%w: %w", errPermanent, err)
	}
	r.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	r.Header.Set("User-Agent", "Amazon Simple Notification Service Agent")
	r.Header.Set("X-Amz-Sns-Message-Type", row.Type)
	r.Header.Set("X-Amz-Sns-Message-Id", row.MessageID)
	r.Header.Set("X-Amz-Sns-Topic-Arn", row.Topic)
	if row.Type != TypeSubscriptionConfirmation {
		r.Header.Set("X-Amz-Sns-Subscription-Arn", row.Subscription)
	}
	if row.Raw {
		r.Header.Set("X-Amz-Sns-Rawdelivery", "true")
	}
	resp, err := d.s.cfg.HTTPClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return fmt.Errorf("%w: status %d", errPermanent, resp.StatusCode)
}

// PendingDeliveries returns how many HTTP deliveries are not done yet.
func (s *Service) PendingDeliveries() int { return s.deliveries.Len() }

// loopbackClient returns a client that connects to this machine only, unless
// remote says otherwise, and follows no redirect.
func loopbackClient(remote bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !remote && !isLoopback(host) {
			return fmt.Errorf("the stand-in connects to this machine only, not to %s", address)
		}
		return nil
	}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     5 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
