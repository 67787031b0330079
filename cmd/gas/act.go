package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/pkg/events"
)

// actor says who acts and why, for all commands that change something.
type actor struct {
	By  string `help:"Who acts, for gas audit. Without it, the user of this machine." placeholder:"NAME"`
	Why string `help:"Why, for gas audit." placeholder:"TEXT"`
}

// commandLine is what the operator typed.
type commandLine string

func lineOf(args []string) commandLine {
	words := []string{"gas"}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$") {
			a = strconv.Quote(a)
		}
		words = append(words, a)
	}
	return commandLine(strings.Join(words, " "))
}

// act returns the act of a command, about a user or a job if it is about one.
func (a actor) act(line commandLine, kind events.Act, user events.UserID, job events.JobID) acts.Act {
	host, _ := os.Hostname()
	return acts.Act{Kind: kind, By: cmp.Or(a.By, machineUser()), On: host, Why: a.Why, Command: string(line), User: user, Job: job}
}

// machineUser names the user of this machine. Behind sudo, it names the user before too.
func machineUser() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if before := os.Getenv("SUDO_USER"); before != "" && before != name {
		name += " (sudo of " + before + ")"
	}
	return name
}

// operatorUser is the NATS user of the commands.
const operatorUser = "operator"

// operatorBus connects to NATS as the operator. The caller must close it.
func operatorBus(ctx context.Context, cfg config.Config, name string) (*bus.Bus, error) {
	return bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: operatorUser, PasswordFrom: cfg.OperatorPassword.Read, CAFile: cfg.NATSCAFile, Name: name})
}

// recorded does an act, with its record.
func recorded(ctx context.Context, b *bus.Bus, a acts.Act, do func(context.Context) (did string, err error)) error {
	return acts.Open(b, operatorUser).Do(ctx, a, do)
}

// count returns the number with the thing, in the plural unless it is one.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}
