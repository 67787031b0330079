// Package deadletter reads, replays and drops the letters of the stream DEAD, for
// operators. Workers and the bridge write letters (internal/bus), and JetStream adds its
// advisories. This package shows both in the same form. See ADR 13.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Where says where the payload of a letter is.
type Where string

const (
	// InLetter: the letter has it.
	InLetter Where = "in the letter"
	// InStream: it is still in its work queue, and no worker gets it.
	InStream Where = "in the stream"
	// Gone: it is not stored anywhere.
	Gone Where = "gone"
)

// Letter is one message of the stream DEAD, for people.
type Letter struct {
	// Seq is its sequence in the stream DEAD, StoredAt the time when it was stored there.
	Seq      uint64    `json:"seq"`
	StoredAt time.Time `json:"stored_at"`
	// An advisory of JetStream is shown in the same form.
	events.DeadLetter
	// JobID and UserID are the job and the user of the message, as far as the message
	// says.
	JobID  events.JobID  `json:"job_id,omitempty"`
	UserID events.UserID `json:"user_id,omitempty"`
	// Where is the place of the payload; SourceSeq is its sequence in Stream if JetStream
	// wrote the letter.
	Where     Where  `json:"payload_is"`
	SourceSeq uint64 `json:"source_seq,omitempty"`
	sourceAt  time.Time
}

// Filter selects letters. The zero Filter selects all.
type Filter struct {
	// Stream is the stream of the original message, or [events.SourceSQS].
	Stream string
	User   events.UserID
	Job    events.JobID
	Kind   events.DeadKind
	// Cause is a letter's cause; upper and lower case are the same.
	Cause  string
	Reason *regexp.Regexp
	// Since and Until bound the time when the letter was stored.
	Since, Until time.Time
	// Limit is the greatest number of letters, the oldest first; 0 means all.
	Limit int

	after, upto uint64 // bound the letters' sequences; upto 0 means all
}

// Store is the stream of dead letters. It needs the operator's permissions.
type Store struct {
	// UserOf returns the user of a job, for letters that name only the job. The error's
	// kind is NotFound for an unknown job. Without UserOf, such letters have no user.
	UserOf func(context.Context, events.JobID) (events.UserID, error)
	// Queues puts a message back into an SQS queue, by the queue's name.
	Queues map[string]func(context.Context, QueueMessage) error

	bus *bus.Bus
}

// Open returns the dead letters of the bus.
func Open(b *bus.Bus) *Store { return &Store{bus: b} }

// Letter returns the letter with this sequence. The error's kind is NotFound if there is
// none.
func (d *Store) Letter(ctx context.Context, seq uint64) (Letter, error) {
	st, err := d.bus.Stream(ctx, events.StreamDead)
	if err != nil {
		return Letter{}, fmt.Errorf("stream %s: %w", events.StreamDead, err)
	}
	m, err := st.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Letter{}, fault.Errorf(fault.NotFound, "no dead letter %d", seq)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	l, adv := readLetter(m.Sequence, m.Time, m.Subject, m.Header, m.Data)
	if adv != nil {
		err = d.fill(ctx, &l, *adv)
	}
	return l, err
}

// consumerGone is how long the server keeps the consumer of a reader that is gone.
const consumerGone = 5 * time.Minute

// idle is how long nothing may arrive before the reader checks whether there is more.
const idle = 2 * time.Second

// Letters yields the letters that f selects and that exist at the beginning, the oldest
// first. An error ends the sequence. The memory does not depend on the number of letters.
func (d *Store) Letters(ctx context.Context, f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if err := d.letters(ctx, f, func(l Letter) bool { return yield(l, nil) }); err != nil {
			yield(Letter{}, err)
		}
	}
}

