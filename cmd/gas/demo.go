package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/demo"
	"github.com/gas-restore/gas/internal/local/stack"
)

type demoCmd struct {
	Files     int           `default:"12" help:"How many files are archived."`
	Size      string        `default:"0" help:"Size of each, such as 64KiB or 100MiB; 0 is a mix."`
	Store     stack.Store   `enum:"vault,s3,both" default:"both" help:"Where the archives are: in a Glacier vault, in S3's cold storage classes, or in both."`
	Workers   int           `default:"1" help:"How many thaws and restores run."`
	IAM       bool          `name:"iam" help:"Give each service a role of its own at the AWS stand-in, which may do what the service must and no more."`
	TierDelay time.Duration `default:"2s" help:"How long an Expedited retrieval takes at the stand-in."`
	Timeout   time.Duration `default:"10m" help:"When to give up."`
	JSON      bool          `help:"Print the report as one JSON object."`
	Verbose   bool          `short:"v" help:"Log what the services do."`
}

func (c *demoCmd) Run(ctx context.Context, std streams) error {
	size, err := parseSize(c.Size)
	if err != nil {
		return err
	}
	if c.Files < 1 {
		return errors.New("--files: a demo needs at least one file to bring back")
	}
	if c.Workers < 1 || c.TierDelay <= 0 || c.Timeout <= 0 {
		return errors.New("--workers, --tier-delay and --timeout must be positive")
	}
	dir, err := os.MkdirTemp("", "gas-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.DiscardHandler)
	if c.Verbose {
		log = daemon.Logger(std.err, "text", slog.LevelInfo)
	}
	if !c.JSON {
		fmt.Fprintf(std.out, "Archiving %d result files, then upgrading their owner…\n", c.Files)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	bars := newBars(std, c.JSON || c.Verbose, c.Files)
	report, err := demo.Run(ctx, demo.Options{
		Dir: dir, Files: c.Files, Size: size, Store: c.Store, Workers: c.Workers, IAM: c.IAM,
		ExpeditedDelay: c.TierDelay, Log: log, Progress: bars.show,
	})
	bars.end()
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(std.out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(std.out)
		report.Table(std.out, showBytes)
	}
	if !report.OK() {
		fmt.Fprintf(std.err, "gas: %d of %d files are back; %d things are wrong\n", report.Restored, report.Files, len(report.Missing))
		return errReported
	}
	if !c.JSON {
		fmt.Fprintln(std.out, "\nEvery file is back, equal byte for byte, and nothing was left behind.")
	}
	return nil
}

// bars shows the progress of the files.
type bars struct {
	// Without a terminal there is a line now and then.
	lines io.Writer
	told  time.Time
	files int

	all                                 *mpb.Progress
	planned, requested, ready, restored *mpb.Bar
}

// lineEvery is the time between two lines.
const lineEvery = 5 * time.Second

func newBars(std streams, off bool, files int) *bars {
	if off {
		return &bars{}
	}
	if !std.terminal {
		return &bars{lines: std.err, told: time.Now(), files: files}
	}
	all := mpb.New(mpb.WithOutput(std.err), mpb.WithWidth(48), mpb.WithAutoRefresh())
	bar := func(name string) *mpb.Bar {
		return all.AddBar(int64(files),
			mpb.PrependDecorators(decor.Name(name, decor.WC{W: 10, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d / %d", decor.WCSyncSpace), decor.Elapsed(decor.ET_STYLE_MMSS, decor.WCSyncSpace)))
	}
	return &bars{all: all, planned: bar("planned"), requested: bar("requested"), ready: bar("ready"), restored: bar("restored")}
}

func (b *bars) show(p demo.Progress) {
	if b.lines != nil && time.Since(b.told) >= lineEvery {
		b.told = time.Now()
		fmt.Fprintf(b.lines, "of %d files: planned %d, requested %d, ready %d, restored %d\n", b.files, p.Planned, p.Requested, p.Ready, p.Restored)
	}
	if b.all == nil {
		return
	}
	b.planned.SetCurrent(int64(p.Planned))
	b.requested.SetCurrent(int64(p.Requested))
	b.ready.SetCurrent(int64(p.Ready))
	b.restored.SetCurrent(int64(p.Restored))
}

// end leaves the bars on the screen, full or not.
func (b *bars) end() {
	if b.all == nil {
		return
	}
	for _, bar := range []*mpb.Bar{b.planned, b.requested, b.ready, b.restored} {
		bar.Abort(false)
	}
	b.all.Wait()
}
