package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what must come.
const patience = time.Minute

// commands are what the scripts have beside testscript's own.
func commands(did *deeds, acted *actedBy) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		// "roles" records what the roles did at the stand-in.
		"roles": func(ts *testscript.TestScript, _ bool, _ []string) { did.record(ts) },
		"acted": acted.acted,
		// "environment FILE" waits for the file that gas up writes, and sets what is in it.
		"environment": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) != 1 {
				ts.Fatalf("usage: environment FILE")
			}
			file := ts.MkAbs(args[0])
			waitUntil(ts, func() bool { _, err := os.Stat(file); return err == nil }, file)
			f, err := os.Open(file)
			ts.Check(err)
			defer f.Close()
			for lines := bufio.NewScanner(f); lines.Scan(); {
				if k, v, ok := strings.Cut(lines.Text(), "="); ok {
					ts.Setenv(k, v)
				}
			}
		},
		// "code N COMMAND…" runs a command that ends with the exit code.
		"code": func(ts *testscript.TestScript, neg bool, args []string) {
			want, err := strconv.Atoi(args[0])
			ts.Check(err)
			got := 0
			if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
				got = exit.ExitCode()
			}
			if neg || got != want {
				ts.Fatalf("%v ended with code %d, want %d", args[1:], got, want)
			}
		},
		// "interrupt COMMAND…" interrupts a command after its first output, which must then say
		// that it was stopped.
		"interrupt": func(ts *testscript.TestScript, neg bool, args []string) {
			path, err := exec.LookPath(args[0])
			if err != nil {
				path = filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], args[0])
			}
			cmd := exec.Command(path, args[1:]...)
			cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "PATH="+ts.Getenv("PATH"))
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.StdoutPipe()
			ts.Check(err)
			ts.Check(cmd.Start())
			_, err = out.Read(make([]byte, 1))
			ts.Check(err)
			ts.Check(cmd.Process.Signal(os.Interrupt))
			go func() { _, _ = io.Copy(io.Discard, out) }()
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); neg || code != 130 || errs.String() != "gas: stopped\n" {
				ts.Fatalf("ended with code %d and said %q", code, errs.String())
			}
		},
		// "until PATTERN COMMAND…" runs a command until it writes what matches.
		"until": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < 2 {
				ts.Fatalf("usage: until PATTERN COMMAND [ARG…]")
			}
			want := regexp.MustCompile("(?m)" + args[0])
			waitUntil(ts, func() bool {
				return ts.Exec(args[1], args[2:]...) == nil && want.MatchString(ts.ReadFile("stdout"))
			}, args[0])
		},
	}
}

func waitUntil(ts *testscript.TestScript, ok func() bool, what string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s: not within %s", what, patience)
		}
	}
}
