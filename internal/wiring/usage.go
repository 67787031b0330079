package wiring

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/version"
)

// does says what each service does.
var does = map[config.Service]string{
	config.Bridge:  "Bridge brings what SNS says, over SQS queues and a webhook, into JetStream.",
	config.Thaw:    "Thaw plans which archives of a Premium user must come back, and asks Glacier for each. One of all thaws looks for lost work.",
	config.Restore: "Restore copies what Glacier retrieved to S3, proves it, deletes the archive, and clears the catalog.",
	config.Web:     "Web is the site: sign-in, jobs, upgrade and download.",
}

// command handles the arguments of a service: only help and version exist. done means
// that the process must exit, with the code.
func command(name config.Service, args []string, out, errs io.Writer) (code int, done bool) {
	if len(args) == 0 {
		return 0, false
	}
	if len(args) == 1 {
		switch args[0] {
		case "--help", "-h", "-help", "help":
			help(name, out)
			return daemon.ExitOK, true
		case "--version", "-version", "version":
			fmt.Fprintln(out, name, version.Read())
			return daemon.ExitOK, true
		}
	}
	fmt.Fprintf(errs, "%s: unexpected argument %q: %s takes none, it is configured by environment variables; %s --help lists them\n", name, args[0], name, name)
	return daemon.ExitUsage, true
}

// help prints what the service does and which settings it has.
func help(name config.Service, out io.Writer) {
	fmt.Fprintf(out, "Usage: %s [--help | --version]\n\n%s It runs until a signal:\nthe first SIGTERM finishes the work that has begun, a second gives it back, a third exits.\n\nEnvironment variables, with their defaults:\n\n", name, does[name])
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range config.Of(name) {
		words := s.Help
		if s.Empty != "" {
			words += "; empty: " + s.Empty
		}
		standard := s.Default
		switch {
		case s.Secret && s.Default != "":
			standard = "nats.conf's"
		case standard == "":
			standard = "-"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Name, standard, words)
	}
	w.Flush()
	fmt.Fprintln(out, "\nAWS_REGION, AWS_ENDPOINT_URL, credentials and profiles are read by the AWS SDK.\n`gas check` tries everything that these name.")
}

// warnOfUnknown logs the variables that nobody reads. If a name is misspelt, the service
// runs with the default, and nothing else shows that.
func warnOfUnknown(environ []string, warn func(msg string, args ...any)) {
	for _, f := range config.Unknown(environ) {
		warn("an environment variable is none of ours", "variable", f.Variable, "hint", strings.TrimSuffix(f.Problem, "?"))
	}
}