func (d *Store) letters(ctx context.Context, f Filter, yield func(Letter) bool) error {
	info, err := d.info(ctx)
	if err != nil {
		return err
	}
	last := info.State.LastSeq
	if f.upto > 0 {
		last = min(last, f.upto)
	}
	if f.after >= last {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects:    f.subjects(info.Config.Subjects),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.after + 1,
		InactiveThreshold: consumerGone,
	}
	if !f.Since.IsZero() && f.after == 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &f.Since
	}
	c, err := d.bus.JS.OrderedConsumer(ctx, events.StreamDead, cfg)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
	}
	defer func() {
		// Otherwise the server keeps the consumer until it has been idle for long, and
		// the number of consumers is limited.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idle)
		defer cancel()
		if ci := c.CachedInfo(); ci != nil {
			_ = d.bus.JS.DeleteConsumer(ctx, events.StreamDead, ci.Name)
		}
	}()
	if ci, err := c.Info(ctx); err != nil {
		return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
	} else if ci.NumPending == 0 {
		return nil
	}
	messages, err := c.Messages(jetstream.PullMaxBytes(8 << 20))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
	}
	defer messages.Stop()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	after, n := f.after, 0
	for {
		m, err := messages.Next(jetstream.NextMaxWait(idle))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrTimeout):
			// The last letters may have been removed meanwhile.
			ci, err := c.Info(ctx)
			if err != nil {
				return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
			}
			if ci.NumPending == 0 && ci.Delivered.Stream <= after {
				return nil
			}
			continue
		case err != nil:
			return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", events.StreamDead, err)
		}
		if after = meta.Sequence.Stream; after > last {
			return nil
		}
		if !f.Until.IsZero() && meta.Timestamp.After(f.Until) {
			return nil
		}
		l, adv := readLetter(after, meta.Timestamp, m.Subject(), m.Headers(), m.Data())
		means, err := d.means(ctx, f, &l, adv)
		if err != nil {
			return err
		}
		if means {
			if !yield(l) {
				return nil
			}
			if n++; n == f.Limit {
				return nil
			}
		}
		if meta.NumPending == 0 || after == last {
			return nil
		}
	}
}

// chunk is the number of letters' sequences that ForEach remembers.
const chunk = 500

// ForEach calls do for each letter that f selects and that exists at the beginning, the
// oldest first. Unlike with [Store.Letters], do may take long and may remove letters.
// ForEach skips letters that are gone when their turn comes. An error of do ends it.
func (d *Store) ForEach(ctx context.Context, f Filter, do func(Letter) error) error {
	info, err := d.info(ctx)
	if err != nil || info.State.LastSeq == 0 {
		return err
	}
	f.upto = info.State.LastSeq
	left := f.Limit
	for {
		f.Limit = chunk
		if left > 0 {
			f.Limit = min(chunk, left)
		}
		type place struct {
			seq uint64
			at  time.Time
		}
		places := make([]place, 0, f.Limit)
		if err := d.letters(ctx, f, func(l Letter) bool { places = append(places, place{l.Seq, l.StoredAt}); return true }); err != nil {
			return err
		}
		for _, p := range places {
			l, err := d.Letter(ctx, p.seq)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err == nil && !l.StoredAt.Equal(p.at) {
				return fmt.Errorf("stream %s: %w meanwhile: its letters have other sequences", events.StreamDead, bus.ErrAnew)
			}
			if err == nil {
				err = do(l)
			}
			if err != nil {
				return err
			}
		}
		if left > 0 {
			if left -= len(places); left == 0 {
				return nil
			}
		}
		if len(places) < f.Limit {
			return nil
		}
		f.after = places[len(places)-1].seq
	}
}

func (d *Store) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	st, err := d.bus.JS.Stream(ctx, events.StreamDead)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w: if it is not there, run `gas provision` once", events.StreamDead, err)
	}
	return st.CachedInfo(), nil
}

// subjects returns the subjects of the letters that f selects, among the subjects that
// the stream keeps; none means all.
func (f Filter) subjects(kept []string) []string {
	if f.Stream == "" {
		return nil
	}
	token := events.Token(f.Stream)
	filter := []string{"dead." + token + ".>"}
	if s := bus.AdvisorySubject(token); slices.Contains(kept, s) {
		filter = append(filter, s)
	}
	return filter
}

