package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Waiting reports whether the work queue of e has a message with e's subject, put aside
// or not. A work queue keeps a message until it is acked, so a message that a worker has
// counts too.
func (b *Bus) Waiting(ctx context.Context, e events.Event) (bool, error) {
	name, err := queueOf(e)
	if err != nil {
		return false, err
	}
	subjects := []string{e.Subject()}
	if t, ok := e.(events.ThawRequested); ok {
		subjects = append(subjects, strings.TrimSuffix(events.SubjectThawOld, "*")+events.Token(string(t.JobID)))
	}
	for _, subject := range subjects {
		found, err := b.has(ctx, name, subject)
		if found || err != nil {
			return found, err
		}
		n, err := b.count(ctx, name, asidePrefix+"*."+subject)
		if n > 0 || err != nil {
			return n > 0, err
		}
		// Meanwhile a message may have been brought back: it is stored under its own
		// subject before it is removed from the other one.
		if found, err = b.has(ctx, name, subject); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// has reports whether a stream has a message with a subject, which may have wildcards.
func (b *Bus) has(ctx context.Context, name, subject string) (bool, error) {
	st, err := b.Stream(ctx, name)
	if err == nil {
		_, err = st.GetLastMsgForSubject(ctx, subject)
	}
	b.heard(err)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fault.Errorf(fault.Transient, "look for %s in stream %s: %w", subject, name, err)
	}
	return true, nil
}

// queueOf returns the work queue of an event.
func queueOf(e events.Event) (string, error) {
	for _, t := range events.Types() {
		if t.Type == e.Type() && queueOfStream(t.Stream).consumer != "" {
			return t.Stream, nil
		}
	}
	return "", fault.Errorf(fault.Invalid, "a %s does not wait for anything", e.Type())
}

// Outstanding returns how many tasks of a user are in THAW, and at most the number most.
// Tasks that a worker has or that are put aside count too. A task that is just being put
// aside may count twice. Tasks of an older release, without the user in the subject, do
// not count.
func (b *Bus) Outstanding(ctx context.Context, user events.UserID, most int) (int, error) {
	n := 0
	for _, prefix := range []string{"", asidePrefix + "*."} {
		more, err := b.count(ctx, events.StreamThaw, prefix+events.ThawSubject(user))
		if err != nil {
			return 0, err
		}
		n += more
	}
	return min(n, most), nil
}

// count returns how many subjects with messages match a filter. The server counts them in
// its index, and does not send the subjects.
func (b *Bus) count(ctx context.Context, stream, filter string) (int, error) {
	if strings.Contains(filter, "..") || strings.HasSuffix(filter, ".") {
		return 0, fault.Errorf(fault.Invalid, "count %q in stream %s: an id is missing", filter, stream)
	}
	ask, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": math.MaxInt32})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, countWait)
	defer cancel()
	var said struct {
		Error *jetstream.APIError `json:"error"`
		Total int                 `json:"total"`
	}
	m, err := b.Conn.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+stream, ask)
	if err == nil {
		if err = json.Unmarshal(m.Data, &said); err == nil && said.Error != nil {
			err = said.Error
		}
	}
	b.heard(err)
	if err != nil {
		return 0, fault.Errorf(fault.Transient, "count %s in stream %s: %w", filter, stream, err)
	}
	return said.Total, nil
}

// countWait bounds the time of counting.
const countWait = 5 * time.Second

// Stream returns a stream by its name. It asks the server once, so the stream's
// CachedInfo may be old, and the stream may have been made anew meanwhile. Callers that
// store a sequence must ask JS.Stream.
func (b *Bus) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.kvsMu.Lock()
	st := b.streams[name]
	b.kvsMu.Unlock()
	if st != nil {
		return st, nil
	}
	st, err := b.JS.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%w: if it is not there, run `gas provision` once", err)
	}
	b.kvsMu.Lock()
	defer b.kvsMu.Unlock()
	if b.streams == nil {
		b.streams = map[string]jetstream.Stream{}
	}
	b.streams[name] = st
	return st, nil
}
