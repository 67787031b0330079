package web

import (
	"context"
	"sync"

	"github.com/gas-restore/gas/internal/outage"
)

// lacks are the outages that pages live with, by the words of the log.
type lacks struct {
	mu sync.Mutex // guards of
	of map[string]*outage.Log
}

func (l *lacks) log(what string) *outage.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]*outage.Log{}
	}
	if l.of[what] == nil {
		l.of[what] = &outage.Log{}
	}
	return l.of[what]
}

// lack logs that pages are shown without something, once for an outage. Callers have few
// texts for what.
func (s *Server) lack(ctx context.Context, what string, err error, args ...any) {
	s.lacks.log(what).Failed(s.log, what, append(args, "request", requestOf(ctx).id, "err", err.Error())...)
}
