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

// Waiting reports whether the work-queue stream of e has a message with e's
// subject, or has one put aside. Such a stream keeps a message until it is acked, so one
// that is being worked on is waiting too.
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
		// One that was brought back between the two looks: it is stored there before it is
		// removed here.
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
		if t.Type == e.Type() && consumerOf(t.Stream) != "" {
			return t.Stream, nil
		}
	}
	return "", fault.Errorf(fault.Invalid, "a %s does not wait for anything", e.Type())
}

// Outstanding returns how many tasks of a user are in THAW, those that are worked on or
// put aside too; most at the most. A task that is just being put aside may count twice. What a release published that did not name the user is not
// counted.
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

// count returns how many subjects that match a filter a stream has messages under. The
// server looks them up in its index, and is not asked for the subjects themselves.
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

// countWait is the longest that counting may take.
const countWait = 5 * time.Second

// Stream returns a stream by its name, which is looked up once: what it tells by itself
// (its CachedInfo) is of then. The stream of that name may have been made anew since, and
// whoever keeps a number beside it asks JS.Stream.
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
