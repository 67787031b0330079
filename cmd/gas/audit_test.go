package main

import (
	"context"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/pkg/events"
)

// unrecorded are the commands that leave no record, with the reason. Each other command must
// leave one: a script calls it with "acted".
var unrecorded = map[string]string{
	"up": "for development", "demo": "for development",
	"check": "changes nothing", "status": "changes nothing", "audit": "changes nothing", "version": "changes nothing", "completion": "changes nothing",
	"dead list": "changes nothing", "dead show": "changes nothing",
	"canary":        "changes only its own user's files, once a day, and nobody decides that",
	"provision aws": "comes before there is NATS: CloudTrail has it",
}

// leaves returns the commands that can be run.
func leaves(t interface{ Fatal(...any) }) (parser *kong.Kong, all []string) {
	var c cli
	parser, err := kong.New(&c, kong.Name("gas"), kong.Vars{"version": "test"}, kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Leaves(false) {
		all = append(all, strings.TrimPrefix(node.FullPath(), "gas "))
	}
	return parser, all
}

// actedBy collects the commands that scripts saw leave a record.
type actedBy struct {
	mu       sync.Mutex // guards commands
	commands map[string]bool
}

// acted is the command "acted ACT PATTERN COMMAND…" of scripts: the command succeeds, and leaves
// exactly one record, with the act and with a text that matches. With "!" in front, the command
// fails, and so does the act. An ACT of "none" leaves no record.
func (a *actedBy) acted(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: acted ACT PATTERN COMMAND [ARG…]")
	}
	before := recordsOf(ts)
	if err := ts.Exec(args[2], args[3:]...); (err != nil) != neg {
		ts.Fatalf("%v ended with %v", args[2:], err)
	}
	after := recordsOf(ts)
	if args[0] == "none" {
		if len(after) != len(before) {
			ts.Fatalf("%v left %d records, want none", args[2:], len(after)-len(before))
		}
		return
	}
	if len(after) != len(before)+1 {
		ts.Fatalf("%v left %d records, want 1", args[2:], len(after)-len(before))
	}
	got, want := after[len(after)-1], events.ActDone
	if neg {
		want = events.ActFailed
	}
	if said := whatAndWhy(got); string(got.Act) != args[0] || got.Outcome != want || got.By == "" || got.As != "operator" || !regexp.MustCompile(args[1]).MatchString(said) {
		ts.Fatalf("%v is recorded as %+v", args[2:], got)
	}
	parser, _ := leaves(fatal{ts})
	kctx, err := parser.Parse(args[3:])
	ts.Check(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.commands[strings.TrimPrefix(kctx.Selected().FullPath(), "gas ")] = true
}

// fatal is a script for a helper of tests.
type fatal struct{ ts *testscript.TestScript }

func (f fatal) Fatal(what ...any) { f.ts.Fatalf("%v", what) }

func recordsOf(ts *testscript.TestScript) []events.OperatorActed {
	b, err := bus.Connect(context.Background(), bus.Config{URL: ts.Getenv("GAS_NATS_URL"), User: "operator", Password: ts.Getenv("GAS_NATS_OPERATOR_PASSWORD"), Name: "records"})
	ts.Check(err)
	defer b.Close()
	all, err := acts.Open(b, "operator").Acts(context.Background(), acts.Filter{})
	ts.Check(err)
	return all
}

// compare says which commands leave no record, although they must.
func (a *actedBy) compare(t *testing.T) {
	_, all := leaves(t)
	for _, command := range all {
		if _, is := unrecorded[command]; is == a.commands[command] {
			t.Errorf("gas %s: no script saw its record (acted), and unrecorded has no reason for that", command)
		}
	}
	for command := range unrecorded {
		if !slices.Contains(all, command) {
			t.Errorf("there is no command %q", command)
		}
	}
	t.Logf("leave a record: %v", slices.Sorted(maps.Keys(a.commands)))
}

func TestACommandLineIsKeptAsItWasTyped(t *testing.T) {
	for want, args := range map[string][]string{
		`gas pause --all "it is enough"`: {"pause", "--all", "it is enough"},
		`gas dead drop --reason "" 3`:    {"dead", "drop", "--reason", "", "3"},
		`gas thaw "a\"b"`:                {"thaw", `a"b`},
	} {
		if got := lineOf(args); string(got) != want {
			t.Errorf("%q: got %s, want %s", args, got, want)
		}
	}
}

func TestAnActIsOfTheMachinesUserUnlessAnotherIsNamed(t *testing.T) {
	if got := (actor{}).act("", events.ActPause, "", ""); got.By == "" {
		t.Error("nobody acted")
	}
	t.Setenv("SUDO_USER", "somebody")
	if got := (actor{}).act("", events.ActPause, "", ""); !strings.HasSuffix(got.By, "(sudo of somebody)") {
		t.Errorf("got %q", got.By)
	}
	host, _ := os.Hostname()
	if got := (actor{By: "ada", Why: "w"}).act("gas pause", events.ActPause, "moss", "j"); got != (acts.Act{Kind: events.ActPause, By: "ada", On: host, Why: "w", Command: "gas pause", User: "moss", Job: "j"}) {
		t.Errorf("got %+v", got)
	}
}
