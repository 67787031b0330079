// Gas runs and looks after the restore pipeline: all of it on one machine, for
// newcomers, and a deployed one, for operators.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/version"
)

// cli is the command line.
type cli struct {
	Up        upCmd        `cmd:"" help:"Run everything on this machine: NATS, an AWS stand-in, sign-in, the four services, and a few users with archived files."`
	Demo      demoCmd      `cmd:"" help:"Upgrade a user and watch every archived file come back, checked byte for byte."`
	Check     checkCmd     `cmd:"" help:"Check the configuration in the environment and whether all it names can be reached."`
	Status    statusCmd    `cmd:"" help:"Tell how many archives are in which state, since when and until when, and what waits."`
	Pause     pauseCmd     `cmd:"" help:"Ask Glacier for nothing more: of all, of a user, or in a tier. What was asked for comes back."`
	Resume    resumeCmd    `cmd:"" help:"Undo a pause."`
	Thaw      thawCmd      `cmd:"" help:"Bring the archives of a user back, or of one job; tell what it costs; approve a plan that is over budget."`
	Dead      deadCmd      `cmd:"" help:"Dead letters, which are what could not be done: list, show, replay and drop them."`
	Account   accountCmd   `cmd:"" help:"Accounts of users whom another system knows."`
	Provision provisionCmd `cmd:"" help:"Make the JetStream streams, consumers and buckets, or bring them up to date; with --aws also what is missing there."`
	Version   versionCmd   `cmd:"" help:"Tell which build this is: version, revision, version of Go."`

	VersionFlag kong.VersionFlag `name:"version" help:"The same as the command version."`
}

// versionCmd is `gas version`.
type versionCmd struct{}

// Run tells which build this is.
func (versionCmd) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, build())
	return err
}

func build() string { return "gas " + version.Read().String() }

// streams are what a command writes to.
type streams struct{ out, err io.Writer }

// errReported means that what went wrong has been told.
var errReported = errors.New("reported")

func main() { os.Exit(run(os.Args[1:], streams{os.Stdout, os.Stderr})) }

func run(args []string, std streams) int {
	var c cli
	code := -1
	parser, err := kong.New(&c,
		kong.Name("gas"),
		kong.Description("The restore pipeline of the Genomics Annotation Service."),
		kong.Vars{"version": build()},
		kong.UsageOnError(),
		kong.Writers(std.out, std.err),
		kong.Exit(func(n int) { code = n }),
	)
	if err != nil {
		fmt.Fprintln(std.err, "gas:", err)
		return daemon.ExitFailure
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if code >= 0 {
		return code // --help or --version
	}
	if err != nil {
		fmt.Fprintf(std.err, "gas: %v (gas --help tells more)\n", err)
		return daemon.ExitUsage
	}
	ctx := context.Background()
	if kctx.Command() != "up" { // up stops in two phases of its own
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	err = kctx.Run(std)
	switch {
	case err == nil:
		return daemon.ExitOK
	case errors.Is(err, errReported):
	default:
		fmt.Fprintln(std.err, "gas:", err)
	}
	return daemon.ExitFailure
}
