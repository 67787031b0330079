package web

import "sync"

// maxStreams bounds the live streams of one session: a browser has one for
// each tab.
const maxStreams = 16

// streams knows the live streams, so that a stop and a sign-out can end them.
type streams struct {
	// wg counts them. It is added to under mu while closed is false, so that
	// nothing is added once close waits.
	wg sync.WaitGroup

	// mu guards closed and open.
	mu     sync.Mutex
	closed bool
	open   map[string]map[*stream]bool
}

// stream is one live stream of a session.
type stream struct {
	stop func()
}

func newStreams() *streams { return &streams{open: make(map[string]map[*stream]bool)} }

// enter adds a stream. stop ends it soon, even if nobody reads it, and must not
// wait; done must be called once when it has ended. ok is false if there are
// too many or the site is closing.
func (s *streams) enter(session string, stop func()) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open[session]) >= maxStreams {
		return nil, false
	}
	st := &stream{stop: stop}
	if s.open[session] == nil {
		s.open[session] = make(map[*stream]bool)
	}
	s.open[session][st] = true
	s.wg.Add(1)
	return func() {
		defer s.wg.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open[session], st)
		if len(s.open[session]) == 0 {
			delete(s.open, session)
		}
	}, true
}

// leave ends the streams of a session.
func (s *streams) leave(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open[session] {
		st.stop()
	}
}

// close ends all streams, waits for them, and lets no other in.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	for _, of := range s.open {
		for st := range of {
			st.stop()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}