// means reports whether f selects l. It adds missing fields to l when needed.
func (d *Store) means(ctx context.Context, f Filter, l *Letter, adv *advisory) (bool, error) {
	if f.Kind != "" && l.Kind != f.Kind || f.Cause != "" && !strings.EqualFold(l.Cause, f.Cause) || !f.Since.IsZero() && l.StoredAt.Before(f.Since) {
		return false, nil
	}
	if adv != nil {
		if err := d.fill(ctx, l, *adv); err != nil {
			return false, err
		}
	}
	if f.Reason != nil && !f.Reason.MatchString(l.Reason) || f.Job != "" && l.JobID != f.Job {
		return false, nil
	}
	if f.User == "" {
		return true, nil
	}
	if l.UserID == "" && l.JobID != "" && d.UserOf != nil {
		user, err := d.UserOf(ctx, l.JobID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return false, fmt.Errorf("find the user of job %q: %w", l.JobID, err)
		}
		l.UserID = user
	}
	return l.UserID == f.User, nil
}

// readLetter makes a letter from a message in DEAD. For an advisory of JetStream it
// returns the advisory too, and the caller must fill the letter.
func readLetter(seq uint64, stored time.Time, subject string, header nats.Header, data []byte) (Letter, *advisory) {
	l := Letter{Seq: seq, StoredAt: stored.UTC(), Where: InLetter}
	if strings.HasPrefix(subject, "$JS.") {
		if adv, err := readAdvisory(data); err == nil {
			l.DeadLetter, l.SourceSeq = adv.letter(), adv.StreamSeq
			return l, &adv
		}
	}
	e, err := events.Decode[events.DeadLetter](data)
	if err != nil {
		l.DeadLetter = unreadable(subject, l.StoredAt, err)
		l.Header, l.Payload = header, data
		return l, nil
	}
	if len(e.ReplayOf) == 0 {
		e = e.Again() // for a message of SQS: the bridge keeps its attributes as they are
	}
	l.DeadLetter = e
	l.JobID, l.UserID = owner(e.SourceSubject, e.Payload)
	return l, nil
}

func unreadable(subject string, at time.Time, err error) events.DeadLetter {
	e := events.DeadLetter{Kind: events.DeadKindUnreadable, Reason: "not a dead letter: " + err.Error(), FirstAt: at, LastAt: at}
	tokens := strings.Split(subject, ".")
	if rest, ok := strings.CutPrefix(subject, bus.AdvisoryMaxDeliveries); ok {
		tokens = append([]string{"dead"}, strings.Split(rest, ".")...)
	}
	if len(tokens) > 2 {
		e.Stream, e.Consumer = tokens[1], tokens[2]
		if s, err := events.ParseToken(e.Stream); err == nil {
			e.Stream = s
		}
		if s, err := events.ParseToken(e.Consumer); err == nil {
			e.Consumer = s
		}
	}
	return e
}

// owner returns the job and the user of a message: from its subject, which exists even if
// the payload cannot be read, and from the event in the payload.
func owner(subject string, payload []byte) (job events.JobID, user events.UserID) {
	var env struct {
		Data struct {
			JobID  events.JobID  `json:"job_id"`
			UserID events.UserID `json:"user_id"`
		} `json:"data"`
	}
	if events.UnmarshalExact(payload, &env) == nil {
		job, user = env.Data.JobID, env.Data.UserID
	}
	stream := bus.StreamOf(subject)
	if stream == "" {
		return job, user
	}
	var ids []string // the tokens after the event's type
	for _, token := range strings.Split(subject, ".")[2:] {
		id, err := events.ParseToken(token)
		if err != nil {
			return job, user
		}
		ids = append(ids, id)
	}
	if stream == events.StreamPremium {
		return job, events.UserID(ids[0])
	}
	if len(ids) > 1 {
		user = events.UserID(ids[0])
	}
	job = events.JobID(ids[len(ids)-1])
	return job, user
}
