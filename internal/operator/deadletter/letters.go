// Package deadletter reads, replays and drops the letters of the DEAD stream, for operators.
// Workers and the bridge write them (internal/bus), and the server itself keeps its advisories
// there: both are told in the same words.
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
	// InStream: it still lies in its work queue, and nobody gets it.
	InStream Where = "in the stream"
	// Gone: it is not kept anywhere.
	Gone Where = "gone"
)

// Letter is one message of the DEAD stream, for people.
type Letter struct {
	// Seq is its number in the DEAD stream, StoredAt when it was stored there.
	Seq      uint64    `json:"seq"`
	StoredAt time.Time `json:"stored_at"`
	// What was written by JetStream in place of a service is told in the same words.
	events.DeadLetter
	// JobID and UserID are whose message it was, as far as it says.
	JobID  events.JobID  `json:"job_id,omitempty"`
	UserID events.UserID `json:"user_id,omitempty"`
	// Where the payload is; SourceSeq is its number in Stream if JetStream wrote the letter.
	Where     Where  `json:"payload_is"`
	SourceSeq uint64 `json:"source_seq,omitempty"`
	sourceAt  time.Time
}

// Filter says which letters are meant. The zero Filter means all.
type Filter struct {
	// Stream is the stream that the message came from, or [events.SourceSQS].
	Stream string
	User   events.UserID
	Job    events.JobID
	Kind   events.DeadKind
	// Cause is a letter's cause, small and large letters alike.
	Cause  string
	Reason *regexp.Regexp
	// Since and Until bound when the letter was stored.
	Since, Until time.Time
	// Limit is how many letters at most, the oldest first; 0 is all.
	Limit int

	after, upto uint64 // bound the letters' numbers; upto 0 is all
}

// Store is the stream of dead letters, for operators: it needs their permissions.
type Store struct {
	// UserOf returns whose a job is, for letters that name only the job. A job that is not
	// known is an error of kind NotFound. Without it such letters are nobody's.
	UserOf func(context.Context, events.JobID) (events.UserID, error)
	// Queues puts a message back into an SQS queue, by the queue's name.
	Queues map[string]func(context.Context, QueueMessage) error

	bus *bus.Bus
}

// Open returns the dead letters that lie in the bus.
func Open(b *bus.Bus) *Store { return &Store{bus: b} }

// Letter returns the letter with this number. One that is not there is an error of
// kind NotFound.
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

// idle is how long nothing may come before it is looked whether there is more.
const idle = 2 * time.Second

// Letters yields the letters that f means, the oldest first: those that are there
// when it begins. An error ends it. Memory does not depend on how many there are.
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
		// Else the server keeps it until it has been idle for long, and there is a limit.
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
			// The last of them may have been removed meanwhile.
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

// chunk is how many numbers of letters ForEach remembers.
const chunk = 500

// ForEach calls do for each letter that f means, the oldest first: those that are
// there when it begins. Unlike with [Store.Letters], do may take its time and remove letters.
// Letters that are gone when their turn comes are passed over; an error of do ends it.
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
				return fmt.Errorf("stream %s: %w meanwhile: its letters have other numbers", events.StreamDead, bus.ErrAnew)
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

// subjects returns the subjects under which the letters of f are stored, of those
// that the stream keeps; none for all.
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

// means reports whether f means l, and completes l when it may.
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
			return false, fmt.Errorf("whose job %q is: %w", l.JobID, err)
		}
		l.UserID = user
	}
	return l.UserID == f.User, nil
}

// readLetter makes a letter of a message in DEAD. For an advisory of JetStream it
// returns that too: the letter is then to be filled.
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
		e = e.Again() // of a message of SQS: the bridge keeps its attributes as they are
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

// owner returns whose message it is: by its subject, which is there even if the
// payload can't be read, and by the event in the payload.
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
	var ids []string // what follows the event's type
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
