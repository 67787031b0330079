package main

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
)

// crowd runs the tests of this package side by side: most of the time a script waits.
type crowd struct{ *testing.M }

func (c crowd) Run() int {
	testenv.SideBySide(4)
	return c.M.Run()
}

func TestMain(m *testing.M) {
	testscript.Main(crowd{m}, map[string]func(){
		"gas":     main,
		"trouble": trouble,
		"bridge":  func() { os.Exit(wiring.Main(config.Bridge, wiring.Bridge)) },
		"thaw":    func() { os.Exit(wiring.Main(config.Thaw, wiring.Thaw)) },
		"restore": func() { os.Exit(wiring.Main(config.Restore, wiring.Restore)) },
		"web":     func() { os.Exit(wiring.Main(config.Web, wiring.Web)) },
		// report checks a demo's JSON in standard input's place: a file.
		"report": func() {
			data, err := os.ReadFile(os.Args[1])
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			var r struct {
				Files, Restored, Retrievals int
				Pending                     *int     `json:"messages_pending"`
				Missing                     []string `json:"missing"`
			}
			if err := json.Unmarshal(data, &r); err != nil || r.Pending == nil {
				fmt.Fprintln(os.Stderr, "not a report:", err)
				os.Exit(1)
			}
			fmt.Printf("files=%d restored=%d retrievals=%d pending=%d missing=%d\n", r.Files, r.Restored, r.Retrievals, *r.Pending, len(r.Missing))
		},
	})
}

func TestCommands(t *testing.T) {
	did, acted := newDeeds(), &actedBy{commands: map[string]bool{}}
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Dir: "testdata", Cmds: commands(did, acted), WorkdirRoot: testenv.Memory(t)})
	})
	did.compare(t, estate.OperatorRole, estate.CanaryRole)
	if t.Failed() || did.scripts < withRoles {
		return // not all scripts ran to their end
	}
	acted.compare(t)
}

func TestASizeIsDigitsAndAUnit(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "7": 7, "64KiB": 64 << 10, "100MiB": 100 << 20, "2 GiB": 2 << 30} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "-1", "1KB", "KiB", "1.5MiB", "9999999999GiB"} {
		if got, err := parseSize(bad); err == nil {
			t.Errorf("%q is accepted as %d", bad, got)
		}
	}
}
