// Package acts keeps the record of what operators did: who, when and why. The record is the
// stream AUDIT, from which nothing can be removed. A command that changes something does it
// through [Log.Do], so that no act is without a record.
package acts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// Act is what an operator is about to do.
type Act struct {
	Kind events.Act
	// By says who acts, and On at which machine. Why is the operator's reason, and may be empty.
	By, On, Why string
	// Command is the command line.
	Command string
	// User and Job are what the act is about; empty if it is about no user or no job.
	User events.UserID
	Job  events.JobID
}

// The limits of a record's texts, in bytes.
const (
	// MaxWhy is the longest reason.
	MaxWhy     = 500
	maxCommand = 2000
	maxDid     = 1000
)

// endTime bounds the time for writing how an act ended.
const endTime = 45 * time.Second

// tries is how often a record is written when the stream does not answer, and pause is the time
// between two tries. A stream that chooses a leader is silent for some seconds. Each try has the
// same id, so the stream has the record once.
const (
	tries = 4
	pause = time.Second
)

func (l *Log) write(ctx context.Context, e events.OperatorActed) error {
	for n := 1; ; n++ {
		_, err := l.bus.Publish(ctx, e)
		silent := errors.Is(err, jetstream.ErrAsyncPublishTimeout) || errors.Is(err, jetstream.ErrNoStreamResponse)
		if err == nil || !silent || n == tries {
			return err
		}
		if wait.For(ctx, pause) != nil {
			return err
		}
	}
}

// Log is the record of acts.
type Log struct {
	bus *bus.Bus
	as  string
	now func() time.Time
}

// Open returns the record of the bus. as is the NATS user of the connection, which must be an
// operator's.
func Open(b *bus.Bus, as string) *Log { return &Log{bus: b, as: as, now: time.Now} }

// Do records the act, calls do, and records how it ended. If the act cannot be recorded, do is
// not called. do returns what it did, in words, also when it fails. If only the end cannot be
// recorded, the error says so, and the record says that nobody knows how the act ended.
func (l *Log) Do(ctx context.Context, a Act, do func(context.Context) (did string, err error)) error {
	if len(a.Why) > MaxWhy {
		return fmt.Errorf("the reason has %d bytes, %d at most", len(a.Why), MaxWhy)
	}
	e := events.OperatorActed{
		ID: rand.Text(), Act: a.Kind, At: l.now().UTC(), By: a.By, On: a.On, As: l.as, Why: a.Why, Command: text.Clip(a.Command, maxCommand), UserID: a.User, JobID: a.Job,
	}
	if err := l.write(ctx, e); err != nil {
		return fmt.Errorf("nothing was done, because it cannot be recorded in stream %s: %w", events.StreamAudit, err)
	}
	did, err := do(ctx)
	e.Outcome, e.Did, e.EndedAt = events.ActDone, text.Clip(did, maxDid), l.now().UTC()
	if err != nil {
		e.Outcome, e.Error = events.ActFailed, text.Clip(err.Error(), maxDid)
	}
	// An operator who interrupts the command ends ctx.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if perr := l.write(ctx, e); perr != nil {
		done := "it is done"
		if err != nil {
			done = "it failed"
		}
		return errors.Join(err, fmt.Errorf("%s, but stream %s does not say so: %w", done, events.StreamAudit, perr))
	}
	return err
}

// Filter selects acts. Its zero value selects all.
type Filter struct {
	// Since and Until bound the time when the act began.
	Since, Until time.Time
	User         events.UserID
	By           string
	Kind         events.Act
}

func (f Filter) selects(e events.OperatorActed) bool {
	return !e.At.Before(f.Since) && (f.Until.IsZero() || !e.At.After(f.Until)) &&
		(f.User == "" || e.UserID == f.User) && (f.By == "" || e.By == f.By) && (f.Kind == "" || e.Act == f.Kind)
}

// readWait is how long one message may take to arrive.
const readWait = 5 * time.Second

// consumerGone is how long the server keeps the consumer of a reader that is gone.
const consumerGone = time.Minute

// skew is how far a clock of an operator may be ahead of the server's.
const skew = time.Hour

// Acts returns the acts that f selects, in the order in which they began. An act without an
// outcome is under way, or nobody knows how it ended.
func (l *Log) Acts(ctx context.Context, f Filter) ([]events.OperatorActed, error) {
	var all []events.OperatorActed
	at := map[string]int{} // the act's index in all, by its id
	for e, err := range l.read(ctx, f.Since) {
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", events.StreamAudit, err)
		}
		if !f.selects(e) {
			continue
		}
		i, known := at[e.ID]
		switch {
		case !known:
			at[e.ID] = len(all)
			all = append(all, e)
		case e.Outcome != "":
			all[i] = e
		}
	}
	return all, nil
}

// read yields the events that are in the stream at the beginning.
func (l *Log) read(ctx context.Context, since time.Time) iter.Seq2[events.OperatorActed, error] {
	return func(yield func(events.OperatorActed, error) bool) {
		fail := func(err error) { yield(events.OperatorActed{}, err) }
		cfg := jetstream.OrderedConsumerConfig{InactiveThreshold: consumerGone}
		if !since.IsZero() {
			from := since.Add(-skew)
			cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
		}
		c, err := l.bus.JS.OrderedConsumer(ctx, events.StreamAudit, cfg)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = fmt.Errorf("%w: run `gas provision` once", err)
		}
		if err != nil {
			fail(err)
			return
		}
		if info := c.CachedInfo(); info != nil {
			defer func() {
				done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				_ = l.bus.JS.DeleteConsumer(done, events.StreamAudit, info.Name)
			}()
			if info.NumPending == 0 {
				return
			}
		}
		messages, err := c.Messages()
		if err != nil {
			fail(err)
			return
		}
		defer messages.Stop()
		for {
			next, cancel := context.WithTimeout(ctx, readWait)
			m, err := messages.Next(jetstream.NextContext(next))
			cancel()
			if err != nil {
				fail(err)
				return
			}
			meta, err := m.Metadata()
			if err != nil {
				fail(err)
				return
			}
			e, err := events.Decode[events.OperatorActed](m.Data())
			if err != nil {
				// An operator may write anything there. It must not hide the rest.
				e = events.OperatorActed{ID: fmt.Sprint("message ", meta.Sequence.Stream), By: "unknown", At: meta.Timestamp, Error: "not a record of an act: " + err.Error()}
			}
			if !yield(e, nil) || meta.NumPending == 0 {
				return
			}
		}
	}
}
