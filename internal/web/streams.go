package web

import (
	"slices"
	"sync"
)

// maxStreams bounds the live streams of one session. A browser has one for each tab. The
// stream of a page that is gone counts until a write to it fails.
const maxStreams = 16

// streams has the live streams, so that a stop and a sign-out can end them.
type streams struct {
	// wg counts the streams. Code adds to it under mu, and only while closed is false: so
	// nothing is added when close waits.
	wg    sync.WaitGroup
	meter Meter

	// mu guards closed and open.
	mu     sync.Mutex
	closed bool
	// open has the streams of each session, with the oldest first.
	open map[string][]*stream
}

// stream is one live stream of a session.
type stream struct {
	stop func()
}

func newStreams(m Meter) *streams { return &streams{meter: m, open: make(map[string][]*stream)} }

// enter adds a stream. stop must end the stream soon, even if nobody reads it, and must not
// wait. Call done once, when the stream has ended. If the session has too many streams,
// enter stops the oldest: its page is probably gone. ok is false if the site is closing.
func (s *streams) enter(session string, stop func()) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	if of := s.open[session]; len(of) >= maxStreams {
		of[0].stop()
		s.meter.Cut(cutTooMany)
		s.open[session] = of[1:]
	}
	st := &stream{stop: stop}
	s.open[session] = append(s.open[session], st)
	s.wg.Add(1)
	s.meter.Stream(1)
	return func() {
		defer s.wg.Done()
		s.meter.Stream(-1)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open[session] = slices.DeleteFunc(s.open[session], func(o *stream) bool { return o == st })
		if len(s.open[session]) == 0 {
			delete(s.open, session)
		}
	}, true
}

// leave ends the streams of a session.
func (s *streams) leave(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.open[session] {
		s.meter.Cut(cutSignedOut)
		st.stop()
	}
}

// close ends all streams, waits for them, and lets no new one in.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	for _, of := range s.open {
		for _, st := range of {
			s.meter.Cut(cutStopping)
			st.stop()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}
