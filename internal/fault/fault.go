// Package fault names the kinds of error that the bus can act on. An adapter gives the error
// of an outside service a kind. A handler returns the error. The bus decides by the kind
// whether the message comes back, and when, or becomes a dead letter. No code branches on an
// error's text.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// Kind groups errors by what can be done about them.
type Kind int

// The kinds. The zero Kind is Unknown: the message comes back later. If that does not help
// for a long time, it becomes a dead letter.
const (
	// Unknown is every error that nobody classified.
	Unknown Kind = iota
	// Transient trouble ends without help (a timeout, a 5xx, a cut connection): try again
	// later, as often as needed.
	Transient
	// Throttled is like Transient, and the service wants fewer calls.
	Throttled
	// Capacity means that the retrieval tier has no capacity now.
	Capacity
	// Policy means that the vault's data retrieval policy refused the request.
	Policy
	// Wait means that the time has not come: another worker holds the intent,
	// or a budget holds the plan. It burns no attempt.
	Wait
	// Conflict means that the condition of a write did not hold: somebody else wrote first.
	Conflict
	// NotFound means that the thing named does not exist (any more).
	NotFound
	// Denied means that a credential or policy forbids the call. An operator can fix it,
	// so it is tried again, slowly.
	Denied
	// Invalid means that the input can never be handled: a dead letter.
	Invalid
	// Corrupt means that bytes do not match their hash.
	Corrupt
)

var names = [...]events.DeadKind{
	events.DeadKindUnknown, events.DeadKindTransient, events.DeadKindThrottled, events.DeadKindCapacity, events.DeadKindPolicy, events.DeadKindWait,
	events.DeadKindConflict, events.DeadKindNotFound, events.DeadKindDenied, events.DeadKindInvalid, events.DeadKindCorrupt,
}

// String returns the kind's name, as it stands in dead letters and metrics.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return string(names[k])
}

// Kinds returns all kinds.
func Kinds() []Kind {
	all := make([]Kind, len(names))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is an error with a kind.
type Error struct {
	Kind Kind
	// After is the shortest wait before another try; if it is zero, the bus decides.
	After time.Duration
	// Cause names what must be fixed, in a word or two that stay the same each time ("key
	// occupied"); empty if the kind says enough. Two dead letters of one message with one
	// kind and one cause say the same.
	Cause string
	// Owner is the user of the work; empty if unknown. A failure for one user alone may
	// have a cause that does not affect others.
	Owner string
	Err   error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns err with kind. It returns nil if err is nil.
func New(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err}
}

// Errorf is fmt.Errorf with a kind.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// After returns err with kind and the shortest wait before another try.
func After(kind Kind, d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, After: d, Err: err}
}

// Because returns err with kind and with the name of what must be fixed.
func Because(kind Kind, cause string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Cause: cause, Err: err}
}

// Of returns err with the same kind, and with the user of the work.
func Of(owner string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), After: DelayOf(err), Owner: owner, Err: err}
}

// OwnerOf returns the user of the work: the owner of the outermost [Error] in err's
// chain; empty if it has none.
func OwnerOf(err error) string {
	if fe, ok := errors.AsType[*Error](err); ok {
		return fe.Owner
	}
	return ""
}

// KindOf returns the kind of the outermost [Error] in err's chain. A context's
// deadline is Transient; anything else without a kind is Unknown.
func KindOf(err error) Kind {
	if fe, ok := errors.AsType[*Error](err); ok {
		return fe.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Transient
	}
	return Unknown
}

// Is reports whether err is of kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// DelayOf returns the shortest wait before another try, zero if err has none.
func DelayOf(err error) time.Duration {
	if fe, ok := errors.AsType[*Error](err); ok {
		return fe.After
	}
	return 0
}

// CauseOf returns the name of what must be fixed: the cause of the outermost [Error] in
// err's chain that has one; empty if none has.
func CauseOf(err error) string {
	for {
		fe, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if fe.Cause != "" {
			return fe.Cause
		}
		err = fe.Err
	}
}
