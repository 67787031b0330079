package model

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

// small are the configurations of CI. Each covers one side of the protocol, because the
// number of states grows with the product of the faults.
var small = []Bounds{
	{Name: "two requesters, crashes and failures", Requesters: 2, Restorers: 1, Planners: 1, HashKnown: true, Premium: true, Budget: Budget{Changes: 1, Crashes: 1, Failures: 1}},
	{Name: "two requesters, and Glacier refuses", Requesters: 2, Restorers: 1, Planners: 1, Premium: true, Budget: Budget{Changes: 1, Crashes: 1, Refusals: 2}},
	{Name: "a worker is paused before its call", Requesters: 2, Restorers: 1, Planners: 1, Premium: true, Budget: Budget{Pauses: 1, Crashes: 1, Refusals: 1}},
	{Name: "two restorers of one notification", Requesters: 1, Restorers: 2, Planners: 1, HashKnown: true, Premium: true, Budget: Budget{Crashes: 1, Doubles: 1, Failures: 1, Others: 1}},
	{Name: "two restorers of one notification, and an output that expires", Requesters: 1, Restorers: 2, Planners: 1, HashKnown: true, Premium: true, Budget: Budget{Doubles: 1, Expiries: 1}},
	{Name: "outputs expire, retrievals fail, notifications are lost", Requesters: 1, Restorers: 1, Planners: 1, Premium: true, Budget: Budget{Crashes: 1, Losses: 1, Failures: 1, Expiries: 1, Others: 1}},
	{Name: "two planners of one message", Requesters: 1, Restorers: 1, Planners: 2, Budget: Budget{Changes: 2, Messages: 1, Doubles: 1}},
	{Name: "an index is behind", Requesters: 1, Restorers: 1, Planners: 1, Budget: Budget{Changes: 3, Stale: 1, Crashes: 1}},
	{Name: "archived again, with old messages about", Requesters: 1, Restorers: 1, Planners: 1, Budget: Budget{Changes: 3, Lives: 1, Doubles: 1, Stale: 1}},
	{Name: "a Free user's file is ordered twice", Requesters: 1, Restorers: 1, Planners: 1, Budget: Budget{Orders: 2, Lives: 1, Losses: 1, Crashes: 1}},
	{Name: "another system made the user Premium", Requesters: 1, Restorers: 1, Planners: 1, Planless: true, Budget: Budget{Changes: 2, Crashes: 1, Losses: 1, Doubles: 1}},
	{Name: "the tries are used up", Requesters: 1, Restorers: 1, Planners: 1, Premium: true, Budget: Budget{Crashes: 1, Failures: 3, Changes: 1}},
}

// large are the configurations of `make model`.
var large = []Bounds{
	{Name: "two requesters, failures and losses", Requesters: 2, Restorers: 1, Planners: 1, Budget: Budget{Changes: 2, Crashes: 2, Failures: 1, Losses: 1}},
	{Name: "two requesters, a task doubled, and Glacier refuses", Requesters: 2, Restorers: 1, Planners: 1, Budget: Budget{Changes: 2, Crashes: 1, Refusals: 2, Doubles: 1}},
	{Name: "a worker is paused before its call", Requesters: 2, Restorers: 1, Planners: 1, Budget: Budget{Changes: 2, Pauses: 1, Crashes: 1, Failures: 1}},
	{Name: "two restorers of one notification", Requesters: 1, Restorers: 2, Planners: 1, Budget: Budget{Changes: 1, Crashes: 1, Doubles: 1, Failures: 2, Others: 1}},
	{Name: "two planners, three changes", Requesters: 1, Restorers: 1, Planners: 2, Budget: Budget{Changes: 3, Messages: 1, Doubles: 1}},
	{Name: "archived again, with old messages about", Requesters: 1, Restorers: 1, Planners: 1, Budget: Budget{Changes: 3, Lives: 1, Doubles: 1, Crashes: 1}},
	{Name: "three lives", Requesters: 1, Restorers: 1, Planners: 1, Budget: Budget{Changes: 5, Lives: 2, Doubles: 1}},
	{Name: "two requesters, crashes and failures", Requesters: 2, Restorers: 1, Planners: 1, HashKnown: true, Budget: Budget{Changes: 2, Crashes: 3, Failures: 2}},
	{Name: "the tries are used up", Requesters: 1, Restorers: 1, Planners: 1, Budget: Budget{Changes: 1, Crashes: 1, Failures: 4, Expiries: 1}},
}

// mostStates bounds the memory of one exploration.
const mostStates = 20_000_000

// TestEveryInterleaving explores the protocol as it is: no state breaks an invariant, and
// from each state some steps lead to a right end.
func TestEveryInterleaving(t *testing.T) {
	configurations := small
	if os.Getenv("GAS_MODEL") == "large" {
		configurations = large
	}
	seen := map[string]int{}
	for _, b := range configurations {
		r := New(Real(), b).Explore(mostStates)
		t.Logf("%s: %s, within %+v", b.Name, r, b.Budget)
		if r.Violation != nil {
			t.Errorf("%s: %v", b.Name, r.Violation)
		}
		if !r.Whole {
			t.Errorf("%s: there are more states than the limit", b.Name)
		}
		if r.Quiet == 0 {
			t.Errorf("%s: it has no right end", b.Name)
		}
		for label, n := range r.Labels {
			seen[label] += n
		}
		runtime.GC()
	}
	if os.Getenv("GAS_MODEL") == "" {
		taken(t, seen)
	}
}

// neverTaken are the steps that a right protocol never takes.
var neverTaken = map[string]bool{
	"restorer hears from Glacier that the retrieval did not fail":         true, // only after a wrong notification
	"restorer puts the object, late":                                      true, // only with a planted bug
	"requester calls Glacier, which takes the request, and sees an error": true, // only with a planted bug
}

// taken looks for steps in the source that no configuration takes. The model proves nothing
// about such a step.
func taken(t *testing.T, seen map[string]int) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	label, n := regexp.MustCompile(`(?:emit|step)\("([^"]+)"|(?:succeeded|failed|forgotten), (?:true|false), \w+, "([^"]+)"`), 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range label.FindAllStringSubmatch(string(source), -1) {
			n++
			if name := m[1] + m[2]; (seen[name] > 0) == neverTaken[name] {
				t.Errorf("%s: the step %q was taken %d times", file, name, seen[name])
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d steps were found in the source", n)
	}
}
