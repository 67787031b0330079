package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place in a stream. A stream that was deleted and made anew counts from 1
// again, and its numbers say nothing about the earlier stream: so a position names the
// stream's incarnation.
type Position struct {
	// Incarnation names the stream between two makings; see [Incarnation]. It is empty in a
	// position as older releases told it, and in the zero Position, the beginning of any stream.
	Incarnation string
	// Seq is the sequence of a message there, 0 in front of the first.
	Seq uint64
}

// Incarnation returns the name of the stream that was made then: a short token.
func Incarnation(created time.Time) string { return strconv.FormatInt(created.UnixNano(), 36) }

// String returns the position as [ParsePosition] reads it: "incarnation-sequence", or
// the sequence alone.
func (p Position) String() string {
	seq := strconv.FormatUint(p.Seq, 10)
	if p.Incarnation == "" {
		return seq
	}
	return p.Incarnation + "-" + seq
}

// ParsePosition reads a position. The error says why it is none.
func ParsePosition(s string) (Position, error) {
	incarnation, number, ok := strings.Cut(s, "-")
	if !ok {
		incarnation, number = "", s
	} else if made, err := strconv.ParseInt(incarnation, 36, 64); err != nil || strconv.FormatInt(made, 36) != incarnation {
		return Position{}, fmt.Errorf("position %.40q: %.20q names no stream", s, incarnation)
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("position %.40q: %.20q is no sequence", s, number)
	}
	return Position{Incarnation: incarnation, Seq: seq}, nil
}
