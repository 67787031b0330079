package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// storing remembers since when JetStream stores nothing of ours. A server that had a full
// disk still answers pings, reads and pulls, and calls itself healthy, but stores nothing
// until it is restarted. Only a publisher sees that.
type storing struct {
	mu    sync.Mutex // guards what follows
	since time.Time  // of the first failure since something was stored; zero if it works
	err   error      // the latest failure
}

// storesNothingAfter is how long nothing may be stored before somebody should check the
// server. An election in a cluster takes less.
const storesNothingAfter = failoverAfter

// heard receives the outcome of each publication.
func (s *storing) heard(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil || streamFull(err): // a full stream waits for its work to be done
		s.since, s.err = time.Time{}, nil
	case errors.Is(err, context.Canceled): // nobody waited for the answer
	default:
		if s.since.IsZero() {
			s.since = time.Now()
		}
		s.err = err
	}
}

// trouble returns an error if nothing has been stored for too long.
func (s *storing) trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return nil
	}
	silent := time.Since(s.since)
	if silent < storesNothingAfter {
		return nil
	}
	return fmt.Errorf("jetstream has stored nothing for %s; %s: %w", silent.Round(time.Second), remedy(s.err), s.err)
}

// remedy returns advice for an error of storing.
func remedy(err error) string {
	api, _ := errors.AsType[*jetstream.APIError](err)
	switch {
	case !full(err):
		return "a server that had a full disk must be restarted"
	case api.ErrorCode == errAccountLimit:
		return "the account's limit of storage is reached: raise it in the server's configuration, or see what fills it (`nats account info`)"
	}
	return "the server's JetStream has no room: raise max_file_store, or see what fills it (`nats stream report`)"
}
