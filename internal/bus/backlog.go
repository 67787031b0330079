package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Backlog says what is in a stream.
type Backlog struct {
	Messages uint64
	// OldestAt is when the oldest message was stored; zero if there is none. A message that
	// was put aside was stored again at that time.
	OldestAt time.Time
}

// Backlogs returns the backlog of each stream that the server described, and an error that
// names the others.
func (b *Bus) Backlogs(ctx context.Context, streams ...string) (map[string]Backlog, error) {
	all := map[string]Backlog{}
	var errs []error
	for _, name := range streams {
		st, err := b.JS.Stream(ctx, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("read stream %s: %w", name, err))
			continue
		}
		state := st.CachedInfo().State
		if state.Msgs == 0 {
			state.FirstTime = time.Time{}
		}
		all[name] = Backlog{Messages: state.Msgs, OldestAt: state.FirstTime}
	}
	return all, errors.Join(errs...)
}
