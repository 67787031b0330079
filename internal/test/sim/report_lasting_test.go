//go:build faults

package sim

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

const lastingTitle = "## What lasts\n"

// lastingSection plays the lasting scenes and tells what they came to.
func lastingSection(t *testing.T) string {
	came := make([]string, len(scenes))
	var mu sync.Mutex // guards wrong
	var wrong []error
	g := new(errgroup.Group)
	g.SetLimit(runtime.NumCPU())
	for i, s := range scenes {
		g.Go(func() error {
			r, err := run(t.Context(), os.Args[0], "lasting="+s.name)
			if err == nil {
				came[i] = r.Came.String()
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, err)
			return nil
		})
	}
	g.Wait()
	for _, err := range wrong {
		t.Error(err)
	}
	var out strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	say(lastingTitle + "\nOne thing is wrong for long. Retrievals, dollars and dead letters are all that there were; hours are from the end of the")
	say("trouble until everything is as it should be, or from the beginning where nobody fixes anything. The bound of each is in")
	say("`internal/test/sim/scenes_test.go`; `GAS_SIM_WORLD='lasting=NAME'` plays one. “Before” was measured before plans were records, and")
	say("before there was one gate, with one archive of 1,000 bytes.\n")
	say("| scene | what is wrong | before | retrievals | dollars | dead letters | hours | ends |\n| --- | --- | --- | ---: | ---: | ---: | ---: | --- |")
	for i, s := range scenes {
		say("| %s | %s | %s | %s | %s |", s.name, s.what, strings.Replace(s.before, "not measured", "", 1), came[i], s.ends)
	}
	return out.String()
}

// TestReportOfWhatLasts plays the lasting scenes alone, and puts what they came to into
// GAS_SIM_DOCS, in place of what that said of them.
func TestReportOfWhatLasts(t *testing.T) {
	section := lastingSection(t)
	fmt.Print(section)
	file := os.Getenv("GAS_SIM_DOCS")
	if t.Failed() || file == "" {
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(data), lastingTitle)
	if ok {
		_, after, ok = strings.Cut(after, "\n## ")
		after = "\n## " + after
	} else {
		before, after, ok = strings.Cut(string(data), "\n## The fault points")
		before, after = before+"\n", "\n## The fault points"+after
	}
	if !ok {
		t.Fatalf("%s has no place for %q", file, lastingTitle)
	}
	if err := os.WriteFile(file, []byte(before+section+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
