package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/pkg/events"
)

type deadListCmd struct {
	deadFilter
	JSON bool `help:"Write JSON, one object a line."`
}

func (c *deadListCmd) Run(ctx context.Context, std streams) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	b, dead, err := openDead(ctx, "gas-dead-list")
	if err != nil {
		return err
	}
	defer b.Close()
	out := bufio.NewWriter(std.out)
	defer out.Flush()
	// Rows are written at once. A table with fitted columns would need all letters in
	// memory.
	const row = "%-7v %-20s %-12s %-11s %-16s %8v  %-34s %s\n"
	enc := jsonLines(out)
	n := 0
	for l, err := range dead.Letters(ctx, f) {
		if err != nil {
			return err
		}
		if n++; c.JSON {
			if err := enc.Encode(l); err != nil {
				return err
			}
			continue
		}
		if n == 1 {
			fmt.Fprintf(out, row, "SEQ", "GIVEN UP", "FROM", "KIND", "CAUSE", "ATTEMPTS", "ABOUT", "REASON")
		}
		_, err := fmt.Fprintf(out, row, l.Seq, showTime(l.StoredAt), oneLine(l.Stream, 12), oneLine(string(l.Kind), 11), oneLine(cmp.Or(l.Cause, "-"), 16), l.Attempts, oneLine(about(l), 34), oneLine(brief(l.Reason), 240))
		if err != nil {
			return err
		}
	}
	if !c.JSON {
		fmt.Fprintln(out, letters(n))
	}
	return out.Flush()
}

// jsonLines returns an encoder that writes one object a line.
func jsonLines(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

func letters(n int) string {
	switch n {
	case 0:
		return "no dead letters"
	case 1:
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}

// about says in a word or two which work a letter belongs to.
func about(l deadletter.Letter) string {
	switch {
	case l.JobID != "":
		return "job " + string(l.JobID)
	case l.UserID != "":
		return "user " + string(l.UserID)
	case l.Stream == events.SourceSQS:
		return "queue " + l.Consumer
	case l.SourceSubject != "":
		return l.SourceSubject
	case l.SourceSeq != 0:
		return fmt.Sprintf("message %d of %s", l.SourceSeq, l.Stream)
	}
	return "-"
}

type deadShowCmd struct {
	Seq     uint64        `arg:"" help:"The letter's number, from the list."`
	JSON    bool          `help:"Write JSON."`
	Timeout time.Duration `default:"1m" help:"How long to try."`
}

func (c *deadShowCmd) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	b, dead, err := openDead(ctx, "gas-dead-show")
	if err != nil {
		return err
	}
	defer b.Close()
	l, err := dead.Letter(ctx, c.Seq)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(std.out, l)
	}
	return showLetter(std.out, l, dead.Replayable(l))
}

func showLetter(out io.Writer, l deadletter.Letter, replayable error) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, safe(fmt.Sprintf(format, args...)))
	}
	line("dead letter", "%d, given up %s", l.Seq, showTime(l.StoredAt))
	line("reason", "%s", l.Reason)
	line("kind", "%s", l.Kind)
	if l.Cause != "" {
		line("cause", "%s", l.Cause)
	}
	line("attempts", "%d, first %s, last %s", l.Attempts, showTime(l.FirstAt), showTime(l.LastAt))
	if l.Stream == events.SourceSQS {
		line("from", "SQS queue %s, before JetStream", l.Consumer)
	} else {
		line("from", "stream %s, consumer %s", l.Stream, l.Consumer)
	}
	for _, f := range []struct{ name, value string }{{"subject", l.SourceSubject}, {"job", string(l.JobID)}, {"user", string(l.UserID)}} {
		if f.value != "" {
			line(f.name, "%s", f.value)
		}
	}
	line("id", "%s", l.ID)
	for _, d := range slices.Backward(l.ReplayOf) {
		line("replay of", "dead letter %d, given up %s after %d attempts: %s", d.Seq, showTime(d.At), d.Attempts, d.Reason)
	}
	for _, k := range slices.Sorted(maps.Keys(l.Header)) {
		for _, v := range l.Header[k] {
			line("header", "%s: %s", k, v)
		}
	}
	line("payload", "%s, %d bytes", payloadIs(l), len(l.Payload))
	if err := w.Flush(); err != nil {
		return err
	}
	if len(l.Payload) > 0 {
		fmt.Fprintf(out, "\n%s\n", pretty(l.Payload))
	}
	_, err := fmt.Fprintf(out, "\nwhat to do: %s\n", safe(advice(l, replayable)))
	return err
}

func payloadIs(l deadletter.Letter) string {
	switch l.Where {
	case deadletter.InStream:
		return fmt.Sprintf("still message %d of stream %s", l.SourceSeq, l.Stream)
	case deadletter.Gone:
		return "not kept"
	}
	return "in the letter"
}

// advice says what an operator can do about a letter.
func advice(l deadletter.Letter, replayable error) string {
	replay := fmt.Sprintf("`gas dead replay %d`", l.Seq)
	drop := fmt.Sprintf("`gas dead drop %d`", l.Seq)
	if replayable != nil {
		tail := ". Read it and " + drop
		switch {
		case l.Where == deadletter.Gone:
			tail = ": " + drop
		case l.Stream == events.SourceSQS:
			tail = ". Set GAS_PREMIUM_QUEUE_URL or GAS_RESTORE_QUEUE_URL to that queue to send it there again, or " + drop
		}
		return replayable.Error() + tail
	}
	switch {
	case l.Kind == events.DeadKindUndelivered:
		return "`gas provision` removes the limit of deliveries; then " + replay + ", which also removes the stuck message"
	case l.Stream == events.SourceSQS:
		return "the bridge did not understand it. If its configuration was wrong (a topic's ARN, for example), fix that, and " + replay + " sends it to the queue again; if the sender was wrong, " + drop
	}
	switch l.Kind {
	case events.DeadKindCorrupt:
		return "the bytes were wrong, and nothing was deleted. " + replay + " fetches them anew; if the letter comes back, check the archive itself"
	case events.DeadKindDenied:
		return "allow what the reason says was refused (a policy, a role, a key), then " + replay
	case events.DeadKindNotFound:
		return "make the missing thing that the reason names, then " + replay + "; if it is gone for good, " + drop
	case events.DeadKindInvalid:
		return "fix what the reason names, in the catalog, in the bucket or at the sender, then " + replay + "; if nothing needs a fix, " + drop
	}
	return "fix the cause, then " + replay + ", which repeats no work that is already done; if there is nothing to do, " + drop
}

// pretty returns a payload for people: JSON with indents, other text without a change,
// and other bytes quoted.
func pretty(payload []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, payload, "", "  ") == nil {
		return safe(b.String())
	}
	return safe(string(payload))
}

// safe makes text from outside safe for a terminal: it writes characters that cannot be
// printed, such as escape sequences, in Go's notation.
func safe(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// brief returns a reason with its long words cut: they are Glacier's ids. `gas dead show`
// prints them in full.
func brief(reason string) string {
	words := strings.Fields(reason)
	for i, w := range words {
		if r := []rune(w); len(r) > 48 {
			words[i] = string(r[:12]) + "…"
		}
	}
	return strings.Join(words, " ")
}

// oneLine returns s on one line of at most n characters.
func oneLine(s string, n int) string {
	r := []rune(safe(strings.Join(strings.Fields(s), " ")))
	if len(r) > n {
		r = append(r[:n-1], '…')
	}
	return string(r)
}
