package testenv

import (
	"errors"
	"slices"
	"sync"

	"github.com/gas-restore/gas/internal/fault"
)

// Breakage is how a call of a port goes wrong.
type Breakage int

// The ways in which a call breaks.
const (
	DieBefore   Breakage = iota // the process is gone before the call
	DieAfter                    // the call took effect, then the process is gone
	ErrorAfter                  // the call took effect and the caller sees an error
	ErrorBefore                 // the call did nothing and the caller sees an error
)

// Breakages are all of them.
var Breakages = []Breakage{DieBefore, DieAfter, ErrorAfter, ErrorBefore}

func (b Breakage) String() string {
	return [...]string{"dies before", "dies after", "error after", "error before"}[b]
}

// ErrDead is what a process sees of the world when it is dead.
var ErrDead = errors.New("the process is dead")

// Life is one process: every call of every port goes through it, in order, and
// at one of them it breaks. Once dead, no call does anything any more: what the
// code still runs has no effect, as if it did not run.
type Life struct {
	At  int    // the number of the call that breaks; -1 for none
	On  string // or its name: its first call, for calls that come in any order
	How Breakage

	mu    sync.Mutex // guards calls and dead
	calls []string
	dead  bool
}

// Call does what the port's method called name does, or breaks.
func (l *Life) Call(name string, do func() error) error {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return ErrDead
	}
	hit := len(l.calls) == l.At || name == l.On && !slices.Contains(l.calls, name)
	l.calls = append(l.calls, name)
	if hit && l.How == DieBefore {
		l.dead = true
	}
	l.mu.Unlock()
	switch {
	case !hit:
		return do()
	case l.How == DieBefore:
		return ErrDead
	case l.How == ErrorBefore:
		return fault.Errorf(fault.Transient, "%s: injected, nothing happened", name)
	}
	err := do()
	if l.How == DieAfter {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dead = true
		return ErrDead
	}
	if err != nil {
		return err
	}
	return fault.Errorf(fault.Transient, "%s: injected, though it took effect", name)
}

// Broke returns the call that broke; empty if the process did not come to it.
func (l *Life) Broke() string {
	calls := l.Calls()
	if l.On != "" && slices.Contains(calls, l.On) {
		return l.On
	}
	if l.At < 0 || l.At >= len(calls) {
		return ""
	}
	return calls[l.At]
}

// Calls returns the calls that were made, in order.
func (l *Life) Calls() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// Dead reports whether the process is.
func (l *Life) Dead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}
