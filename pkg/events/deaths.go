package events

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Death is one dead letter of a message that was replayed since.
type Death struct {
	// Seq is where it was in the DEAD stream, ID its message id there.
	Seq uint64 `json:"seq"`
	ID  string `json:"id"`
	// At is when the message was given up.
	At time.Time `json:"at"`
	// Attempts counts the tries up to then, since FirstAt.
	Attempts int       `json:"attempts"`
	FirstAt  time.Time `json:"first_at"`
	// Reason is the beginning of that dead letter's reason.
	Reason string `json:"reason"`
}

const (
	// maxDeaths is how many deaths a message remembers, the latest.
	maxDeaths = 8
	// maxDeathReason is how much of each reason it remembers, in bytes: that of a
	// restore has three long ids before it comes to the point.
	maxDeathReason = 1000
)

// EncodeDeaths returns the value of [HeaderReplayOf]: one line of JSON, with the
// latest eight deaths and the beginnings of their reasons.
func EncodeDeaths(deaths []Death) (string, error) {
	kept := append([]Death(nil), deaths[max(len(deaths)-maxDeaths, 0):]...)
	for i := range kept {
		kept[i].Reason = Cut(kept[i].Reason, maxDeathReason)
	}
	b, err := marshal(kept)
	return string(b), err
}

// Deaths returns the earlier dead letters of a message with this header, the
// oldest first; none if the header does not say so in a way that can be read.
func Deaths(header map[string][]string) []Death {
	values := header[HeaderReplayOf]
	if len(values) != 1 {
		return nil
	}
	var deaths []Death
	if UnmarshalExact([]byte(values[0]), &deaths) != nil {
		return nil
	}
	return deaths[max(len(deaths)-maxDeaths, 0):]
}

// Again returns the letter of a message that may be a replay: the earlier deaths in
// its header are in ReplayOf, and count in Attempts and FirstAt.
func (e DeadLetter) Again() DeadLetter {
	deaths := Deaths(e.Header)
	if len(deaths) == 0 {
		return e
	}
	last := deaths[len(deaths)-1]
	e.ReplayOf = deaths
	e.Attempts += max(last.Attempts, 0)
	if !last.FirstAt.IsZero() && last.FirstAt.Before(e.FirstAt) {
		e.FirstAt = last.FirstAt
	}
	header := make(map[string][]string, len(e.Header))
	for k, v := range e.Header {
		if k != HeaderReplayOf {
			header[k] = v
		}
	}
	e.Header = header
	return e
}

// Death returns what a replay remembers of this letter; seq is the letter's place in
// the DEAD stream.
func (e DeadLetter) Death(seq uint64) Death {
	return Death{Seq: seq, ID: e.MessageID(), At: e.LastAt, Attempts: e.Attempts, FirstAt: e.FirstAt, Reason: e.Reason}
}

// ReplayID returns the message id of the letter's replay. It follows from the letter, so
// that JetStream stores a replay once that was cut short and is done again. It is not the id
// that the message had, because JetStream would take that for a repetition.
func (e DeadLetter) ReplayID() string { return "replay:" + e.MessageID() }

// Replay returns the message that puts the letter's payload back where it came from; seq
// is the letter's sequence in the DEAD stream. Fix the cause, publish the message, and
// delete the letter from DEAD when JetStream has stored it. A letter from SQS has no
// subject: send its payload to the queue again.
func (e DeadLetter) Replay(seq uint64) (Message, error) {
	if owner(e.SourceSubject) == "" {
		return Message{}, fmt.Errorf("replay: nothing can be published under subject %q", e.SourceSubject)
	}
	deaths, err := EncodeDeaths(append(slices.Clip(e.ReplayOf), e.Death(seq)))
	if err != nil {
		return Message{}, fmt.Errorf("replay: %w", err)
	}
	header := make(map[string][]string, len(e.Header)+2)
	for k, v := range e.Header {
		// JetStream's own headers are about the first publication: its place in a batch, say.
		if !strings.HasPrefix(k, "Nats-") && k != HeaderAttempts {
			header[k] = v
		}
	}
	header[HeaderMsgID], header[HeaderReplayOf] = []string{e.ReplayID()}, []string{deaths}
	return Message{Subject: e.SourceSubject, Header: header, Data: e.Payload}, nil
}

// Cut returns at most n bytes of s, whole characters. A cut string ends with "…".
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n]) + "…"
}
