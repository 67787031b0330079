// Package testlog has a log that a test reads while others write it.
package testlog

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lines collects what is written to it. The zero Lines is empty and ready.
type Lines struct {
	mu   sync.Mutex // guards what follows
	b    bytes.Buffer
	news chan struct{} // closed with the next line, if somebody waits
}

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
	return l.b.Write(p)
}

// String returns everything that was written.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// With returns the lines that have all the words.
func (l *Lines) With(words ...string) (found []string) {
next:
	for line := range strings.Lines(l.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// Await waits until a line has all the words, and returns those that have. The test fails if
// there is none within a minute.
func (l *Lines) Await(t testing.TB, words ...string) []string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		l.mu.Lock()
		if l.news == nil {
			l.news = make(chan struct{})
		}
		news := l.news
		l.mu.Unlock()
		if found := l.With(words...); len(found) > 0 {
			return found
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("no line in the log with %q", words)
		}
	}
}
