// Gas runs and operates the restore pipeline: all parts on one machine for newcomers, and
// a deployed pipeline for operators.
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

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/text"
	"github.com/gas-restore/gas/internal/version"
)

// cli is the command line.
type cli struct {
	Up         upCmd         `cmd:"" help:"Run everything on this machine: NATS, an AWS stand-in, sign-in, the four services, and a few users with archived files."`
	Demo       demoCmd       `cmd:"" help:"Upgrade a user and watch every archived file come back, checked byte for byte."`
	Check      checkCmd      `cmd:"" help:"Check the configuration in the environment and whether everything that it names can be reached."`
	Status     statusCmd     `cmd:"" help:"Show how many archives are in which state, since when and until when, and what waits."`
	Pause      pauseCmd      `cmd:"" help:"Stop requests to Glacier: all, of a user, or in a tier. Archives that are already requested still come back."`
	Resume     resumeCmd     `cmd:"" help:"Undo a pause."`
	Thaw       thawCmd       `cmd:"" help:"Bring back the archives of a user or of one job, show the cost, or approve a plan that is over budget."`
	Dead       deadCmd       `cmd:"" help:"List, show, replay and drop dead letters, the messages that were given up."`
	Audit      auditCmd      `cmd:"" help:"List what operators did: who, when and why."`
	Erase      eraseCmd      `cmd:"" help:"Delete everything of a user: archives, files, jobs, messages, sessions, the account."`
	Account    accountCmd    `cmd:"" help:"Make accounts for users of another system."`
	Provision  provisionCmd  `cmd:"" help:"Make the JetStream streams, consumers and buckets, or update them; with --aws also make what is missing there."`
	Canary     canaryCmd     `cmd:"" help:"Bring one small archive back a day, and say how long it took: for a cron job."`
	Version    versionCmd    `cmd:"" help:"Show which build this is: version, revision, version of Go."`
	Completion completionCmd `cmd:"" help:"Print the completion script of a shell: source <(gas completion bash)."`

	VersionFlag kong.VersionFlag `name:"version" help:"The same as the command version."`
}

// versionCmd is the command `gas version`.
type versionCmd struct{}

// Run prints the build.
func (versionCmd) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, build())
	return err
}

func build() string { return "gas " + version.Read().String() }

// streams are what a command writes to.
type streams struct {
	out, err io.Writer
	// terminal is true if a person sees err while it is written.
	terminal bool
}

// exitStopped is the exit code after an interrupt, as shells have it: 128 and SIGINT.
const exitStopped = 130

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// errReported means that the error has already been printed.
var errReported = errors.New("reported")

func main() {
	os.Exit(run(os.Args[1:], streams{out: os.Stdout, err: os.Stderr, terminal: isTerminal(os.Stderr)}))
}

func run(args []string, std streams) int {
	// Names and reasons come from outside.
	std.out, std.err = text.Plain(std.out), text.Plain(std.err)
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
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // gas help dead list
		args = append(args[1:len(args):len(args)], "--help")
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
	err = kctx.Run(std, lineOf(args))
	switch {
	case err == nil:
		return daemon.ExitOK
	case ctx.Err() != nil: // nothing but a signal ends it
		fmt.Fprintln(std.err, "gas: stopped")
		return exitStopped
	case errors.Is(err, errReported):
	default:
		fmt.Fprintln(std.err, "gas:", err)
	}
	if len(faultsOf(err)) > 0 {
		return daemon.ExitUsage
	}
	return daemon.ExitFailure
}

// faultsOf returns the mistakes of the configuration in err.
func faultsOf(err error) (all []config.Fault) {
	for _, f := range config.Faults(err) {
		if f.Variable != "the environment" {
			all = append(all, f)
		}
	}
	if f, ok := errors.AsType[config.Fault](err); ok && len(all) == 0 {
		all = append(all, f)
	}
	return all
}
