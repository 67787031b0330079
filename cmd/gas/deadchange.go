package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/time/rate"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/pkg/events"
)

// deadChoice selects the letters that a command changes: by number, by filters, or all.
type deadChoice struct {
	Seqs []uint64 `arg:"" optional:"" name:"seq" help:"The letters' numbers, from the list."`
	deadFilter
	All    bool `help:"Every dead letter."`
	DryRun bool `help:"Say what would be done, and do nothing."`
	JSON   bool `help:"Write JSON, one object a line."`
}

func (c deadChoice) check() error {
	switch {
	case len(c.Seqs) > 0 && (c.All || c.deadFilter != deadFilter{}):
		return errors.New("give numbers of letters or filters, not both")
	case len(c.Seqs) == 0 && !c.All && !c.narrow():
		return errors.New("name letters by number or by filters, or give --all")
	case c.All && c.narrow():
		return errors.New("--all is every letter: give it without filters")
	}
	return nil
}

// each calls do for each chosen letter. It reports letters that do not exist, and
// continues with the others.
func (c deadChoice) each(ctx context.Context, dead *deadletter.Store, say func(seq uint64, err error) error, do func(deadletter.Letter) error) error {
	if len(c.Seqs) == 0 {
		f, err := c.filter()
		if err != nil {
			return err
		}
		return dead.ForEach(ctx, f, do)
	}
	for _, seq := range c.Seqs {
		l, err := dead.Letter(ctx, seq)
		if err == nil {
			err = do(l)
		} else if fault.Is(err, fault.NotFound) {
			err = say(seq, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deadRow is the result for one letter.
type deadRow struct {
	Seq uint64 `json:"seq"`
	// Did is "replayed", "dropped", "would be replayed", "would be dropped" or "left".
	Did string `json:"did"`
	*deadletter.Replayed
	// Error says why the letter was left.
	Error string `json:"error,omitempty"`
}

// deadRun replays or drops letters, reports each, and counts.
type deadRun struct {
	deadChoice
	out        *bufio.Writer
	err        io.Writer
	done, left int
}

// each calls do for each chosen letter, as one act.
func (r *deadRun) each(ctx context.Context, b *bus.Bus, dead *deadletter.Store, a acts.Act, did string, do func(deadletter.Letter) error) error {
	all := func(ctx context.Context) (string, error) {
		err := r.deadChoice.each(ctx, dead, func(seq uint64, err error) error { return r.say(deadRow{Seq: seq, Error: err.Error()}, "") }, do)
		return fmt.Sprintf("%s %s, %d left", count(r.done, "letter"), did, r.left), err
	}
	if r.DryRun {
		_, err := all(ctx)
		return err
	}
	return recorded(ctx, b, a, all)
}

func (r *deadRun) say(row deadRow, about string) error {
	if row.Error != "" {
		row.Did = "left"
		r.left++
	} else {
		r.done++
	}
	if r.JSON {
		return writeRow(r.out, row)
	}
	if row.Error != "" {
		fmt.Fprintf(r.out, "%d left: %s\n", row.Seq, oneLine(row.Error, 300))
	} else {
		fmt.Fprintf(r.out, "%d %s%s\n", row.Seq, row.Did, about)
	}
	// Each row is written at once: a replay may take hours.
	return r.out.Flush()
}

// end reports the totals. Letters that were left are an error.
func (r *deadRun) end(did string, err error) error {
	if ferr := r.out.Flush(); err == nil {
		err = ferr
	}
	if err != nil {
		if r.done > 0 {
			err = fmt.Errorf("%w (%d %s before)", err, r.done, did)
		}
		return err
	}
	if !r.JSON {
		total := letters(r.done)
		if r.done == 0 && r.left == 0 {
			fmt.Fprintln(r.out, total)
		} else {
			fmt.Fprintf(r.out, "%s %s, %d left\n", total, did, r.left)
		}
		if err := r.out.Flush(); err != nil {
			return err
		}
	}
	if r.left > 0 {
		fmt.Fprintf(r.err, "gas: %d dead letters were left\n", r.left)
		return errReported
	}
	return nil
}

type deadReplayCmd struct {
	deadChoice
	actor
	Rate pace `default:"20/s" help:"How many at most: 20/s, 300/m, 1000/h; 0 for no limit." placeholder:"N/s"`
}

func (c *deadReplayCmd) Run(ctx context.Context, std streams, line commandLine) error {
	if err := c.check(); err != nil {
		return err
	}
	b, dead, err := openDead(ctx, "gas-dead-replay")
	if err != nil {
		return err
	}
	defer b.Close()
	r := &deadRun{deadChoice: c.deadChoice, out: bufio.NewWriter(std.out), err: std.err}
	limiter := rate.NewLimiter(c.Rate.limit(), 1)
	did := "replayed"
	if c.DryRun {
		did = "would be replayed"
	}
	err = r.each(ctx, b, dead, c.act(line, events.ActReplay, events.UserID(c.User), events.JobID(c.Job)), did,
		func(l deadletter.Letter) error {
			row := deadRow{Seq: l.Seq, Did: did}
			if err := dead.Replayable(l); err != nil {
				row.Error = err.Error()
				return r.say(row, "")
			}
			if c.DryRun {
				return r.say(row, ": "+oneLine(about(l), 80))
			}
			if err := limiter.Wait(ctx); err != nil {
				return err
			}
			p, err := dead.Replay(ctx, l)
			if fault.Is(err, fault.Invalid) {
				row.Error = err.Error()
				return r.say(row, "")
			}
			if err != nil {
				return err
			}
			row.Replayed = &p
			as := " to " + safe(p.Subject)
			if p.NewID != "" {
				as += " as " + safe(p.NewID)
			}
			if p.Again {
				as += ", which an earlier try had published"
			}
			return r.say(row, as)
		})
	return r.end(did, err)
}

type deadDropCmd struct {
	deadChoice
	actor
}

func (c *deadDropCmd) Run(ctx context.Context, std streams, line commandLine) error {
	if err := c.check(); err != nil {
		return err
	}
	b, dead, err := openDead(ctx, "gas-dead-drop")
	if err != nil {
		return err
	}
	defer b.Close()
	r := &deadRun{deadChoice: c.deadChoice, out: bufio.NewWriter(std.out), err: std.err}
	did := "dropped"
	if c.DryRun {
		did = "would be dropped"
	}
	err = r.each(ctx, b, dead, c.act(line, events.ActDrop, events.UserID(c.User), events.JobID(c.Job)), did,
		func(l deadletter.Letter) error {
			if !c.DryRun {
				if err := dead.Drop(ctx, l); err != nil {
					return err
				}
			}
			with := ": " + oneLine(about(l), 80)
			if l.Where == deadletter.InStream {
				with += fmt.Sprintf(", and message %d of %s", l.SourceSeq, l.Stream)
			}
			return r.say(deadRow{Seq: l.Seq, Did: did}, with)
		})
	return r.end(did, err)
}

// pace is a number of letters in some time.
type pace struct{ perSecond float64 }

// UnmarshalText reads N, N/s, N/m or N/h.
func (p *pace) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseFloat(number, 64)
	seconds := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || n < 0 || n > 1e9 || n != n || seconds == 0 {
		return fmt.Errorf("%q is not a rate like 20/s, 300/m or 1000/h", text)
	}
	p.perSecond = n / seconds
	return nil
}

func (p pace) limit() rate.Limit {
	if p.perSecond == 0 {
		return rate.Inf
	}
	return rate.Limit(p.perSecond)
}

// writeRow writes v as one line of JSON.
func writeRow(out *bufio.Writer, v any) error {
	if err := jsonLines(out).Encode(v); err != nil {
		return err
	}
	return out.Flush()
}
