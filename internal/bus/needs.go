package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Needs lists what a user of the bus works with. If one thing is missing, the service
// runs but cannot do its work.
type Needs struct {
	// Queues are the work queues that it takes messages from.
	Queues []Queue
	// Streams are the streams that it reads.
	Streams []string
	// Buckets are the buckets that it reads.
	Buckets []string
	// Subjects are the subjects that it publishes to, with wildcards.
	Subjects []string
}

// Queue is a consumer that hands out work.
type Queue struct{ Stream, Consumer string }

// NeedsOf returns the needs of a user of the bus.
func NeedsOf(user string) Needs {
	switch user {
	case "bridge":
		return Needs{
			Streams:  []string{events.StreamPremium, events.StreamRestore, events.StreamDead},
			Subjects: []string{events.SubjectPremium, events.SubjectRestore, "dead.SQS.*"},
		}
	case "thaw":
		return Needs{
			Queues:   []Queue{{events.StreamPremium, ConsumerPlan}, {events.StreamThaw, ConsumerRequest}},
			Buckets:  []string{BucketAttempts, BucketPace, BucketPlans},
			Subjects: []string{"thaw.requested.*.*", "status.*.*", "dead.THAW.*", "aside.*.thaw.requested.*.*", "$KV." + BucketAttempts + "." + events.StreamThaw + ".*"},
		}
	case "sweep":
		return Needs{
			Streams:  []string{events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamDead, events.StreamStatus},
			Buckets:  []string{BucketSweep},
			Subjects: []string{events.SubjectPremium, "thaw.requested.*.*", events.SubjectRestore, "status.*.*"},
		}
	case "restore":
		return Needs{
			Queues:   []Queue{{events.StreamRestore, ConsumerRestore}},
			Buckets:  []string{BucketAttempts, BucketCopies},
			Subjects: []string{"thaw.requested.*.*", "status.*.*", "dead.RESTORE.*", "aside.*." + events.SubjectRestore, "$KV." + BucketAttempts + "." + events.StreamRestore + ".*"},
		}
	case "web":
		return Needs{
			Streams:  []string{events.StreamStatus},
			Buckets:  []string{BucketSessions, BucketLogins},
			Subjects: []string{"$KV." + BucketSessions + ".*", "$KV." + BucketLogins + ".*"},
		}
	}
	return Needs{}
}

// Outlook tells whether a service's next use of the bus would work. All callers share one
// answer for some seconds.
type Outlook struct {
	bus   *Bus
	needs Needs
	look  *Probe

	turn chan struct{} // its holder asks the server, and may change the fields below
	at   time.Time     // of the last answer
	err  error
}

// outlookFor is how long an answer is used.
const outlookFor = 2 * time.Second

// Outlook returns the outlook of a user of the bus.
func (b *Bus) Outlook(user string) *Outlook {
	n := NeedsOf(user)
	return &Outlook{bus: b, needs: n, look: NewProbe(b, n.Subjects...), turn: make(chan struct{}, 1)}
}

// Err returns an error that names each thing that is missing or not allowed, nil if there
// is none. It is a check for [daemon.Part].
func (o *Outlook) Err(ctx context.Context) error {
	if err := o.bus.Ready(ctx); err != nil {
		return err
	}
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.turn }()
	if !o.at.IsZero() && time.Since(o.at) < outlookFor {
		return o.err
	}
	err := o.ask(ctx)
	if ctx.Err() == nil {
		o.at, o.err = time.Now(), err
	}
	return err
}

func (o *Outlook) ask(ctx context.Context) error {
	errs := []error{o.bus.pulls.trouble()}
	for _, q := range o.needs.Queues {
		errs = append(errs, o.bus.CheckConsumer(ctx, q.Stream, q.Consumer))
	}
	errs = append(errs, o.bus.streamsThere(ctx, o.needs.Streams))
	for _, name := range o.needs.Buckets {
		if err := o.bus.CheckKV(ctx, name); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, o.look.Err(ctx))
	return errors.Join(errs...)
}

// streamsThere returns an error that names each missing stream.
func (b *Bus) streamsThere(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		if _, err := b.JS.Stream(ctx, name); err != nil {
			errs = append(errs, fault.Errorf(fault.Transient, "stream %s: %w: if it is not there, run `gas provision`", name, err))
		}
	}
	return errors.Join(errs...)
}

// pulls remembers since when nothing can be fetched from a consumer. A consumer can exist
// although this user may not pull from it: the server does not answer a user without
// permission.
type pulls struct {
	mu    sync.Mutex // guards since
	since map[string]failing
}

type failing struct {
	at  time.Time
	err error
}

// heard receives the outcome of each pull from a consumer.
func (p *pulls) heard(consumer string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.since, consumer)
		return
	}
	if p.since == nil {
		p.since = map[string]failing{}
	}
	f := p.since[consumer]
	if f.at.IsZero() {
		f.at = time.Now()
	}
	f.err = err
	p.since[consumer] = f
}

// fail reports whether the last pull from the consumer failed.
func (p *pulls) fail(consumer string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, failing := p.since[consumer]
	return failing
}

// trouble returns an error with the reason if a consumer has handed out nothing for too
// long.
func (p *pulls) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for consumer, f := range p.since {
		if silent := time.Since(f.at); silent >= failoverAfter {
			errs = append(errs, fmt.Errorf("nothing can be fetched from consumer %s for %s: %w", consumer, silent.Round(time.Second), f.err))
		}
	}
	return errors.Join(errs...)
}
