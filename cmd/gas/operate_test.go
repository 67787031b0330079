package main

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what must come.
const patience = time.Minute

// commands are what the scripts have beside testscript's own.
func commands(did *deeds) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		// "roles" records what the roles did at the stand-in.
		"roles": func(ts *testscript.TestScript, _ bool, _ []string) { did.record(ts) },
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
